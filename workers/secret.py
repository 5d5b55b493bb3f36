"""The installation's secret, and what is made from it: each use has a key of its own.

links     sign the addresses of stored files
webhooks  each API key's signing secret is derived, not kept
seal      encrypts what a request brings that is secret, its s3Config
sessions  seal what a browser keeps in its cookie
"""

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from cryptography.fernet import Fernet, InvalidToken

from workers.settings import Settings

SIGNATURE_BYTES = 18  # 144 bits: nobody guesses one


class SealBroken(Exception):
    """What was encrypted cannot be read: PRESSROOM_SECRET is another than it was."""

    def __str__(self) -> str:
        return "the s3Config cannot be decrypted: PRESSROOM_SECRET is another than it was"


class Secret:
    """Keys derived from one secret.

    Args:
        root: the secret; the same in every process of an installation.
    """

    def __init__(self, root: str) -> None:
        self._root = root.encode()
        self._fernet = Fernet(base64.urlsafe_b64encode(self._derive("seal")))
        self._links = self._derive("links")
        self._sessions = Fernet(base64.urlsafe_b64encode(self._derive("sessions")))

    def sign_link(self, message: str) -> str:
        """What proves that an address was made by us."""
        digest = hmac.new(self._links, message.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:SIGNATURE_BYTES]).decode()

    def webhook_secret(self, key_id: UUID, version: int) -> str:
        """With what the webhooks of a key's jobs are signed: `whsec_` and 32 bytes in base64."""
        return "whsec_" + base64.b64encode(self._derive(f"webhook:{key_id}:{version}")).decode()

    def announcement_secret(self) -> str:
        """With what word of campaigns and budgets is signed, in the same form."""
        return "whsec_" + base64.b64encode(self._derive("announcements:1")).decode()

    def seal(self, value: dict[str, Any]) -> bytes:
        return self._fernet.encrypt(orjson.dumps(value))

    def open(self, sealed: bytes) -> dict[str, Any]:
        """
        Raises:
            SealBroken: it was sealed with another secret.
        """
        try:
            opened: dict[str, Any] = orjson.loads(self._fernet.decrypt(sealed))
        except InvalidToken as error:
            raise SealBroken from error
        return opened

    def seal_session(self, key_hash: bytes) -> str:
        """A cookie that stands for the key with this hash. It says when it was made."""
        return self._sessions.encrypt(key_hash).decode()

    def open_session(self, cookie: str, *, live_seconds: int) -> bytes | None:
        """The hash in it; None if it is none of ours, or older than `live_seconds`."""
        try:
            return self._sessions.decrypt(cookie.encode("utf-8", "replace"), ttl=live_seconds)
        except InvalidToken:
            return None

    def _derive(self, purpose: str) -> bytes:
        return hmac.new(self._root, purpose.encode(), hashlib.sha256).digest()


def load_secret(settings: Settings) -> Secret:
    """The secret of the settings, or of DATA_DIR, where it is made at its first use."""
    if settings.secret is not None:
        return Secret(settings.secret.get_secret_value())
    path = settings.data_dir / "secret"
    if not path.exists():
        _make(path)
    return Secret(path.read_text())


def _make(path: Path) -> None:
    """Whole or not at all, whoever else is making it at this moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".secret-{os.getpid()}-{secrets.token_hex(4)}")
    draft.touch(mode=0o600)
    draft.write_text(secrets.token_urlsafe(32))
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
