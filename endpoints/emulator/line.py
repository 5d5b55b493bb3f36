"""The emulator's end of the network: the port that it listens on, which can be cut off.

While it is cut off nobody listens, so a new connection is refused, and those that were open were
reset. What the emulator does by itself goes on: jobs run, and webhooks are sent.
"""

import asyncio
import socket
import struct
from typing import Final

from aiohttp import web

BACKLOG: Final = 1024
ANSWER_SECONDS: Final = 0.1  # for the answer to whoever asked for a cut


class Line:
    """One port of a runner.

    Args:
        port: 0 takes a free one; after a cut it is the same again.
    """

    def __init__(self, runner: web.AppRunner, host: str, port: int) -> None:
        self._runner = runner
        self._host = host
        self._port = port
        self._site: web.TCPSite | None = None
        self._cutting: asyncio.Task[None] | None = None

    async def open(self) -> str:
        """Listen; returns the URL."""
        self._site = web.TCPSite(self._runner, self._host, self._port, backlog=BACKLOG)
        await self._site.start()
        host, self._port, *_ = self._runner.addresses[0]
        return f"http://{host}:{self._port}"

    def cut(self, seconds: float) -> None:
        """Be out of reach for some real seconds, from a moment on in which answers still go out."""
        if self._cutting is None or self._cutting.done():
            self._cutting = asyncio.get_running_loop().create_task(self._cut(seconds))

    async def close(self) -> None:
        """Give up a cut, if there is one; the runner closes the port."""
        if self._cutting is not None:
            self._cutting.cancel()
            await asyncio.gather(self._cutting, return_exceptions=True)

    async def _cut(self, seconds: float) -> None:
        await asyncio.sleep(ANSWER_SECONDS)
        if self._site is not None:
            await self._site.stop()
        if self._runner.server is not None:
            for connection in self._runner.server.connections:
                if connection.transport is not None:
                    abort(connection.transport)
        await asyncio.sleep(seconds)
        await self.open()


LINE: Final = web.AppKey("line", Line)


def abort(transport: asyncio.BaseTransport) -> None:
    """Close a connection at once, with a reset: what a crashed peer looks like."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        # A linger of 0 makes closing a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
