"""A completion is read while it passes: its text, tokens and id, however the events are cut."""

import orjson
import pytest

from gateway.upstream_api.completion import Completion, split_events


def data(body):
    return b"data: " + (body if isinstance(body, bytes) else orjson.dumps(body)) + b"\n\n"


def chunk(*choices, **more):
    return data({"id": "c-1", "created": 7, "model": "m", "choices": list(choices), **more})


def delta(index=0, finish_reason=None, **fields):
    return {"index": index, "delta": fields, "finish_reason": finish_reason}


def read(*events):
    """What is known after the events, and which of them hold nothing but token counts."""
    completion = Completion()
    return completion, [completion.read_event(event) for event in events]


DONE = data(b"[DONE]")
USAGE = {"prompt_tokens": 3, "completion_tokens": 4}


async def cut(content, size):
    for at in range(0, len(content), size):
        yield content[at : at + size]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
async def test_events_are_whole_and_every_byte_is_kept(end, size):
    events = [b"data: 1" + end, b": note" + end, "data: \u2028\x85\u2029".encode() + end]

    found = [event async for event in split_events(cut(b"".join(events), size))]

    assert found == events


async def test_lines_that_end_as_windows_does_are_not_taken_for_empty_ones():
    event = b"event: x\r\ndata: 1\r\n\r\n"

    assert [one async for one in split_events(cut(event * 2, 1))] == [event, event]


async def test_an_event_is_there_as_soon_as_its_empty_line_is():
    passed = []

    async def chunks():
        yield b"data: 1\n"
        yield b"\ndata"
        passed.append(b"first")
        yield b": 2\n\n"

    async for event in split_events(chunks()):
        passed.append(event)  # noqa: PERF401 -- in turn with `chunks`

    assert passed == [b"data: 1\n\n", b"first", b"data: 2\n\n"]


async def test_what_is_left_without_an_empty_line_is_an_event_too():
    assert [one async for one in split_events(cut(b"data: 1\n\ndata: [DONE]", 4))] == [
        b"data: 1\n\n",
        b"data: [DONE]",
    ]


def test_a_chat_is_put_together_as_it_would_have_come_whole():
    completion, _ = read(
        chunk(delta(role="assistant")),
        chunk(delta(content="A ")),
        chunk(delta(content="fox.")),
        chunk(delta(finish_reason="stop")),
        chunk(usage=USAGE),
        DONE,
    )

    assert completion.done
    assert completion.output == {
        "id": "c-1",
        "created": 7,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "A fox."},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }


def test_several_choices_are_kept_apart_and_in_order():
    completion, _ = read(
        chunk(delta(1, content="b")),
        chunk(delta(0, content="a"), delta(1, content="B")),
        chunk(delta(0, content="A")),
    )

    assert [one["message"]["content"] for one in completion.output["choices"]] == ["aA", "bB"]


def test_tool_calls_are_put_together_from_their_deltas():
    def call(index, **fields):
        return chunk(delta(tool_calls=[{"index": index, **fields}]))

    completion, _ = read(
        call(0, id="call-a", type="function", function={"name": "look", "arguments": ""}),
        call(0, function={"arguments": '{"at":'}),
        call(1, id="call-b", type="function", function={"name": "run", "arguments": "{}"}),
        call(0, function={"arguments": ' "fox"}'}),
        chunk(delta(finish_reason="tool_calls")),
    )

    [choice] = completion.output["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"] == [
        {
            "index": 0,
            "id": "call-a",
            "type": "function",
            "function": {"name": "look", "arguments": '{"at": "fox"}'},
        },
        {
            "index": 1,
            "id": "call-b",
            "type": "function",
            "function": {"name": "run", "arguments": "{}"},
        },
    ]


def test_what_a_model_thought_is_kept_beside_what_it_said():
    completion, _ = read(
        chunk(delta(reasoning_content="Hm")), chunk(delta(reasoning_content="m.", content="A fox."))
    )

    [choice] = completion.output["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": "A fox.",
        "reasoning_content": "Hmm.",
    }


