"""The README's examples are programs: each is run, in a process of its own."""

import datetime as dt
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(
    r"^## (?P<title>[^\n]+)\n(?:(?!^## ).)*?^```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL
)
EXAMPLES = {found["title"]: found["code"] for found in BLOCK.finditer(README)}
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_every_block_is_an_example():
    assert len(EXAMPLES) == README.count("```python") == 6


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_runs(gateway, title, tmp_path):
    redis_url = os.environ.get("PRESSROOM_TEST_REDIS_URL")
    if "configure_celery" in EXAMPLES[title] and not redis_url:
        pytest.skip("PRESSROOM_TEST_REDIS_URL names no broker")
    environment = {
        **os.environ,
        "PRESSROOM_URL": gateway[0],
        "PRESSROOM_KEY": gateway[1],
        "PRESSROOM_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "REDIS_URL": redis_url or "",
        "PYTHONPATH": str(ROOT / "src"),
    }

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXAMPLES[title]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_the_webhook_example_takes_what_is_signed_and_nothing_else(monkeypatch):
    monkeypatch.setenv("PRESSROOM_WEBHOOK_SECRET", WEBHOOK_SECRET)
    [code] = [code for code in EXAMPLES.values() if "verify_webhook" in code]
    names: dict[str, Any] = {}
    exec(code, names)
    body, now = b'{"id": "job-1", "status": "COMPLETED"}', dt.datetime.now(dt.UTC)
    headers = {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": Webhook(WEBHOOK_SECRET).sign("msg_1", now, body.decode()),
    }

    assert names["receive"](body, headers) == 200
    assert names["receive"](body + b" ", headers) == 400
