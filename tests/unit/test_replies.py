"""What each answer of the upstream means: the documented ones, the contradictions, and garbage."""

import httpx
import orjson
import pytest

from endpoints.outcomes import (
    Accepted,
    Busy,
    BusyCause,
    Ended,
    Fault,
    Missing,
    Pieces,
    Refused,
    Running,
    Unknown,
    UpstreamState,
)
from endpoints.replies import (
    ERROR_TEXT_LIMIT,
    read_pieces,
    read_poll,
    read_retry_after,
    read_submit,
    read_workers,
)

UUID = "0f3c9a52-6d1e-4b7a-8f54-2a1f6f0f7c11"


def answer(body, status=200, **headers):
    if isinstance(body, str):
        body = body.encode()
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return httpx.Response(status, content=content, headers=headers)


@pytest.mark.parametrize(
    "upstream_id",
    [
        UUID,
        f"{UUID}-u1",
        f"{UUID}-22",
        f"sync-{UUID}",
        f"sync-{UUID}-u2",
        f"sync-{UUID}-e1",
        "anything at all",
    ],
)
def test_an_id_of_any_shape_is_kept_as_it_is(upstream_id):
    outcome = read_submit(answer({"id": upstream_id, "status": "IN_QUEUE"}))

    assert outcome == Accepted(upstream_id, 200)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"id": UUID}),
        (200, {"id": UUID, "status": "IN_PROGRESS"}),
        (200, {"id": UUID, "status": "COMPLETED", "output": 1}),
        (200, {"id": UUID, "status": "FAILED", "error": "out of memory"}),
        (201, {"id": UUID, "status": "WHATEVER_COMES_NEXT"}),
        (500, {"id": UUID, "status": "IN_QUEUE"}),
        (502, {"id": UUID}),
        (408, {"id": UUID, "status": "IN_QUEUE"}),
    ],
)
def test_a_reply_with_the_id_of_a_job_is_an_acceptance(status, body):
    assert read_submit(answer(body, status)) == Accepted(UUID, status)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"id": f"sync-{UUID}", "status": "FAILED", "error": "no prompt"}),
        (400, {"id": f"sync-{UUID}", "error": "no prompt"}),
        (422, {"detail": "no prompt"}),
        (413, {"message": "no prompt"}),
        (404, {"error": {"code": 7, "message": "no prompt"}}),
        (409, "no prompt"),
    ],
)
def test_a_4xx_is_a_refusal_even_with_the_id_of_a_job_that_never_was(status, body):
    outcome = read_submit(answer(body, status))

    assert isinstance(outcome, Refused)
    assert outcome.http_status == status
    assert "no prompt" in outcome.error


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (401, BusyCause.KEY_REFUSED),
        (402, BusyCause.PAYMENT_REQUIRED),
        (403, BusyCause.KEY_REFUSED),
        (429, BusyCause.RATE_LIMITED),
    ],
)
@pytest.mark.parametrize("read", [read_submit, read_poll])
@pytest.mark.parametrize("body", ["", "<html>no</html>", {"id": UUID, "status": "FAILED"}])
def test_what_is_not_the_jobs_fault_holds_the_lane(read, status, cause, body):
    outcome = read(answer(body, status))

    assert isinstance(outcome, Busy)
    assert (outcome.cause, outcome.http_status) == (cause, status)


@pytest.mark.parametrize("status", [301, 408, 425, 500, 501, 503])
def test_an_error_that_the_upstream_owns_up_to_is_a_fault(status):
    outcome = read_submit(answer({"error": "try later"}, status))

    assert outcome == Fault("try later", status)


@pytest.mark.parametrize("status", [502, 504, 520, 522, 524])
def test_an_intermediary_that_lost_the_reply_leaves_the_outcome_unknown(status):
    outcome = read_submit(answer("<html><h1>Bad gateway</h1></html>", status))

    assert isinstance(outcome, Unknown)
    assert "Bad gateway" in outcome.error


