"""Custody: is any result, or any file, about to be lost for want of being fetched?

The sweep asks every half minute and logs an alarm; `pressroom status` and `pressroom doctor` show
the same measures.
"""

import dataclasses

import structlog
from redis.exceptions import RedisError

from models.custody import Custody, measure_custody
from tasks.first_poll import RETENTION_SECONDS
from workers.runtime import Runtime
from workers.settings import Settings

# On the upstream's clock.
UNREAD_SECONDS = RETENTION_SECONDS / 3
UNCOPIED_SECONDS = 24 * 3600.0
URL_SECONDS = 24 * 3600.0

ALARM_SECONDS = 30  # on ours: it takes a read of every job in flight

log = structlog.get_logger()


async def watch_custody(runtime: Runtime) -> list[str]:
    """Measure, unless somebody has just done so, and raise the alarm; returns what is wrong."""
    try:
        key = f"{runtime.settings.redis_prefix}custody"
        if not await runtime.redis.set(key, 1, nx=True, ex=ALARM_SECONDS):
            return []
    except RedisError:
        return []  # the alarm about that is another's
    async with runtime.database.begin() as session:
        custody = await measure_custody(session)
    problems = find_problems(custody, clock=clock_of(runtime.settings))
    if problems:
        log.error("custody_endangered", problems=problems, **dataclasses.asdict(custody))
    return problems


def clock_of(settings: Settings) -> float:
    """How many of the upstream's seconds pass in one of ours."""
    return settings.emulator_clock if settings.emulated else 1.0


def find_problems(custody: Custody, *, clock: float) -> list[str]:
    """What is near to being lost, or is lost; `clock`: how much faster the upstream's runs."""
    problems = []
    unread, uncopied, url = custody.unread_seconds, custody.uncopied_seconds, custody.url_seconds
    if unread is not None and unread * clock > UNREAD_SECONDS:
        problems.append(
            f"a result may have been unread for {unread:.0f} s, "
            f"of {RETENTION_SECONDS / clock:.0f} s that the upstream keeps one"
        )
    if uncopied is not None and uncopied * clock > UNCOPIED_SECONDS:
        problems.append(f"a file has not been copied for {_say(uncopied)}")
    if url is not None and url * clock < URL_SECONDS:
        problems.append(f"a file that is not copied dies upstream in {_say(max(url, 0.0))}")
    if custody.lost:
        problems.append(
            f"{custody.lost:,} files that the store lost are still to be fetched again: if they "
            "are where they were, PRESSROOM_STORE_URL named another place"
        )
    if custody.given_up:
        problems.append(f"{custody.given_up:,} files were given up in the last day: they died")
    if custody.set_aside:
        problems.append(f"{custody.set_aside:,} files are set aside: workers died of them")
    return problems


def _say(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"  # noqa: PLR2004 -- an hour
