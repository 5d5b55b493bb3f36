"""Webhooks: taken from Pressroom, in time, and from nobody else."""

import base64
import datetime as dt
import json
import time

import pytest
from standardwebhooks import Webhook

from pressroom import InvalidWebhook, verify_webhook

SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()
NEXT_SECRET = "whsec_" + base64.b64encode(b"n" * 32).decode()
BODY = json.dumps({"id": "job-1", "status": "COMPLETED", "output": "ä"}).encode()


def sign(body=BODY, secret=SECRET, at=0.0, message_id="msg_1"):
    """Headers as the reference implementation signs them, `at` seconds from now."""
    sent = dt.datetime.fromtimestamp(int(time.time() + at), tz=dt.UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(sent.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, sent, body.decode()),
    }


@pytest.mark.parametrize("case", [str.lower, str.title, str.upper])
def test_what_the_reference_implementation_signs_is_taken(case):
    headers = {case(name): value for name, value in sign().items()}

    assert verify_webhook(BODY, headers, SECRET) == json.loads(BODY)


def test_the_example_of_the_standard_is_taken():
    """The vector of the specification's own test suites."""
    body = b'{"test": 2432232314}'
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }

    content = verify_webhook(
        body, headers, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", tolerance=float("inf")
    )

    assert content == {"test": 2432232314}


def test_while_a_secret_is_rotated_either_end_may_have_both():
    old, new = sign()["webhook-signature"], sign(secret=NEXT_SECRET)["webhook-signature"]
    both = {**sign(), "webhook-signature": f"v1a,AAAA {new} {old}"}

    assert verify_webhook(BODY, both, SECRET)
    assert verify_webhook(BODY, both, NEXT_SECRET)
    assert verify_webhook(BODY, sign(), [NEXT_SECRET, SECRET])


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": str(int(time.time()) + 100)},
        {"webhook-timestamp": "now"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,ä"},
        {"webhook-signature": sign(secret=NEXT_SECRET)["webhook-signature"]},
        {"webhook-signature": sign()["webhook-signature"].replace("v1,", "v2,")},
    ],
    ids=str,
)
def test_whatever_was_changed_is_noticed(change):
    with pytest.raises(InvalidWebhook):
        verify_webhook(BODY, {**sign(), **change}, SECRET)


@pytest.mark.parametrize("body", [BODY + b" ", b"", b"\xff"])
def test_another_body_is_noticed(body):
    with pytest.raises(InvalidWebhook, match="no signature fits"):
        verify_webhook(body, sign(), SECRET)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_that_is_missing_is_named(name):
    headers = sign()
    del headers[name]

    with pytest.raises(InvalidWebhook, match=name):
        verify_webhook(BODY, headers, SECRET)


@pytest.mark.parametrize(("at", "taken"), [(-290, True), (-310, False), (290, True), (310, False)])
def test_one_that_is_too_old_or_too_new_is_refused(at, taken):
    if taken:
        assert verify_webhook(BODY, sign(at=at), SECRET)
    else:
        with pytest.raises(InvalidWebhook, match="not within 300 s"):
            verify_webhook(BODY, sign(at=at), SECRET)


@pytest.mark.parametrize("body", [b"no JSON", b"[1]"])
def test_a_signed_body_that_is_no_object_is_refused(body):
    with pytest.raises(InvalidWebhook, match="JSON"):
        verify_webhook(body, sign(body), SECRET)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!", "whsec_ä", [], [SECRET, ""]])
def test_a_secret_that_is_none_is_the_callers_mistake(secret):
    with pytest.raises(ValueError, match="secret"):
        verify_webhook(BODY, sign(), secret)
