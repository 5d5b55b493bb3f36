"""Who calls, what for, and how often: every route but health, signed files and hints asks here.

The pages of `web/` ask the same routes, within this process, as who signed in.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import Depends, Request, Response
from fastapi.security import HTTPBearer
from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.errors import StorageError
from redis.exceptions import RedisError

from gateway.errors import ApiError
from models.key import Caller, Scope, find_caller, hash_key
from workers.runtime import Runtime

KNOWN_SECONDS = 1.0  # a key that was revoked opens for so long at most
KNOWN_MOST = 10_000
VISITOR = "pressroom.visitor"  # in an ASGI scope, where only this process can write: a Caller
COUNT_SECONDS = 0.5  # that a request waits for Redis, which may be frozen
ALLOWED_BY = {
    Scope.RUN: {Scope.RUN, Scope.OPERATE},
    Scope.READ: {Scope.READ, Scope.RUN, Scope.OPERATE},
    Scope.OPERATE: {Scope.OPERATE},
}

log = structlog.get_logger()


class Callers:
    """Knows keys, and counts their requests."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # A key is looked up once, however many requests wait for it: a crowd would take the pool.
        self._known: dict[bytes, tuple[float, asyncio.Task[Caller | None]]] = {}
        self._storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            wrap_exceptions=True,
            key_prefix=f"{runtime.settings.redis_prefix}requests",
            connection_pool=runtime.redis.connection_pool,  # type: ignore[arg-type]  # it takes one
        )

    async def admit(self, request: Request, scope: Scope) -> Caller:
        """The caller, whose request is counted; its headers are left in `request.state`.

        Raises:
            ApiError: 401 no good key, 403 not for this, 429 too often.
        """
        visitor: Caller | None = request.scope.get(VISITOR)
        caller = visitor or await self._identify(request.headers.get("authorization", ""))
        if caller is None:
            raise ApiError(
                HTTPStatus.UNAUTHORIZED,
                "an API key was wanted: Authorization: Bearer prk_...; "
                "`pressroom keys create` makes one",
                headers={"WWW-Authenticate": "Bearer"},
            )
        # How often a page asks is for us to say, not for who looks at it.
        request.state.limits = {} if visitor else await self._count(caller)
        if caller.scopes.isdisjoint(ALLOWED_BY[scope]):
            raise ApiError(
                HTTPStatus.FORBIDDEN,
                f"the key {caller.name!r} may {' and '.join(sorted(caller.scopes))}; "
                f"this takes {scope}",
            )
        return caller

    async def _identify(self, authorization: str) -> Caller | None:
        # The upstream's own samples send the key with the word, and without.
        word, _, rest = authorization.strip().partition(" ")
        secret = rest.strip() if word.lower() == "bearer" else authorization.strip()
        return await self.find(hash_key(secret)) if secret else None

    async def find(self, key_hash: bytes) -> Caller | None:
        """Whose key has this hash; None if it opens nothing, or no longer."""
        now = time.monotonic()
        until, finding = self._known.get(key_hash, (0.0, None))
        if finding is None or until <= now or _failed(finding):
            if len(self._known) >= KNOWN_MOST:
                self._known.clear()
            finding = asyncio.create_task(self._look_up(key_hash))
            self._known[key_hash] = (now + KNOWN_SECONDS, finding)
        return await asyncio.shield(finding)  # who goes away leaves it to the others

    async def _look_up(self, key_hash: bytes) -> Caller | None:
        async with self._runtime.database.begin() as session:
            return await find_caller(session, key_hash)

    async def _count(self, caller: Caller) -> dict[str, str]:
        """The headers that say how much is left of this second.

        Raises:
            ApiError: nothing is.
        """
        operator = await self._runtime.operator_settings()
        limit = caller.requests_per_second or operator.requests_per_second
        key = RateLimitItemPerSecond(limit).key_for(str(caller.key_id))
        try:
            async with asyncio.timeout(COUNT_SECONDS):
                count = await self._storage.incr(key, 1)
        except (StorageError, RedisError, TimeoutError) as error:
            # Without Redis nobody counts; to turn everybody away would be worse.
            log.warning("requests_not_counted", error=repr(error))
            return {}
        headers = {
            "RateLimit-Limit": str(limit),
            "RateLimit-Remaining": str(max(limit - count, 0)),
            "RateLimit-Reset": "1",
        }
        if count > limit:
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"the key {caller.name!r} may make {limit} requests a second",
                headers={**headers, "Retry-After": "1"},
            )
        return headers


def _failed(finding: asyncio.Task[Caller | None]) -> bool:
    return finding.done() and (finding.cancelled() or finding.exception() is not None)


_bearer = HTTPBearer(auto_error=False, description="An API key, `prk_...`.")


def requires(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """A dependency of routes that want a key with `scope`."""

    async def admitted(
        request: Request, response: Response, _shown: Annotated[object, Depends(_bearer)]
    ) -> Caller:
        callers: Callers = request.app.state.gateway.callers
        caller = await callers.admit(request, scope)
        response.headers.update(request.state.limits)
        return caller

    return admitted


Running = Annotated[Caller, Depends(requires(Scope.RUN))]
Reading = Annotated[Caller, Depends(requires(Scope.READ))]
Operating = Annotated[Caller, Depends(requires(Scope.OPERATE))]
