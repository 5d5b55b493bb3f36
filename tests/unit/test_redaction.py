"""What the log hides, whoever writes it: secrets always, prompts unless they are asked for."""

import io
import json
import logging

import pytest
import structlog

from models.base import new_id
from workers import telemetry
from workers.settings import Settings

PROMPT = "a heron in the reeds"
# How they are met, and what of it must not be seen.
SECRETS = {
    "the upstream said rpa_ABCDEF123456 is revoked": "ABCDEF123456",
    "key prk_0123456789abcdef refused": "0123456789abcdef",
    "signed with whsec_MfKQ9r8GKYqrTwjU": "MfKQ9r8GKYqrTwjU",
    "headers {'Authorization': 'Bearer abc.def-ghi'}": "abc.def-ghi",
    "Authorization: Basic dXNlcjpodW50ZXI=": "dXNlcjpodW50ZXI",
    "postgresql://press:hunter2@db/press is away": "hunter2",
    "GET https://b.s3.amazonaws.com/k?X-Amz-Signature=feed01&X-Amz-Date=1 gave 403": "feed01",
    f"GET /files/{new_id()}/c2lnbmF0dXJl/image.png": "c2lnbmF0dXJl",
    f"/hints/{new_id()}/{new_id()}/t0ken": "t0ken",
    '{"s3Config": {"accessId": "hidden-id", "accessSecret": "hidden-key"}}': "hidden-",
    "password=hunter2, then": "hunter2",
    "of ours: not-like-a-key": "not-like-a-key",
}


@pytest.fixture
def read_log(monkeypatch):
    """Sets logging up with settings; returns what reads the lines since."""
    kept = (logging.root.handlers, logging.root.level)
    written = io.StringIO()

    def set_up(**options):
        monkeypatch.setattr("sys.stderr", written)
        telemetry.set_up(
            Settings(
                upstream_url="https://up.example/v2",
                upstream_key="of ours: not-like-a-key",
                **options,
            )
        )
        return written.getvalue

    yield set_up
    logging.captureWarnings(capture=False)
    logging.root.handlers, level = kept
    logging.root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("log_prompts", [False, True])
@pytest.mark.parametrize(("said", "secret"), SECRETS.items())
def test_a_secret_is_hidden_wherever_it_stands(read_log, said, secret, log_format, log_prompts):
    read = read_log(log_format=log_format, log_prompts=log_prompts)

    structlog.get_logger().warning("thing_failed", error=said, deep={"list": [said]})
    logging.getLogger("some.library").warning("it was %s", said)
    error = OSError(said)
    structlog.get_logger().error("thing_failed", exc_info=error)
    logging.getLogger("some.library").error("it was", exc_info=error)

    assert read().count("thing_failed") == 2
    assert secret not in read()


@pytest.mark.parametrize("name", ["api_key", "Authorization", "accessSecret", "set-cookie"])
def test_a_field_is_hidden_for_its_name(read_log, name):
    read = read_log(log_prompts=True)

    structlog.get_logger().info("thing_done", **{name: "anything", "headers": {name: "anything"}})

    assert "anything" not in read()


def fail():
    try:
        raise ValueError(f"cannot read {PROMPT!r}")  # noqa: TRY301 -- an error with a cause
    except ValueError as cause:
        raise RuntimeError(f"gave up: {cause}") from cause


def log_prompts():
    structlog.get_logger().warning("job_ended", said=f"no {PROMPT} here", input={"prompt": PROMPT})
    structlog.get_logger().warning("job_ended", error=f'400: {{"prompt": "{PROMPT}"}}')
    library = logging.getLogger("some.library")
    library.warning("sending %r", {"input": {"prompt": PROMPT}, "policy": None})
    try:
        fail()
    except RuntimeError as error:
        structlog.get_logger().exception("record_failed")
        library.error("Task raised unexpected: %r", error, exc_info=error)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_prompts_are_hidden_in_fields_texts_and_what_errors_say(read_log, log_format):
    read = read_log(log_format=log_format)

    log_prompts()

    assert PROMPT not in read()
    assert read().count("in fail") == 4  # where it arose is shown: twice, with its cause
    assert "ValueError: [" in read()
    assert "[28 characters]" in read()


def test_prompts_are_shown_where_this_is_set(read_log):
    read = read_log(log_prompts=True)

    log_prompts()

    assert read().count(PROMPT) >= 7


def test_an_error_that_speaks_of_machines_is_shown_whole(read_log):
    read = read_log()

    error = ConnectionResetError("reset by 10.0.0.7")
    structlog.get_logger().error("part_failed", part="Acceptor", exc_info=error)

    line = json.loads(read())
    assert (line["event"], line["part"]) == ("part_failed", "Acceptor")
    assert line["exception"].endswith("ConnectionResetError: reset by 10.0.0.7")


def test_a_group_that_is_the_context_of_what_it_holds_is_told_once(read_log):
    read = read_log()
    held = LookupError("no such page")
    group = BaseExceptionGroup("unhandled", [held])
    held.__context__ = group

    structlog.get_logger().error("page_failed", exc_info=group)
    structlog.get_logger().error("page_failed", exc_info=held)

    assert [
        json.loads(line)["exception"].count("no such page") for line in read().splitlines()
    ] == [
        1,
        1,
    ]


def test_a_command_warns_on_stderr_and_hides_the_same(capsys):
    telemetry.set_up_command(Settings())

    structlog.get_logger().warning("bell_not_rung", error="prk_0123456789abcdef was refused")
    structlog.get_logger().info("thing_done")

    written = capsys.readouterr()
    structlog.reset_defaults()
    assert (written.out, "thing_done" in written.err) == ("", False)
    assert "prk_*** was refused" in written.err


def test_the_passwords_of_urls_are_known_as_they_are_written_and_as_they_are_meant(read_log):
    read = read_log(
        database_url="postgresql://press:p%40ssw0rd@db/press",
        redis_url="redis+sentinel://:ofredis1@a:1,b:2/0?service=x&sentinel_password=ofthewatch",
    )

    structlog.get_logger().warning(
        "words_written", text_of_theirs="p@ssw0rd, p%40ssw0rd, ofredis1 and ofthewatch"
    )

    assert "***, ***, *** and ***" in read()
