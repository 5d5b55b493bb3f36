"""Jobs that are handed in while things break, by a client that sends again until it is answered.

Most come in a few seconds, others while the fault lasts, and the last once it has ended, so that
there is always something that could move. Each has a prompt of its own, by which its bills are
found.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from scripts.faults.stack import ENDPOINTS

PICTURES = "black-forest-labs-flux-1-schnell"
PICTURE_EACH = 10  # one job in so many has a file
PICTURE_PIXELS = 256
BATCHES = 50  # requests that all jobs are handed in by
AT_FIRST = 0.75  # the share that comes before the fault
AT_LAST = 0.05  # and after it
RATE = 250.0  # jobs a second of those
SENDERS = 4
RETRY_SECONDS = 0.2
ANSWER_SECONDS = 20.0
GIVE_UP_SECONDS = 120.0


@dataclass
class Workload:
    """
    Attributes:
        key: of the gateway, and its id.
        name: begins every prompt.
        seconds: how long the fault will last.
        ids: of the jobs that were accepted.
        refused: what was said of those that were not.
    """

    base_url: str
    key: str
    key_id: str
    name: str
    jobs: int
    seconds: float
    ids: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    _struck: asyncio.Event = field(default_factory=asyncio.Event)
    _struck_at: float = 0.0
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    def note_strike(self) -> None:
        """The fault begins now, unless it has begun."""
        if not self._struck.is_set():
            self._struck_at = time.monotonic()
            self._struck.set()

    def note_end(self) -> None:
        """It has ended."""
        self._over.set()

    async def send(self) -> None:
        """Hand all of them in; returns when each was accepted, refused or given up."""
        size = max(self.jobs // BATCHES, 1)
        batches = [range(at, min(at + size, self.jobs)) for at in range(0, self.jobs, size)]
        left = iter(batches)
        began = time.monotonic()
        async with (
            httpx.AsyncClient(
                base_url=self.base_url,
                headers={"Authorization": f"Bearer {self.key}"},
                timeout=ANSWER_SECONDS,
            ) as http,
            asyncio.TaskGroup() as senders,
        ):
            for _ in range(SENDERS):
                senders.create_task(self._send_batches(http, left, began))

    async def _send_batches(self, http: httpx.AsyncClient, left: Any, began: float) -> None:  # noqa: ANN401 -- an iterator that is shared
        for batch in left:
            await self._wait_due(batch.start, began)
            await self._send_batch(http, batch)

    async def _wait_due(self, number: int, began: float) -> None:
        """Until a job is to be handed in."""
        first, last = self.jobs * AT_FIRST, self.jobs * (1 - AT_LAST)
        if number < first:
            await asyncio.sleep(began + number / RATE - time.monotonic())
        elif number < last:
            await self._struck.wait()
            share = (number - first) / (last - first)
            await asyncio.sleep(self._struck_at + share * self.seconds - time.monotonic())
        else:
            await self._over.wait()

    async def _send_batch(self, http: httpx.AsyncClient, batch: range) -> None:
        body = {"jobs": [self._request(number) for number in batch]}
        headers = {"Idempotency-Key": f"{self.name} {batch.start}"}
        until = time.monotonic() + self.seconds + GIVE_UP_SECONDS
        while True:
            try:
                response = await http.post("/api/v1/jobs/bulk", json=body, headers=headers)
                if response.status_code == httpx.codes.OK:
                    break
                problem = f"HTTP {response.status_code} {response.text[:200]}"
            except httpx.HTTPError as error:
                problem = repr(error)
            if time.monotonic() > until:
                self.refused += [problem] * len(batch)
                return
            await asyncio.sleep(RETRY_SECONDS)
        for item in response.json()["items"]:
            if "id" in item:
                self.ids.append(item["id"])
            else:
                self.refused.append(str(item["error"]))

    def _request(self, number: int) -> dict[str, Any]:
        prompt = f"{self.name} {number}"
        if number % PICTURE_EACH == 0:
            size = {"width": PICTURE_PIXELS, "height": PICTURE_PIXELS}
            return {"endpoint": PICTURES, "input": {"prompt": prompt, **size}}
        return {"endpoint": ENDPOINTS[number % len(ENDPOINTS)], "input": {"prompt": prompt}}
