"""`pressroom doctor`: look at every part, and say what to do about what is not well."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import obstore
import typer
from obstore.exceptions import BaseError as StoreError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from endpoints.client import UpstreamClient, open_transport
from gateway.cli.console import USAGE, fail, read_settings
from models.custody import measure_custody
from models.database import Database
from models.errors import DatabaseUnavailable
from models.lane import find_lanes
from models.migrate import find_version
from tasks.custody import clock_of, find_problems
from workers.health import check_database, check_http, check_queues, check_redis
from workers.maintenance import find_maintenance
from workers.settings import Settings
from workers.stack.lifecycle import emulator_health, gateway_health
from workers.store import open_store, read, say_error, write

PROBED_ENDPOINT = "black-forest-labs-flux-1-schnell"
LOW_DISK_BYTES = 2 * 1024**3

out = Console()


@dataclass(frozen=True, slots=True)
class Finding:
    """One part, and what is wrong with it; None if nothing is."""

    part: str
    problem: str | None
    advice: str


Check = Callable[[Settings], Awaitable[str | None]]


def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say only what is wrong.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="Only this part. Repeatable.")] = None,
) -> None:
    """Check every part: servers, workers, upstream, key, store, gateway, disk, lanes, custody.

    Exits with 1 if anything is wrong. What costs money is not tried.

    Examples:

        pressroom doctor

        pressroom doctor --json | jq '.[] | select(.problem)'
    """
    findings = asyncio.run(examine(read_settings(), only=only))
    if as_json:
        fields = [
            {
                "part": one.part,
                "problem": one.problem,
                "advice": one.advice if one.problem else None,
            }
            for one in findings
        ]
        out.print_json(json.dumps(fields))
    else:
        show(findings, quiet=quiet)
    if any(one.problem for one in findings):
        raise typer.Exit(1)


async def examine(settings: Settings, *, only: Sequence[str] | None = None) -> list[Finding]:
    """Every check, or those of the parts named, in the order in which one rests on another."""
    up = "start the stack with `pressroom up`"
    checks: dict[str, tuple[Check, str]] = {
        "PostgreSQL": (check_database, f"{up}, or correct PRESSROOM_DATABASE_URL"),
        "schema": (check_schema, "run `pressroom run migrate`"),
        "Redis": (check_redis, f"{up}, or correct PRESSROOM_REDIS_URL"),
        "workers": (check_queues, f"{up}; look into DATA_DIR/logs/worker-*.log"),
        "upstream": (check_upstream, upstream_advice(settings)),
        "gateway": (check_gateway, f"{up}; without it lost replies are not found again"),
        "store": (check_store, "make room, or correct PRESSROOM_STORE_URL and its credentials"),
        "disk": (check_disk, "make room, or set PRESSROOM_STORE_URL to a bucket"),
        "lanes": (
            check_lanes,
            "`lanes list` shows them; `lanes resume` or `maintenance off` lets them go on",
        ),
        "custody": (
            check_custody,
            "see `pressroom lanes list`, `artifacts list`; `artifacts refetch` tries a file again",
        ),
    }
    if unknown := set(only or ()) - set(checks):
        fail(f"no such part: {', '.join(unknown)}; there are {', '.join(checks)}", code=USAGE)
    return [
        Finding(part, await check(settings), advice)
        for part, (check, advice) in checks.items()
        if not only or part in only
    ]


def show(findings: list[Finding], *, quiet: bool) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        if finding.problem:
            table.add_row(
                "[red]✗[/red]",
                finding.part,
                f"{escape(finding.problem)}\n[dim]{finding.advice}[/dim]",
            )
        elif not quiet:
            table.add_row("[green]✓[/green]", finding.part, "")
    out.print(table)
    wrong = sum(finding.problem is not None for finding in findings)
    if not quiet:
        out.print(f"{wrong} of {len(findings)} checks failed" if wrong else "all is well")


async def check_schema(settings: Settings) -> str | None:
    try:
        at, newest = await asyncio.to_thread(find_version, settings.database_dsn)
    except DatabaseUnavailable as error:
        return str(error)
    return None if at == newest else f"the database is at version {at}, the program wants {newest}"


async def check_upstream(settings: Settings) -> str | None:
    """Whether it is there and takes the key, by /health, which bills nothing."""
    if settings.emulated and (problem := check_http(emulator_health(settings))):
        return f"the emulator: {problem}"
    client = UpstreamClient(
        open_transport(), base_url=settings.upstream_base, key=settings.upstream_secret
    )
    async with client:
        return await client.check(PROBED_ENDPOINT)


def upstream_advice(settings: Settings) -> str:
    if settings.emulated:
        return "start the stack with `pressroom up`; if it is, its faults or limits are in the way"
    return "check PRESSROOM_UPSTREAM_URL and PRESSROOM_UPSTREAM_KEY; a 429 or 5xx goes by itself"


async def check_gateway(settings: Settings) -> str | None:
    return await asyncio.to_thread(check_http, gateway_health(settings))


async def check_store(settings: Settings) -> str | None:
    """Write a file, read it, delete it."""
    key = "doctor/probe"
    try:
        store = open_store(settings)
        await write(store, key, b"probe")
        found = await read(store, key)
        await asyncio.to_thread(obstore.delete, store, key)
    except (StoreError, OSError, ValueError) as error:
        return f"{settings.store_base}: {say_error(error)}"
    return None if found == b"probe" else f"{settings.store_base}: what was written was not read"


async def check_disk(settings: Settings) -> str | None:
    folder = settings.data_dir
    free = shutil.disk_usage(folder if folder.exists() else folder.absolute().parent).free
    return None if free > LOW_DISK_BYTES else f"{free / 1024**3:.1f} GB are free under {folder}"


async def check_lanes(settings: Settings) -> str | None:
    """Whether any lane is held up."""
    database = Database(settings.database_dsn, name="doctor")
    try:
        async with database.begin() as session:
            maintenance = await find_maintenance(session)
            lanes = await find_lanes(session)
    except DatabaseUnavailable as error:
        return str(error)
    finally:
        await database.close()
    said = [] if maintenance is None else [f"nothing is submitted: {maintenance}"]
    said += [
        f"{lane.stage} of {lane.endpoint} {lane.held_up}"
        for lane in lanes
        if lane.paused or lane.closed_seconds
    ]
    return "; ".join(said) or None


async def check_custody(settings: Settings) -> str | None:
    """Whether a result or a file is near to being lost, or is."""
    database = Database(settings.database_dsn, name="doctor")
    try:
        async with database.begin() as session:
            custody = await measure_custody(session)
    except DatabaseUnavailable as error:
        return str(error)
    finally:
        await database.close()
    return "; ".join(find_problems(custody, clock=clock_of(settings))) or None
