"""The loop of a process ends before its interpreter does."""

import subprocess
import sys

PROGRAM = """
import asyncio, atexit, threading
from workers.loop import LoopThread

async def tick():
    while True:
        await asyncio.sleep(0.0001)

# What is registered first has its turn last.
atexit.register(lambda: print([thread.name for thread in threading.enumerate()]))
loop = LoopThread()
for _ in range(20):
    loop.start(tick())
loop.run(asyncio.sleep(0.05), seconds=5)
"""


def test_a_loop_that_is_busy_is_stopped_as_its_process_ends_and_says_nothing():
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, check=False, timeout=30, text=True
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "['MainThread']\n", "")
