"""`pressroom demo --serve`: the demo, then its pages, until it is told to stop."""

import os
import re
import signal
import subprocess

import httpx

from tests.acceptance.conftest import PROGRAM
from tests.conftest import free_port

SECONDS = 90


def test_the_demo_stays_up_to_be_looked_at(tmp_path):
    port = free_port()
    ports = {
        "PRESSROOM_GATEWAY_PORT": str(port),
        "PRESSROOM_FLOWER_PORT": str(free_port()),
        "PRESSROOM_EMULATOR_PORT": str(free_port()),
    }
    with subprocess.Popen(
        [PROGRAM, "demo", "--serve", f"--folder={tmp_path / 'demo'}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **ports, "PYTHONUNBUFFERED": "1"},
    ) as demo:
        assert demo.stdout is not None
        try:
            key = next(found[0] for line in demo.stdout if (found := re.search(r"prk_\S+", line)))
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True) as http:
                seen = http.post("/web/login", data={"key": key})
        finally:
            demo.send_signal(signal.SIGINT)
        assert demo.wait(SECONDS) == 0
    assert seen.status_code == 200
    assert "Playground" in seen.text
    assert (tmp_path / "demo" / "summary.json").exists()