@pytest.mark.parametrize(
    "body",
    ["", "OK", "<html>", "null", "[]", "3", '"id"', {}, {"id": ""}, {"id": None}, {"id": {"a": 1}}],
)
def test_a_success_without_an_id_is_unknown_and_no_success(body):
    assert isinstance(read_submit(answer(body)), Unknown)


@pytest.mark.parametrize("word", ["IN_QUEUE", "in_queue", "QUEUED", " In_Queue "])
def test_a_job_that_waits_is_in_the_queue(word):
    assert read_poll(answer({"id": UUID, "status": word})) == Running(UpstreamState.IN_QUEUE)


@pytest.mark.parametrize("word", ["IN_PROGRESS", "RUNNING", "running"])
def test_running_is_in_progress(word):
    body = {"id": UUID, "status": word, "delayTime": 12, "input": {"prompt": "a fox"}}

    assert read_poll(answer(body)) == Running(UpstreamState.IN_PROGRESS)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("COMPLETED", UpstreamState.COMPLETED),
        ("FAILED", UpstreamState.FAILED),
        ("ERROR", UpstreamState.FAILED),
        ("CANCELLED", UpstreamState.CANCELLED),
        ("CANCELED", UpstreamState.CANCELLED),
        ("TIMED_OUT", UpstreamState.TIMED_OUT),
    ],
)
def test_every_word_for_an_end_is_known(word, state):
    outcome = read_poll(answer({"id": UUID, "status": word}))

    assert isinstance(outcome, Ended)
    assert outcome.state is state


@pytest.mark.parametrize(
    "output",
    [{"image_url": "https://x/y.png", "cost": 0.02}, [{"choices": []}], "text", 7, None, False],
)
def test_the_output_of_a_completed_job_is_kept_as_it_came(output):
    body = {
        "id": f"{UUID}-u1",
        "status": "COMPLETED",
        "output": output,
        "delayTime": 17,
        "executionTime": 2041.6,
        "workerId": "oqk7ao1uomckye",
    }

    outcome = read_poll(answer(body))

    assert outcome == Ended(UpstreamState.COMPLETED, output, None, 17, 2041, "oqk7ao1uomckye")


@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_failed_job_has_failed_under_any_http_status(status):
    outcome = read_poll(answer({"id": UUID, "status": "FAILED", "error": "boom"}, status))

    assert isinstance(outcome, Ended)
    assert (outcome.state, outcome.error) == (UpstreamState.FAILED, "boom")


@pytest.mark.parametrize("status", [400, 500, 502, 503])
def test_an_error_page_that_names_no_job_ends_none(status):
    outcome = read_poll(answer({"status": "error", "message": "internal"}, status))

    assert outcome == Fault("internal", status)


@pytest.mark.parametrize(
    "body", ["", "<html>gone</html>", {"error": "job not found"}, {"id": UUID, "status": "FAILED"}]
)
def test_a_404_is_missing_and_not_failed(body):
    assert read_poll(answer(body, 404)) == Missing()


@pytest.mark.parametrize(
    "body",
    ["", "<html>", "null", "[]", {}, {"id": UUID}, {"status": "SLEEPING"}, {"status": 3}, b"\xff{"],
)
def test_a_reply_without_a_known_state_is_a_fault_and_no_end(body):
    assert isinstance(read_poll(answer(body)), Fault)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"error": "boom"}, "boom"),
        ({"message": "boom"}, "boom"),
        ({"detail": "boom"}, "boom"),
        ({"error": "", "message": "boom"}, "boom"),
        ({"error": {"code": 400, "message": "boom"}}, "boom"),
        ({"error": {"code": 400}}, '{"code":400}'),
        ({"output": {"error": "boom"}}, "boom"),
        ({"error": 'model said 400, {"code":400,"message":"boom"}'}, "model said 400: boom"),
        ({"error": '{"message": "boom"}'}, "boom"),
        ({"error": '{"message": {"message": "boom"}}'}, "boom"),
        ({"error": "a { that is no JSON"}, "a { that is no JSON"),
        ({"error": 'a {"code": 3}'}, 'a {"code": 3}'),
    ],
)
def test_the_upstreams_own_words_are_found_wherever_they_stand(body, error):
    outcome = read_poll(answer({"id": UUID, "status": "FAILED", **body}))

    assert isinstance(outcome, Ended)
    assert outcome.error == error


