"""A loop that has too much to do is late, and is seen to be; once it is idle, it no longer is."""

import asyncio
import time

from workers.loop_lag import FADES, LOOK_SECONDS, LoopLag


async def test_a_loop_that_was_held_up_is_late_and_then_in_time_again():
    lag = LoopLag()
    watch = asyncio.create_task(lag.watch())
    await asyncio.sleep(2 * LOOK_SECONDS)
    time.sleep(0.5)  # noqa: ASYNC251 -- what a busy loop is to those that wait
    await asyncio.sleep(0.01)
    late = lag.seconds

    async with asyncio.timeout(10):
        while lag.seconds > late * FADES**5:  # noqa: ASYNC110 -- it tells nobody
            await asyncio.sleep(LOOK_SECONDS)
    watch.cancel()

    assert 0.4 <= late <= 2.0
