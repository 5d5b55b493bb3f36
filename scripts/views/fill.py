"""What the pictures show: jobs of each kind, campaigns, budgets, keys; some of it gone wrong.

All of it comes by the API, as a studio's would; the emulator fails some, and loses some replies.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from sqlalchemy import text

from gateway.api.forms import NIGHTLY
from gateway.cli.demo import read_requests
from models.database import Database
from models.key import Scope, issue_key
from workers.settings import Settings

SETTLED_SECONDS = 90.0  # that the short jobs may take
FAST, CLOSED, VIDEO = "black-forest-labs-flux-1-schnell", "seedream-v4-t2i", "p-video"
LOSSY = "wan-2-6-t2i"
CALL_SECONDS = 60.0
MOTIFS = (
    "a lighthouse of stacked books",
    "a night train above the clouds",
    "a greenhouse on Mars",
    "a paper-cut fox over a crescent moon",
    "three pears and a pewter jug",
    "a street market after rain",
)


@dataclass
class Filled:
    """What pages may be opened of. Args: secrets: of keys, by name."""

    secrets: dict[str, str]
    jobs: dict[str, str] = field(default_factory=dict)  # an id by its state
    campaigns: dict[str, str] = field(default_factory=dict)  # by name
    budgets: dict[str, str] = field(default_factory=dict)


def fill(settings: Settings, operator: str) -> Filled:
    """A floor in full swing.

    Args:
        operator: the secret of a key that may do everything.
    """
    base = f"http://127.0.0.1:{settings.gateway_port}"
    admin = f"http://127.0.0.1:{settings.emulator_port}/admin"
    with _client(base, operator) as api:
        secrets = {"operator": operator, **_make_keys(api)}
        with _client(base, secrets["studio"]) as studio, _client(base, secrets["shop"]) as shop:
            with httpx.Client(timeout=CALL_SECONDS) as http:
                _arm(http, admin, "fail_job", count=2, endpoint=FAST)
                # Taken and billed, and neither its reply nor a webhook ever comes.
                _arm(http, admin, "webhook_silent", count=2, endpoint=LOSSY)
                _arm(http, admin, "reset_after", count=2, endpoint=LOSSY, operation="run")
            filled = Filled(secrets)
            _hand_in(studio, read_requests(), shop)
            filled.campaigns = _start_campaigns(studio, shop)
            filled.budgets = _set_budgets(api)
            _send(api, "POST", "/schedules", {"specification": NIGHTLY})
        closing = {"paused": True, "reason": "the supplier moves its models until Monday"}
        _send(api, "PATCH", f"/lanes/submit/{CLOSED}", closing)
        _wait_until_settled(api, filled.campaigns["night posters"])
        filled.jobs = _find_jobs(api)
    asyncio.run(_spread_over_days(settings, but=filled.jobs.values()))
    return filled


def make_operator(settings: Settings) -> str:
    """The secret of a new key that may do everything."""

    async def make() -> str:
        database = Database(settings.database_dsn, name="views")
        try:
            async with database.begin() as session:
                scopes = (Scope.OPERATE, Scope.RUN)
                return (await issue_key(session, name="desk", scopes=scopes)).secret
        finally:
            await database.close()

    return asyncio.run(make())


async def _spread_over_days(settings: Settings, *, but: Iterable[str]) -> None:
    """As if it had been going on for weeks. The ledger refuses it wherever triggers are on.

    Args:
        but: jobs that stay as they are: their own pages are pictured.
    """
    database = Database(settings.database_dsn, name="views")
    try:
        async with database.begin() as session:
            await session.execute(text("SET LOCAL session_replication_role = replica"))
            await session.execute(
                text("""
                    UPDATE attempts SET sent_at = sent_at
                        - make_interval(days => abs(hashtext(job_id::text)) % 40 % 23)
                    WHERE answered_at IS NOT NULL AND NOT job_id = ANY(CAST(:but AS uuid[]))
                """),
                {"but": list(but)},
            )
    finally:
        await database.close()


def _make_keys(api: httpx.Client) -> dict[str, str]:
    keys: dict[str, dict[str, Any]] = {
        "studio": {"scopes": ["run"], "weight": 3},
        "shop": {"scopes": ["run"], "requests_per_second": 20},
        "dashboards": {"scopes": ["read"]},
        "intern 2025": {"scopes": ["run"]},
    }
    made = {
        name: _send(api, "POST", "/keys", {"name": name, **terms}) for name, terms in keys.items()
    }
    _send(api, "DELETE", f"/keys/{made['intern 2025']['id']}")
    shop = _send(api, "POST", f"/keys/{made['shop']['id']}/rotate", {"grace_seconds": 86_400})
    return {**{name: one["key"] for name, one in made.items()}, "shop": shop["key"]}


def _hand_in(studio: httpx.Client, requests: Sequence[dict[str, Any]], shop: httpx.Client) -> None:
    """A third of them for the shop."""
    for client, few in ((shop, requests[::3]), (studio, [*requests[1::3], *requests[2::3]])):
        _send(client, "POST", "/jobs/bulk", {"jobs": list(few)})
    # Of replies that are lost nobody asks again here: these are the unknown outcomes.
    lost = [
        {"endpoint": LOSSY, "input": {"prompt": motif}, "on_unknown": "fail"}
        for motif in MOTIFS[:4]
    ]
    _send(studio, "POST", "/jobs/bulk", {"jobs": lost})
    waits = [{"endpoint": CLOSED, "input": {"prompt": motif}} for motif in MOTIFS[:3]]
    _send(shop, "POST", "/jobs/bulk", {"jobs": waits})


def _start_campaigns(studio: httpx.Client, shop: httpx.Client) -> dict[str, str]:
    wanted: tuple[tuple[httpx.Client, dict[str, Any]], ...] = (
        (
            studio,
            {
                "name": "night posters",
                "endpoint": FAST,
                "tags": ["posters"],
                "prompts": list(MOTIFS),
                "matrix": {"seed": [1, 2, 3, 4]},
            },
        ),
        (
            studio,
            {
                "name": "autumn catalogue",
                "endpoint": "qwen-image-t2i",
                "tags": ["catalogue", "autumn"],
                "prompts": list(MOTIFS),
                "matrix": {"seed": [1, 2, 3, 4, 5]},
            },
        ),
        (
            shop,
            {
                "name": "product films",
                "endpoint": VIDEO,
                "tags": ["films"],
                "prompts": list(MOTIFS),
                "matrix": {"seed": list(range(10))},
                "budget": 1.5,
            },
        ),
    )
    return {
        spec["name"]: _send(client, "POST", "/campaigns", {"spec": spec, "dry_run": False})[
            "campaign_id"
        ]
        for client, spec in wanted
    }


def _set_budgets(api: httpx.Client) -> dict[str, str]:
    """All there are, with those of campaigns."""
    budgets: tuple[dict[str, Any], ...] = (
        {"name": "the whole floor", "limit_usd": 40, "period": "day", "zone": "Europe/Berlin"},
        {"name": "autumn", "limit_usd": 2, "period": "month", "tag": "autumn", "warn_at": 0.5},
    )
    for budget in budgets:
        _send(api, "POST", "/budgets", budget)
    return {one["name"]: one["id"] for one in _send(api, "GET", "/budgets")["budgets"]}


def _wait_until_settled(api: httpx.Client, campaign_id: str) -> None:
    """Until a campaign of short jobs is over; what else runs may go on."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while time.monotonic() < deadline:
        if _send(api, "GET", f"/campaigns/{campaign_id}")["completed_at"]:
            return
        time.sleep(1)
    raise RuntimeError(f"the short jobs did not end within {SETTLED_SECONDS:g} s")


def _find_jobs(api: httpx.Client) -> dict[str, str]:
    """By its state one of each; of those that are done one with a picture."""
    found: dict[str, str] = {}
    for job in _send(api, "GET", "/jobs?limit=500")["jobs"]:
        if job["state"] != "completed" or job["endpoint"] == FAST:
            found.setdefault(job["state"], job["id"])
    return found


def _client(base: str, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}", "X-Request-Id": "nightly build"}
    return httpx.Client(base_url=f"{base}/api/v1", headers=headers, timeout=CALL_SECONDS)


def _send(client: httpx.Client, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 -- JSON
    response = client.request(method, path, json=body)
    if response.is_error:
        raise RuntimeError(f"{method} {path} was refused: {response.text}")
    return response.json()


def _arm(http: httpx.Client, admin: str, kind: str, **settings: object) -> None:
    http.post(f"{admin}/faults", json={"kind": kind, **settings}).raise_for_status()