def test_an_error_without_words_says_the_http_status_and_the_start_of_the_body():
    outcome = read_submit(answer("<html>" + "x" * 10_000, 503))

    assert isinstance(outcome, Fault)
    assert outcome.error.startswith("HTTP 503: <html>")
    assert len(outcome.error) < 250


def test_a_long_error_is_cut():
    outcome = read_submit(answer({"error": "x" * 10 * ERROR_TEXT_LIMIT}, 400))

    assert isinstance(outcome, Refused)
    assert len(outcome.error) == ERROR_TEXT_LIMIT


@pytest.mark.parametrize(
    "body",
    [
        rb'{"id": "a\u0000b", "status": "COMPLETED", "output": {"k\u0000": ["v\u0000"]}}',
        rb'{"id": "a", "status": "COMPLETED", "output": {"text": "cut off \ud83d"}}',
        rb'{"id": "a", "status": "COMPLETED", "output": {"text": "\udc00 a low one", "\ud800": 1}}',
        rb'{"id": "a", "status": "COMPLETED", "output": {"score": NaN, "most": Infinity}}',
        rb'{"id": "a", "status": "COMPLETED", "output": {"seed": 1e999}}',
        b'{"id": "a", "status": "COMPLETED", "output": ' + b"9" * 400 + b"}",
        b'{"id": "a", "status": "COMPLETED", "output": [NaN, ' + b"9" * 5000 + b"]}",
        b'{"id": "a", "status": "COMPLETED", "output": "\xff\xfe not UTF-8"}',
        b'\xef\xbb\xbf{"id": "a", "status": "COMPLETED"}',
        b'{"id": "a", "status": "COMPLETED", "output": ' + b"[" * 200 + b"]" * 200 + b"}",
    ],
)
def test_a_result_that_postgres_could_not_keep_as_it_is_still_is_a_result(body):
    outcome = read_poll(answer(body))

    assert isinstance(outcome, Ended)
    assert outcome.state is UpstreamState.COMPLETED
    kept = orjson.dumps(outcome.output)
    assert b"\\u0000" not in kept
    assert isinstance(read_submit(answer(body)), Accepted)


@pytest.mark.parametrize("depth", [300, 1020, 100_000])
@pytest.mark.parametrize("item", [b"", b"NaN", rb'"\u0000"'])
def test_a_body_nested_deeper_than_can_be_written_again_is_a_fault(depth, item):
    body = b'{"id": "a", "status": "COMPLETED", "output": '
    body += b"[" * depth + item + b"]" * depth + b"}"

    assert isinstance(read_poll(answer(body)), Fault)
    assert isinstance(read_submit(answer(body)), Unknown)


def test_text_that_was_cut_off_within_a_character_is_kept_up_to_there():
    body = rb'{"id": "a", "status": "COMPLETED", "output": "so happy \ud83d"}'

    outcome = read_poll(answer(body))

    assert isinstance(outcome, Ended)
    assert outcome.output == "so happy ?"


@pytest.mark.parametrize(
    "error",
    [
        rb'"x {\"message\": \"a\\u0000b\"}"',  # JSON within the text, a NUL within that
        rb'"a\u0000b"',
        rb'"ab\ud800"',
    ],
)
def test_no_error_text_holds_what_postgres_refuses(error):
    outcome = read_submit(answer(b'{"error": ' + error + b"}", 400))

    assert isinstance(outcome, Refused)
    assert "\x00" not in outcome.error
    assert b"\\u0000" not in orjson.dumps(outcome.error)


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (0, 0),
        (2**31 - 1, 2**31 - 1),
        (2**31 - 0.4, 2**31 - 1),
        (2**31, None),
        (2**70, None),
        (-1, None),
        (True, None),
        ("12", None),
        (None, None),
    ],
)
def test_a_duration_that_no_integer_column_holds_is_left_out(value, milliseconds):
    number = b"%d" % value if isinstance(value, int) and value > 2**64 else orjson.dumps(value)
    body = b'{"id": "a", "status": "COMPLETED", "executionTime": ' + number + b"}"

    outcome = read_poll(answer(body))

    assert isinstance(outcome, Ended)
    assert outcome.execution_ms == milliseconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5.0),
        ("2.5", 2.5),
        ("0", None),  # "now" is what was just refused
        ("99999999999999999999999999", 600.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-3", None),
        ("soon", None),
        ("1e9", None),
        ("", None),
    ],
)
def test_retry_after_is_read_where_it_is_a_sane_number(header, seconds):
    assert read_retry_after(httpx.Response(429, headers={"retry-after": header})) == seconds


