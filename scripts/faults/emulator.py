"""The emulator's controls: what it is told to do wrong, and what it says it did."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

ADMIN_SECONDS = 30.0


class Emulator:
    """A client of the controls at `base`."""

    def __init__(self, base: str) -> None:
        self._http = httpx.AsyncClient(base_url=f"{base}/admin", timeout=ADMIN_SECONDS)

    async def close(self) -> None:
        await self._http.aclose()

    async def reset(self) -> None:
        await self._send("POST", "/reset", {})

    async def serve(self, endpoint: str, *, execution_seconds: float, spread: float = 1.0) -> None:
        """Serve an endpoint of our own; its seconds are emulated ones.

        Args:
            spread: how far times stray from their median: 0 not at all.
        """
        body = {"endpoint": endpoint, "execution_seconds": execution_seconds, "spread": spread}
        await self._send("POST", "/custom", body)

    async def arm(self, kind: str, **settings: object) -> str:
        """Arm a fault, and return its id."""
        return str((await self._send("POST", "/faults", {"kind": kind, **settings}))["id"])

    @asynccontextmanager
    async def armed(self, *faults: tuple[str, Mapping[str, object]]) -> AsyncIterator[None]:
        """With these faults for so long, each a kind and its settings."""
        armed = [await self.arm(kind, **settings) for kind, settings in faults]
        try:
            yield
        finally:
            for one in armed:
                await self._send("DELETE", f"/faults/{one}")

    async def cut_network(self, seconds: float) -> None:
        await self._send("POST", "/network", {"cut_seconds": seconds})

    async def limit(
        self, operation: str, *, per_window: int | None, concurrent: int | None
    ) -> None:
        """Have this limit from now on; None lifts one."""
        limit = {"operation": operation, "per_window": per_window, "concurrent": concurrent}
        await self._send("POST", "/limits", limit)

    async def read_stats(self) -> dict[str, Any]:
        """What was asked of it, and how it answered."""
        stats: dict[str, Any] = await self._send("GET", "/stats")
        return stats

    async def count(self, name: str) -> int:
        """One of its figures of jobs."""
        return int((await self._send("GET", "/stats"))["jobs"][name])

    async def count_requests(self, operation: str, *, endpoint: str | None = None) -> int:
        """How often that was asked of one endpoint, or of all, whatever was answered."""
        endpoints = (await self.read_stats())["endpoints"]
        return sum(
            done[operation]["requests"]
            for name, done in endpoints.items()
            if operation in done and endpoint in {None, name}
        )

    async def read_bills(self) -> list[dict[str, Any]]:
        """Every generation that ran, with the prompt that it was asked for with."""
        bills: list[dict[str, Any]] = (await self._send("GET", "/ledger?entries=1"))["entries"]
        return bills

    async def _send(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 -- JSON
        response = await self._http.request(method, path, json=body)
        if response.is_error:
            raise RuntimeError(f"the emulator refused {method} {path}: {response.text}")
        return response.json()
