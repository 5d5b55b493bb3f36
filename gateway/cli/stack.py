"""`pressroom up`, `down`, `status`, and `run`: the stack of this machine, and its processes."""

import asyncio
import dataclasses
import json
import signal
import threading
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from gateway.audit_facts import terms_of_key
from gateway.cli.actor import cli_actor
from gateway.cli.console import fail, make_table, notes, read_settings
from gateway.words import say_seconds
from models.audit import Action, note_act
from models.custody import Custody, measure_custody
from models.database import Database
from models.errors import DatabaseUnavailable
from models.key import IssuedKey, Scope, has_keys, issue_key
from workers.maintenance import find_maintenance
from workers.settings import Settings
from workers.stack.lifecycle import bring_up, flower_url, take_down
from workers.stack.plan import count_workers
from workers.stack.supervisor import ProcessState, StackError, Supervisor

out = Console()

run_app = typer.Typer(
    help="Run one process in the foreground: what `up` and compose.yaml start.",
    no_args_is_help=True,
)

CUSTODY_SECONDS = 10.0  # that `status` waits for the database

STATE_STYLES = {"RUNNING": "green", "STARTING": "yellow", "BACKOFF": "yellow", "STOPPING": "yellow"}


def up(
    *,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once everything runs.")
    ] = False,
) -> None:
    """Start everything on this machine, without Docker.

    PostgreSQL and Valkey (unless PRESSROOM_DATABASE_URL and PRESSROOM_REDIS_URL name others), one
    worker a core, beat, Flower, the gateway, and the emulator (unless PRESSROOM_UPSTREAM_URL and
    PRESSROOM_UPSTREAM_KEY are set). Data stays in PRESSROOM_DATA_DIR.

    Examples:

        pressroom up --detach

        PRESSROOM_DATA_DIR=/srv/press PRESSROOM_GATEWAY_PORT=8100 pressroom up
    """
    settings = read_settings()
    with notes.status("starting") as spinner:

        def report(step: str) -> None:
            spinner.update(step)
            notes.print(f"[dim]{step}[/dim]")

        try:
            bring_up(settings, report)
        except StackError as error:
            fail(error)
    show_stack(settings)
    make_first_key(settings)
    if detach:
        notes.print("stop it with [bold]pressroom down[/bold]")
        return
    run_until_told(settings)
    down()


def run_until_told(settings: Settings) -> None:
    """Return once Ctrl-C or SIGTERM comes. Fail if the stack is stopped from elsewhere."""
    notes.print("running; [bold]Ctrl-C[/bold] stops it")
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    supervisor = Supervisor(settings)
    while not asked.wait(1.0):
        if not supervisor.is_up():
            fail("the stack was stopped from elsewhere")


def make_first_key(settings: Settings) -> None:
    """Make a key if there is none yet, and show it, once."""
    issued = asyncio.run(_issue_first_key(settings))
    if issued is None:
        notes.print("API key   made earlier; [bold]pressroom keys create NAME[/bold] makes another")
        return
    out.print(f"API key   {issued.secret}", highlight=False, soft_wrap=True)
    notes.print("          shown once; it may do everything, as PRESSROOM_KEY or Bearer token")


async def _issue_first_key(settings: Settings) -> IssuedKey | None:
    database = Database(settings.database_dsn, name="cli")
    try:
        async with database.begin() as session:
            if await has_keys(session):
                return None
            issued = await issue_key(session, name="first", scopes=[Scope.RUN, Scope.OPERATE])
            after = terms_of_key(issued.row)
            await note_act(session, cli_actor(), Action.KEY_CREATE, issued.row.id, after=after)
            return issued
    finally:
        await database.close()


def down() -> None:
    """Stop everything that `up` started. What is on its way to the upstream is waited for."""
    settings = read_settings()
    with notes.status("stopping"):
        try:
            was_up = take_down(settings, lambda step: notes.print(f"[dim]{step}[/dim]"))
        except StackError as error:
            fail(error)
    notes.print("down" if was_up else f"no stack is up in {settings.data_dir}")


