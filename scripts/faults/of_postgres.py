"""Postgres: restarted, frozen, its connections cut."""

import asyncio
import contextlib
import signal

from sqlalchemy import text

from models.errors import DatabaseUnavailable
from scripts.faults.fault import fault
from scripts.faults.scene import Scene

CUT_EACH_SECONDS = 0.5


@fault()
async def postgres_restart(scene: Scene) -> None:
    """Postgres is restarted, in its fast way, in the middle of everything (T15)."""
    await scene.signal(signal.SIGINT, "postgres")


@fault(seconds=30)
async def postgres_paused(scene: Scene) -> None:
    """Postgres and all of its backends are frozen for half a minute."""
    async with scene.frozen("postgres"):
        await scene.last()


@fault(seconds=6)
async def postgres_cut(scene: Scene) -> None:
    """All connections to Postgres are cut, twice a second."""
    for _ in range(max(round(scene.seconds / CUT_EACH_SECONDS), 2)):
        with contextlib.suppress(DatabaseUnavailable):
            async with scene.stack.database.begin() as session:
                await session.execute(
                    text("""
                        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
                    """)
                )
        await asyncio.sleep(CUT_EACH_SECONDS)
