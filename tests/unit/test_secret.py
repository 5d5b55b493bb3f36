"""The installation's secret: made once whoever asks, and each use with a key of its own."""

import base64
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook

from models.base import new_id
from workers.secret import SealBroken, Secret, load_secret
from workers.settings import Settings

SECRET = Secret("a secret of sixteen")
S3 = {"accessId": "AKIA", "accessSecret": "canary-0123456789"}


def test_what_was_sealed_is_opened_and_is_nowhere_in_the_sealed_bytes():
    sealed = SECRET.seal(S3)

    assert SECRET.open(sealed) == S3
    assert b"canary" not in sealed
    assert b"canary" not in base64.urlsafe_b64decode(sealed)
    assert SECRET.seal(S3) != sealed


def test_another_secret_opens_nothing_and_says_why():
    with pytest.raises(SealBroken, match="PRESSROOM_SECRET"):
        Secret("another secret of more").open(SECRET.seal(S3))


def test_what_was_changed_after_it_was_sealed_is_not_opened():
    sealed = bytearray(SECRET.seal(S3))
    sealed[20] ^= 1

    with pytest.raises(SealBroken):
        SECRET.open(bytes(sealed))


def test_a_webhook_secret_is_one_of_standard_webhooks_and_of_one_key_and_version_alone():
    key, other = new_id(), new_id()

    secret = SECRET.webhook_secret(key, 1)

    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    Webhook(secret)
    others = {
        SECRET.webhook_secret(other, 1),
        SECRET.webhook_secret(key, 2),
        Secret("another secret of more").webhook_secret(key, 1),
    }
    assert len(others | {secret}) == 4
    assert SECRET.webhook_secret(key, 1) == secret


def test_the_secret_of_the_settings_is_used_and_none_is_written(tmp_path):
    secret = SecretStr("x" * 16)

    loaded = load_secret(Settings(data_dir=tmp_path, secret=secret))

    assert loaded.sign_link("a") == Secret("x" * 16).sign_link("a")
    assert list(tmp_path.iterdir()) == []


def test_without_one_it_is_made_once_for_its_owner_alone(tmp_path):
    settings = Settings(data_dir=tmp_path / "not" / "there")

    first, second = load_secret(settings), load_secret(settings)

    assert first.sign_link("a") == second.sign_link("a")
    [path] = settings.data_dir.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text()) >= 32


def test_those_who_make_it_at_the_same_moment_have_the_same(tmp_path):
    settings = Settings(data_dir=tmp_path)

    with ThreadPoolExecutor(16) as threads:
        made = list(threads.map(lambda _: load_secret(settings).sign_link("a"), range(64)))

    assert len(set(made)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
