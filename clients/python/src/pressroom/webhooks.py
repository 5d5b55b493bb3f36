"""Whether a webhook is Pressroom's: <https://www.standardwebhooks.com>, by hmac alone."""

import base64
import binascii
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pressroom.errors import InvalidWebhook


def verify_webhook(
    body: bytes,
    headers: Mapping[str, str],
    secret: str | Sequence[str],
    tolerance: float = 300.0,
) -> dict[str, Any]:
    """The status reply that the webhook brings. A repeat has the same `webhook-id`.

    Args:
        body: as it came; JSON that was parsed and written again has another signature.
        headers: their case does not matter.
        secret: `whsec_...`; several while it is rotated.
        tolerance: how many seconds old, or fast, it may be.

    Raises:
        InvalidWebhook: it is not Pressroom's, or is too old: answer 400.
        ValueError: a secret is none.
    """
    keys = [_read_secret(one) for one in ([secret] if isinstance(secret, str) else secret)]
    if not keys:
        raise ValueError("a secret is wanted, or several")
    found = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, sent_at, signatures = (
            found[f"webhook-{name}"] for name in ("id", "timestamp", "signature")
        )
    except KeyError as error:
        raise InvalidWebhook(f"no header {error.args[0]}") from None
    signed = f"{message_id}.{sent_at}.".encode(errors="replace") + body
    wanted = [b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys]
    given = [one.encode(errors="replace") for one in signatures.split()]
    # Each with each, whichever fits: how long it takes says nothing.
    if not sum(hmac.compare_digest(one, other) for one in wanted for other in given):
        raise InvalidWebhook("no signature fits the body and the secret")
    if not sent_at.isdecimal() or abs(time.time() - int(sent_at)) > tolerance:
        raise InvalidWebhook(f"sent at {sent_at}, which is not within {tolerance:g} s of now")
    try:
        content = json.loads(body)
    except ValueError as error:
        raise InvalidWebhook(f"the body is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise InvalidWebhook("the body is no JSON object")
    return content


def _read_secret(secret: str) -> bytes:
    text = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("a webhook's secret is 'whsec_' and base64")
    return key
