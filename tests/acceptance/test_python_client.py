"""The package that backends import, run against a real stack: its own tests, and its README's code.

They stand beside it (`clients/python/tests`) and are run as its own project runs them, in a process
of their own.
"""

import os
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parents[2] / "clients" / "python"


def test_its_tests_pass_against_the_gateway_and_none_is_skipped(stack, gateway_key):
    environment = {
        **{name: value for name, value in os.environ.items() if "PRESSROOM" not in name},
        "PRESSROOM_TEST_URL": f"http://127.0.0.1:{stack.gateway_port}",
        "PRESSROOM_TEST_KEY": gateway_key,
        "PRESSROOM_TEST_REDIS_URL": stack.broker_dsn,
    }

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=CLIENT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-1000:]
    assert "skipped" not in ran.stdout.splitlines()[-1]


def test_it_imports_nothing_of_the_server():
    probe = (
        "import sys, pressroom; "
        "print(sorted({'endpoints', 'gateway', 'models', 'tasks', 'workers', 'celery'}"
        " & set(sys.modules)))"
    )

    ran = subprocess.run(
        [sys.executable, "-c", probe],
        env={**os.environ, "PYTHONPATH": str(CLIENT / "src")},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert ran.stdout.strip() == "[]"