def status(*, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show the processes of the stack, and what is not in its keeping yet.

    Exits with 1 if it is down or something does not run.
    """
    settings = read_settings()
    states = Supervisor(settings).states()
    custody, maintenance = None, None
    if states:
        custody, maintenance = asyncio.run(_look(settings))
    if as_json:
        told = describe(settings, states, custody)
        out.print_json(json.dumps({**told, "maintenance": maintenance}))
    elif states:
        show_stack(settings)
        show_custody(custody)
        if maintenance is not None:
            out.print(f"[yellow]{escape(maintenance)}[/yellow]: nothing is submitted")
    else:
        notes.print(
            f"no stack is up in {settings.data_dir}; start one with [bold]pressroom up[/bold]"
        )
    if not states or not all(state.running for state in states):
        raise typer.Exit(1)


async def _look(settings: Settings) -> tuple[Custody | None, str | None]:
    """Custody, and why nothing is submitted if that is so; None if the database does not say:
    `pressroom doctor` tells why.
    """
    database = Database(settings.database_dsn, name="cli")
    try:
        async with asyncio.timeout(CUSTODY_SECONDS), database.begin() as session:
            maintenance = await find_maintenance(session)
            return await measure_custody(session), str(maintenance) if maintenance else None
    except (DatabaseUnavailable, TimeoutError):
        return None, None
    finally:
        await database.close()


def show_custody(custody: Custody | None) -> None:
    if custody is None:
        out.print("custody   not known: the database does not answer", highlight=False)
        return
    unread = custody.unread_seconds
    said = [
        f"{custody.in_flight:,} jobs in flight"
        + (f", none unread for more than {say_seconds(unread)}" if unread is not None else "")
    ]
    if custody.to_copy:
        oldest = custody.uncopied_seconds
        said.append(
            f"{custody.to_copy:,} files to copy"
            + (f", the oldest for {say_seconds(oldest)}" if oldest is not None else "")
            + f", the first dies upstream in {say_seconds(custody.url_seconds)}"
        )
    else:
        said.append("every file is copied")
    if custody.lost:
        said.append(f"{custody.lost:,} of them were lost by the store")
    if custody.given_up:
        said.append(f"[red]{custody.given_up:,} files given up in the last day[/red]")
    if custody.set_aside:
        said.append(f"[red]{custody.set_aside:,} files set aside[/red]")
    out.print("custody   " + "; ".join(said), highlight=False, soft_wrap=True)


def describe(
    settings: Settings, states: list[ProcessState], custody: Custody | None
) -> dict[str, object]:
    return {
        "up": bool(states) and all(state.running for state in states),
        "data_dir": str(settings.data_dir.absolute()),
        "upstream": settings.upstream_base,
        "emulated": settings.emulated,
        "gateway": f"http://{settings.gateway_host}:{settings.gateway_port}",
        "flower": flower_url(settings),
        "custody": None if custody is None else dataclasses.asdict(custody),
        "processes": [
            {
                "name": state.name,
                "state": state.state,
                "pid": state.pid,
                "up_seconds": state.up_seconds,
                "log": state.log,
            }
            for state in states
        ],
    }


def show_stack(settings: Settings) -> None:
    states = Supervisor(settings).states()
    table = make_table("process", "state", ">pid", ">up", "log")
    for state in states:
        style = STATE_STYLES.get(state.state, "red")
        table.add_row(
            state.name,
            f"[{style}]{state.state.lower()}[/{style}]",
            str(state.pid or "-"),
            say_seconds(state.up_seconds),
            state.log,
        )
    out.print(table)
    upstream = f"{settings.upstream_base}" + ("  (the emulator)" if settings.emulated else "")
    password = settings.data_dir / "run" / "flower-password"
    login = f"user pressroom, password in {password}" if password.exists() else "user pressroom"
    out.print(f"\nupstream  {upstream}", highlight=False)
    gateway = f"http://{settings.gateway_host}:{settings.gateway_port}"
    out.print(f"gateway   {gateway}", highlight=False)
    out.print(f"pages     {gateway}/web/  (sign in with an API key)", highlight=False)
    out.print(f"Flower    {flower_url(settings)}  ({login})", highlight=False, soft_wrap=True)
    if settings.metrics_token:
        ports = [settings.metrics_port + number for number in range(count_workers(settings))]
        where = f"http://{settings.metrics_host}:{ports[0]}/metrics"
        more = f" to {ports[-1]}" if len(ports) > 1 else ""
        out.print(f"metrics   {where}{more}, and the gateway's", highlight=False, soft_wrap=True)


@run_app.command()
def worker(
    name: Annotated[str, typer.Option(help="Shown by Flower and `celery inspect`.")] = "worker",
    metrics_port: Annotated[
        int | None, typer.Option(help="Where it serves /metrics, if not at PRESSROOM_METRICS_PORT.")
    ] = None,
) -> None:
    """Run a worker."""
    from workers.worker import run_worker  # noqa: PLC0415 -- the commands start fast

    run_worker(read_settings(), name=name, metrics_port=metrics_port)


@run_app.command()
def beat() -> None:
    """Run beat, which ticks the sweep. Several do no harm."""
    from workers.beat import run_beat  # noqa: PLC0415

    run_beat(read_settings())


@run_app.command()
def watchdog() -> None:
    """Run what replaces processes that live and do nothing: a part of `up`."""
    from workers.stack.watchdog import run_watchdog  # noqa: PLC0415

    run_watchdog(read_settings())


@run_app.command()
def flower() -> None:
    """Run Flower: read-only, behind a login."""
    from workers.flower import run_flower  # noqa: PLC0415

    run_flower(read_settings())


@run_app.command()
def gateway() -> None:
    """Run the gateway: the API over HTTP, stored files, the upstream's webhooks."""
    from gateway.app import run_gateway  # noqa: PLC0415

    run_gateway(read_settings())


@run_app.command()
def emulator() -> None:
    """Run the emulator of the upstream."""
    from endpoints.emulator.__main__ import main  # noqa: PLC0415

    settings = read_settings()
    main(
        [
            f"--host={settings.emulator_host}",
            f"--port={settings.emulator_port}",
            f"--clock={settings.emulator_clock:g}",
        ]
    )


@run_app.command("migrate")
def run_migrations() -> None:
    """Bring the database to the newest schema. Safe to run twice, and at once."""
    from models.migrate import migrate  # noqa: PLC0415

    try:
        version = migrate(read_settings().database_dsn)
    except DatabaseUnavailable as error:
        fail(error)
    notes.print(f"the database is at version {version}")
