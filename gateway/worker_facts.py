"""Workers as they last said of themselves, on whatever host they are."""

from typing import Any

from workers.runtime import Runtime
from workers.sign import read_signs


async def describe_workers(runtime: Runtime) -> list[dict[str, Any]]:
    """As JSON, in the order of their names.

    Raises:
        RedisError: Redis does not answer.
    """
    now, signs = await read_signs(runtime.settings, runtime.redis)
    return [
        {
            "node": node,
            "state": "silent" if sign.is_silent(now) else "troubled" if sign.said else "well",
            "seen_seconds": float(max(now - sign.at, 0)),
            "problem": sign.problem(now),
        }
        for node, sign in sorted(signs.items())
    ]