@pytest.mark.parametrize(
    ("event", "alone"),
    [
        (chunk(usage=USAGE), True),
        (chunk(delta(content="x"), usage=USAGE), False),
        (chunk(usage=None), False),
        (chunk(), False),
        (data({"usage": USAGE}), False),
        (DONE, False),
        (b": ping\n\n", False),
        (b"\n\n", False),
    ],
)
def test_only_an_event_of_token_counts_alone_may_be_hidden(event, alone):
    assert read(event)[1] == [alone]


@pytest.mark.parametrize("text", ["A fox.", ""])
def test_a_count_that_comes_with_each_event_is_the_last_one(text):
    completion, _ = read(
        chunk(delta(content=text), usage=USAGE),
        chunk(delta(content=text), usage={"prompt_tokens": 3, "completion_tokens": 9}),
    )

    assert (completion.input_tokens, completion.output_tokens) == (3, 9)


def test_data_over_several_lines_is_one_text():
    completion, _ = read(b'event: message\r\ndata: {"id":\r\ndata:  "c-9"}\r\n\r\n')

    assert completion.id == "c-9"


@pytest.mark.parametrize(
    "event",
    [
        data(b"nonsense"),
        data(b"7"),
        data(b"[]"),
        data({"choices": 7}),
        data({"choices": [7, None]}),
        data({"choices": [{"delta": 7, "text": 7, "index": []}]}),
        data({"choices": [{"delta": {"tool_calls": [7, {}, {"index": "x"}]}}]}),
        data({"choices": [{"delta": {"tool_calls": [{"index": 0, "function": 7}]}}]}),
        data({"id": 7, "usage": {"prompt_tokens": "x"}}),
        b"data: \xff\xfe\n\n",
    ],
)
def test_what_cannot_be_read_passes_and_spoils_nothing_that_follows(event):
    completion, hidden = read(event, chunk(delta(content="A fox.")), DONE)

    assert completion.done
    assert hidden == [False] * 3
    assert completion.output["choices"][0]["message"]["content"].endswith("A fox.")


def test_half_of_a_surrogate_pair_and_nul_do_not_cost_the_text_around_them():
    completion, _ = read(
        data(rb'{"choices": [{"index": 0, "text": "a\ud83d"}]}'),
        data(rb'{"choices": [{"index": 0, "text": "b\u0000c"}]}'),
    )

    assert completion.output["choices"][0]["text"] == "a?bc"


@pytest.mark.parametrize(
    ("events", "broke", "done", "to_be_said"),
    [
        ([chunk(delta(content="x")), DONE], None, True, False),
        ([chunk(delta(content="x")), DONE], "reset", True, False),
        ([chunk(delta(content="x"))], None, False, True),
        ([chunk(delta(content="x", finish_reason="stop"))], None, True, False),
        ([chunk(delta(content="x", finish_reason="stop"))], "reset", False, True),
        (
            [chunk(delta(content="x", finish_reason="stop")), chunk(delta(1, content="y"))],
            None,
            False,
            True,
        ),
        ([data({"error": {"message": "CUDA"}})], None, False, False),
        ([data({"error": "CUDA"}), DONE], None, False, False),
        ([], None, False, True),
        ([], "reset", False, True),
    ],
)
def test_it_is_done_by_its_last_word_or_when_all_its_texts_say_so(events, broke, done, to_be_said):
    completion, _ = read(*events)

    assert completion.close(broke) == to_be_said
    assert completion.done == done
    assert (completion.error is None) == done


def test_nothing_came_of_nothing():
    assert Completion().output is None


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"x"', b'{"id": "c-1"}', b"<html>", b"{"])
def test_a_whole_reply_without_choices_is_none(body):
    completion = Completion()

    completion.read_whole(body)

    assert (completion.done, completion.output) == (False, None)
    assert completion.error


def test_a_whole_reply_is_kept_as_it_came():
    body = {"id": "c-1", "choices": [{"text": "x", "own": [1]}], "usage": USAGE, "more": None}
    completion = Completion()

    completion.read_whole(orjson.dumps(body))

    assert (completion.done, completion.output, completion.id) == (True, body, "c-1")
    assert (completion.input_tokens, completion.output_tokens) == (3, 4)
