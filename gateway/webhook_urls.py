"""Is this an address that a webhook may go to? Said when it is handed in, so that its owner hears.

What it leads to is looked at again when it is sent: `endpoints/guard.py`.
"""

import asyncio
import time
from http import HTTPStatus
from urllib.parse import urlsplit

from endpoints.guard import ForbiddenAddress, Guard, UnknownHost
from gateway.errors import ApiError

LOOK_UP_SECONDS = 1.0  # a name that takes longer is left to the sending
KNOWN_SECONDS = 60.0
KNOWN_MOST = 10_000
LONGEST = 2_048


class WebhookUrls:
    """Checks addresses, and remembers for a minute which hosts were good."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._good_until: dict[str, float] = {}

    async def check(self, url: object) -> str:
        """
        Raises:
            ApiError: 400 no http(s) URL, or one that leads into a private network.
        """
        if not isinstance(url, str) or len(url) > LONGEST or not url.isprintable():
            raise _refused(f"an http(s) URL of at most {LONGEST:,} characters was wanted")
        try:
            self._guard.check_literal(url)
            host = urlsplit(url).netloc
            if self._good_until.get(host, 0.0) < time.monotonic():
                await self._look_up(url)
                if len(self._good_until) >= KNOWN_MOST:
                    self._good_until.clear()
                self._good_until[host] = time.monotonic() + KNOWN_SECONDS
        except (ForbiddenAddress, ValueError) as error:
            raise _refused(str(error)) from error
        return url

    async def _look_up(self, url: str) -> None:
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                await self._guard.check(url)
        except (UnknownHost, TimeoutError):
            return  # it may be known by the time that the job has ended


def _refused(detail: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, f"webhook: {detail}", problems=[f"webhook: {detail}"])
