"""Too much, and eyes where they do not belong."""

import asyncio
import time

import httpx
from redis.asyncio import Redis

from scripts.faults.fault import fault
from scripts.faults.scene import Scene
from workers.app import QUEUES
from workers.flower import USER
from workers.stack.lifecycle import flower_url

MESSAGES_MOST = 200
INTERACTIVE = "qwen3-32b-awq"  # an endpoint of which nothing else is asked
INTERACTIVE_SECONDS = 10.0
LOOKS_EACH_SECONDS = 0.2
FLOWER_PAGES = ("workers", "tasks", "broker", "api/workers", "api/tasks", "api/queues/length")
FLOWER_ACTS = ("api/task/send-task/pressroom.canary", "api/worker/shutdown/all")
UNAUTHORIZED = 401


@fault(seconds=8, times=10, early=True)
async def backlog(scene: Scene) -> None:
    """Ten times as many jobs: messages do not grow with them, and nobody else waits (T13)."""
    most = 0
    asking = asyncio.create_task(_ask_one(scene))
    async with scene.redis() as redis:
        prefix = scene.settings.redis_prefix
        before = await _find_held(redis, prefix)  # what earlier faults left is not of this backlog
        until = time.monotonic() + scene.seconds
        while time.monotonic() < until or not asking.done():
            lengths = [await redis.llen(f"{prefix}{queue}") for queue in QUEUES]
            most = max(most, sum(lengths) + len(await _find_held(redis, prefix) - before))
            await asyncio.sleep(LOOKS_EACH_SECONDS)
    if most > MESSAGES_MOST:
        scene.complain(f"{most} messages lay in Redis, at most {MESSAGES_MOST} were wanted")
    if (seconds := await asking) > INTERACTIVE_SECONDS:
        scene.complain(f"a single request through another endpoint took {seconds:.1f} s")


@fault(seconds=2)
async def flower_probes(scene: Scene) -> None:
    """Flower is asked without a login; what was in requests is looked for everywhere (T14)."""
    canary = scene.workload.name  # it begins every prompt
    password = (scene.settings.data_dir / "run" / "flower-password").read_text()
    base = flower_url(scene.settings)
    pages = []
    async with httpx.AsyncClient(base_url=base, timeout=20) as http:
        for path in FLOWER_PAGES:
            stranger = await http.get(path)
            if stranger.status_code != UNAUTHORIZED:
                scene.complain(f"Flower answered /{path} without a login: {stranger.status_code}")
            pages.append((await http.get(path, auth=(USER, password))).text)
        for path in FLOWER_ACTS:
            stranger = await http.post(path)
            if stranger.status_code != UNAUTHORIZED:
                scene.complain(f"Flower obeyed a stranger at /{path}: {stranger.status_code}")
    async with scene.redis() as redis:
        stored = [key + await _dump(redis, key) async for key in redis.scan_iter(count=1000)]
    logs = [path.read_text(errors="replace") for path in scene.log_files()]
    secrets = {"a prompt": canary, "an API key": scene.workload.key}
    for what, secret in secrets.items():
        for place, texts in {"Flower": pages, "Redis": stored, "the logs": logs}.items():
            if any(secret in one for one in texts):
                scene.complain(f"{what} is found in {place}")


async def _ask_one(scene: Scene) -> float:
    """Seconds that one request takes, from being handed in to its end."""
    began = time.monotonic()
    secret, _ = await scene.stack.make_key("chaos interactive")
    async with httpx.AsyncClient(
        base_url=scene.settings.link_base,
        headers={"Authorization": f"Bearer {secret}"},
        timeout=90,
    ) as http:
        body = {"input": {"prompt": "A single line on herons.", "max_tokens": 20}}
        answer = await http.post(f"/v2/{INTERACTIVE}/runsync", json=body)
    if answer.json().get("status") != "COMPLETED":
        scene.complain(f"the single request ended {answer.text[:200]}")
    return time.monotonic() - began


async def _find_held(redis: Redis, prefix: str) -> set[bytes | str]:
    """The messages that workers hold, or held when they died, by their tags."""
    return set(await redis.hkeys(f"{prefix}unacked"))


async def _dump(redis: Redis, key: str) -> str:
    """What lies under a key, as text."""
    kind = await redis.type(key)
    reads = {
        "string": lambda: redis.get(key),
        "list": lambda: redis.lrange(key, 0, -1),
        "hash": lambda: redis.hgetall(key),
        "set": lambda: redis.smembers(key),
        "zset": lambda: redis.zrange(key, 0, -1),
    }
    return repr(await reads[kind]()) if kind in reads else ""  # type: ignore[no-untyped-call]