def test_without_retry_after_the_upstream_did_not_say():
    outcome = read_submit(answer({"error": "slow down"}, 429))

    assert outcome == Busy(BusyCause.RATE_LIMITED, "slow down", None, 429)


@pytest.mark.parametrize(
    ("body", "state", "outputs"),
    [
        ({"status": "IN_PROGRESS", "stream": []}, UpstreamState.IN_PROGRESS, ()),
        ({"status": "COMPLETED", "stream": []}, UpstreamState.COMPLETED, ()),
        (
            {"status": "IN_PROGRESS", "stream": [{"output": "a"}, {"output": None, "metrics": {}}]},
            UpstreamState.IN_PROGRESS,
            ("a", None),
        ),
        ({"stream": [{"output": "a"}]}, None, ("a",)),
        ({"status": "WHATEVER_COMES_NEXT", "stream": ["a"]}, None, ("a",)),
        ([], None, ()),
        ([{"output": {"text": "a"}, "metrics": {}}, {"output": "b"}], None, ({"text": "a"}, "b")),
        (["a", {"own": 1}], None, ("a", {"own": 1})),
        (b'{"output": "a"}\n{"output": "b"}\n', None, ("a", "b")),
        (b'{"output": "a"}\r\n\r\n{"output": "b"}', None, ("a", "b")),
        (b'{"output": "a"}\n', None, ("a",)),
        (b'{"output": "a\\u0000b"}\n{"output": NaN}', None, ("ab", None)),
    ],
)
def test_pieces_are_read_from_an_object_a_bare_list_or_a_line_each(body, state, outputs):
    assert read_pieces(answer(body)) == Pieces(state, outputs)


@pytest.mark.parametrize(
    ("body", "status", "outcome"),
    [
        ({"status": "IN_QUEUE"}, 200, Running(UpstreamState.IN_QUEUE)),
        (
            {"id": UUID, "status": "COMPLETED", "output": "a"},
            200,
            Ended(UpstreamState.COMPLETED, "a"),
        ),
        ({"error": "job not found"}, 404, Missing()),
        ([{"output": "a"}], 404, Missing()),
        ({}, 429, Busy(BusyCause.RATE_LIMITED, "HTTP 429: {}", None, 429)),
        (b"<html>", 200, Fault("HTTP 200: <html>", 200)),
        (b"", 200, Fault("HTTP 200", 200)),
        (b'{"output": "a"}\n{"outp', 200, Fault('HTTP 200: {"output": "a"}\n{"outp', 200)),
        ([{"output": "a"}], 500, Fault('HTTP 500: [{"output":"a"}]', 500)),
        ({"stream": 7}, 200, Fault('HTTP 200: {"stream":7}', 200)),
    ],
)
def test_what_holds_no_pieces_is_read_as_a_status(body, status, outcome):
    assert read_pieces(answer(body, status)) == outcome


@pytest.mark.parametrize(
    ("body", "status", "workers"),
    [
        ({"workers": {"idle": 1, "throttled": 0}}, 200, {"idle": 1, "throttled": 0}),
        ({"workers": {"idle": True, "busy": "2", "ready": 3.0, "own": 4}}, 200, {"own": 4}),
        ({"workers": []}, 200, None),
        ({"jobs": {}}, 200, None),
        ([], 200, None),
        (b"<html>", 200, None),
        ({"workers": {"idle": 1}}, 500, None),
    ],
)
def test_workers_are_counted_where_the_upstream_says_so(body, status, workers):
    assert read_workers(answer(body, status)) == workers
