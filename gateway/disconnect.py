"""A client that goes away while it is waited for, on its behalf: nobody is left to answer."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

T = TypeVar("T")


class ClientGone(Exception):
    """The connection was closed by the client."""


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do `work` while the client is there. Its body must have been read.

    Raises:
        ClientGone: it went away; the work was cancelled, and has ended.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_wait_until_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
