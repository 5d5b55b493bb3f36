"""`pressroom workers`: which there are; drained, resumed and restarted one after the other."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from redis.exceptions import RedisError
from rich.markup import escape

from gateway.cli.actor import cli_actor
from gateway.cli.console import confirm, fail, make_table, notes, out, print_json, read_settings
from gateway.words import say_seconds
from models.audit import Action, note_act
from models.database import Database
from models.errors import DatabaseUnavailable
from workers.health import list_signs
from workers.settings import Settings
from workers.stack.plan import WORKER
from workers.stack.rolling import (
    choose_restarted,
    choose_workers,
    drain_workers,
    list_workers,
    restart_workers,
    resume_worker,
)
from workers.stack.supervisor import StackError, Supervisor

workers_app = typer.Typer(
    help="List workers; drain and restart those of this machine.", no_args_is_help=True
)

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="As `workers list` has it.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@workers_app.command("list")
def list_(as_json: Json = False) -> None:
    """List workers: of this stack, and those of other machines by the signs that they leave.

    Example:

        pressroom workers list
    """
    settings = read_settings()
    workers = _describe(settings)
    if as_json:
        print_json(workers)
        return
    if not workers:
        notes.print("no worker runs; [bold]pressroom up[/bold] starts some")
        return
    table = make_table("worker", "state", ">pid", ">up", ">seen", "what is wrong")
    for one in workers:
        seen = "-" if one["seen_seconds"] is None else f"{one['seen_seconds']:.0f} s ago"
        table.add_row(
            escape(one["node"] if one["state"] == "elsewhere" else one["name"]),
            one["state"],
            str(one["pid"] or "-"),
            say_seconds(one["up_seconds"]),
            seen,
            escape(one["problem"] or ""),
        )
    out.print(table, highlight=False)


@workers_app.command()
def drain(names: Names, yes: Yes = False) -> None:
    """Let workers take nothing more, and stop once what they hold has ended. They stay stopped.

    What is in flight is looked after by the other workers.

    Example:

        pressroom workers drain worker-2
    """
    settings, supervisor = _open()
    with _said():
        chosen = [one.name for one in choose_workers(supervisor, names) if one.running]
        rest = {one.name for one in list_workers(supervisor) if one.running} - set(chosen)
        if not rest:
            confirm("No worker is left then, and nothing is done. Go on?", yes=yes)
        if not chosen:
            notes.print("none of them runs")
            return
        _note(settings, Action.WORKER_DRAIN, ", ".join(chosen))
        with notes.status(f"{', '.join(chosen)}: what they hold is waited for"):
            drain_workers(supervisor, chosen)
        again = f"[bold]workers resume {' '.join(chosen)}[/bold]"
        notes.print(f"{', '.join(chosen)}: drained; {again} starts them again", soft_wrap=True)


@workers_app.command()
def resume(names: Names) -> None:
    """Start workers that were drained, and wait until they take messages.

    Example:

        pressroom workers resume worker-2
    """
    settings, supervisor = _open()
    with _said():
        for one in choose_workers(supervisor, names):
            if one.running:
                notes.print(f"{one.name} runs")
                continue
            _note(settings, Action.WORKER_RESUME, one.name)
            with notes.status(f"{one.name}: starting"):
                resume_worker(settings, supervisor, one.name)
            notes.print(f"{one.name} takes messages")


@workers_app.command()
def restart(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="These; else all that run."),
    ] = None,
) -> None:
    """Restart workers one after the other, each once the one before takes messages.

    Nothing is lost or sent twice. If one does not come back, those after it are left alone.

    Examples:

        pressroom workers restart

        pressroom workers restart worker-1
    """
    settings, supervisor = _open()
    with _said():
        chosen = [one.name for one in choose_restarted(supervisor, names or [])]
        if not chosen:
            notes.print("all are drained; [bold]workers resume NAME[/bold] starts one")
            return
        _note(settings, Action.WORKER_RESTART, ", ".join(chosen))
        with notes.status("restarting") as spinner:

            def report(step: str) -> None:
                spinner.update(step)
                notes.print(f"[dim]{step}[/dim]")

            restart_workers(settings, supervisor, chosen, report)


def _open() -> tuple[Settings, Supervisor]:
    settings = read_settings()
    return settings, Supervisor(settings)


@contextmanager
def _said() -> Iterator[None]:
    """What the stack, or the database, has against it is said, not traced."""
    try:
        yield
    except (StackError, DatabaseUnavailable) as error:
        fail(error)


def _note(settings: Settings, action: Action, target: str) -> None:
    asyncio.run(_write_down(settings, action, target))


async def _write_down(settings: Settings, action: Action, target: str) -> None:
    database = Database(settings.database_dsn, name="cli")
    try:
        async with database.begin() as session:
            await note_act(session, cli_actor(), action, f"{target} of {socket.gethostname()}")
    finally:
        await database.close()


def _describe(settings: Settings) -> Sequence[dict[str, Any]]:
    try:
        signs = asyncio.run(list_signs(settings))
    except RedisError as error:
        notes.print(f"[yellow]Redis did not answer[/yellow]: {escape(str(error))}")
        signs = {}
    described = []
    for state in Supervisor(settings).states():
        if not state.name.startswith(WORKER):
            continue
        node = f"{state.name}@{socket.gethostname()}"
        seen, problem = signs.pop(node, (None, None))
        described.append(
            {
                "name": state.name,
                "node": node,
                "state": "drained" if state.state == "STOPPED" else state.state.lower(),
                "pid": state.pid,
                "up_seconds": state.up_seconds,
                "seen_seconds": seen,
                "problem": problem,
            }
        )
    described += [
        {
            "name": node.partition("@")[0],
            "node": node,
            "state": "elsewhere",
            "pid": None,
            "up_seconds": None,
            "seen_seconds": seen,
            "problem": problem,
        }
        for node, (seen, problem) in sorted(signs.items())
    ]
    return described
