"""A heartbeat is stopped although a library swallowed the first word of it."""

import asyncio
import contextlib

import pytest

from workers.lane import stop_task


@pytest.mark.parametrize("swallowed", [0, 1, 2])
async def test_a_task_that_swallows_cancels_is_stopped_all_the_same(monkeypatch, swallowed):
    monkeypatch.setattr("workers.lane.STOP_SECONDS", 0.01)

    async def beat():
        for _ in range(swallowed):
            with contextlib.suppress(asyncio.CancelledError):  # as some library does
                await asyncio.sleep(60)
        await asyncio.sleep(60)

    task = asyncio.create_task(beat())
    await asyncio.sleep(0)

    async with asyncio.timeout(5):
        await stop_task(task)

    assert task.cancelled()
