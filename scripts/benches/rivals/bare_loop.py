"""The bare loop: aiohttp and a semaphore. It keeps nothing, and knows of no limits or faults.

Prints one JSON object: the CPU seconds it took, and of each job when it was sent, how long it took
upstream, and when its end was known.
"""

import asyncio
import json
import time
from typing import Any

import aiohttp

from scripts.benches.rivals.plan import OPEN, Plan, read_plan


async def run_jobs(plan: Plan) -> list[tuple[float, float, float]]:
    done: list[tuple[float, float, float]] = []
    # Apart, or those who ask would stand in line behind all that is yet to be sent.
    sending, asking = asyncio.Semaphore(plan.at_once), asyncio.Semaphore(plan.at_once)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=plan.headers, connector=connector) as session:

        async def call(method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 -- JSON
            async with session.request(method, f"{plan.base}/{path}", json=body) as response:
                response.raise_for_status()
                return await response.json()

        async def run(endpoint: str, number: int) -> None:
            async with sending:
                sent = time.time()
                body = {"input": {"prompt": f"job {number}"}}
                reply = await call("POST", f"{endpoint}/run", body)
            while reply["status"] in OPEN:
                await asyncio.sleep(plan.poll_seconds)
                async with asking:
                    reply = await call("GET", f"{endpoint}/status/{reply['id']}")
            took = (reply["delayTime"] + reply["executionTime"]) / 1000
            done.append((sent, took, time.time()))

        endpoints = plan.endpoints
        running = [
            asyncio.create_task(run(endpoints[number % len(endpoints)], number))
            for number in range(plan.jobs)
        ]
        ended, late = await asyncio.wait(running, timeout=plan.seconds)
        for task in late:
            task.cancel()
        for task in ended:
            task.result()  # raises what went wrong
    return done


if __name__ == "__main__":
    began = time.time()
    ended = asyncio.run(run_jobs(read_plan()))
    print(json.dumps({"began": began, "cpu_seconds": time.process_time(), "done": ended}))  # noqa: T201
