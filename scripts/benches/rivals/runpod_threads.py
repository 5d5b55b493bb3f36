"""The official SDK as its users use it: a thread a job, `run`, then `status` until it has ended.

Prints what the bare loop prints. Each thread has an `Endpoint` of its own: one alone would keep ten
connections and close every other.
"""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import runpod  # type: ignore[import-not-found]

from scripts.benches.rivals.plan import OPEN, Plan, read_plan


def run_jobs(plan: Plan) -> list[tuple[float, None, float]]:
    runpod.api_key = plan.key
    runpod.endpoint_url_base = plan.base
    deadline = time.monotonic() + plan.seconds
    own = threading.local()

    def run(number: int) -> tuple[float, None, float] | None:
        name = plan.endpoints[number % len(plan.endpoints)]
        endpoints = own.__dict__.setdefault("endpoints", {})
        endpoint = endpoints.get(name) or endpoints.setdefault(name, runpod.Endpoint(name))
        sent = time.time()
        job = endpoint.run({"prompt": f"job {number}"})
        while job.status() in OPEN:
            if time.monotonic() > deadline:
                return None
            time.sleep(plan.poll_seconds)
        return sent, None, time.time()  # how long it took, `status` does not say

    with ThreadPoolExecutor(plan.at_once) as threads:
        return [end for end in threads.map(run, range(plan.jobs)) if end]


if __name__ == "__main__":
    began = time.time()
    ended = run_jobs(read_plan())
    print(json.dumps({"began": began, "cpu_seconds": time.process_time(), "done": ended}))  # noqa: T201
