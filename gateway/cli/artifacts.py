"""`pressroom artifacts`: the files that were stored."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.markup import escape
from rich.progress import Progress

from gateway.cli.actor import cli_actor
from gateway.cli.console import (
    FAILED,
    fail,
    make_table,
    notes,
    out,
    print_json,
    run,
    say_id,
    shorten,
)
from gateway.cli.ids import resolve_id
from gateway.cli.verify import (
    STORE_ERRORS,
    Report,
    copy_file,
    examine,
    verify_store,
)
from gateway.words import say_bytes, say_seconds
from models.artifact import ArtifactState, get_artifact, list_artifacts
from models.audit import Action, note_act
from models.custody import Content, count_stored, refetch_artifact, refetch_set_aside
from models.errors import PressroomError
from models.lane import StageName
from tasks.results import describe_artifact
from workers.runtime import Runtime
from workers.store import say_error

LINES_MOST = 50  # of `verify`, for people

artifacts_app = typer.Typer(help="List, copy, verify and mend stored files.", no_args_is_help=True)


class DamagedFile(PressroomError):
    """What the store holds is not what was stored."""


class NotCopied(PressroomError):
    """The store did not give the file, or the disk did not take it."""


@artifacts_app.command("list")
def list_(
    job: Annotated[str | None, typer.Option(help="Only those of this job.")] = None,
    campaign: Annotated[str | None, typer.Option(help="Only those of this campaign.")] = None,
    state: Annotated[ArtifactState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many at most.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List files, the newest first; of a job or campaign in its order.

    Example:

        pressroom artifacts list --state pending
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            files = await list_artifacts(
                session,
                job_ids=[await resolve_id(session, "jobs", job)] if job else None,
                campaign_id=await resolve_id(session, "campaigns", campaign) if campaign else None,
                state=state,
                limit=limit,
            )
        if as_json:
            links = await runtime.links()
            print_json([describe_artifact(file, links) for file in files])
        elif not files:
            notes.print("no files" + (" fit" if job or campaign or state else " yet"))
        else:
            table = make_table("id", "state", "type", "size", ">bytes", "sha256, or what failed")
            for file in files:
                table.add_row(
                    say_id(file.id),
                    file.state,
                    file.media_type or "-",
                    f"{file.width}x{file.height}"
                    if file.width
                    else say_seconds(file.duration_seconds),
                    say_bytes(file.size_bytes),
                    file.sha256[:16]
                    if file.sha256
                    else escape(shorten(file.error or "not tried yet", 60)),
                )
            out.print(table, highlight=False)

    run(body)


@artifacts_app.command()
def get(
    given: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to; - for stdout.")
    ] = None,
    thumbnail: Annotated[bool, typer.Option("--thumbnail", help="Its small picture.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite.")] = False,
) -> None:
    """Copy a file out of the store, checking its SHA-256 on the way.

    Examples:

        pressroom artifacts get 3f9a1c -o fox.jpg

        pressroom artifacts get 3f9a1c -o - | file -
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            file = await get_artifact(session, await resolve_id(session, "artifacts", given))
        if file.store_key is None:
            fail(f"{file.id} is {file.state}: {file.error or 'its download has not begun'}")
        if thumbnail and file.thumbnail_key is None:
            fail(f"{file.id} has no thumbnail: it is {file.media_type}")
        key = file.thumbnail_key if thumbnail and file.thumbnail_key else file.store_key
        sha256 = None if thumbnail else file.sha256
        if str(output) == "-":
            await _copy_checked(runtime, key, sys.stdout.buffer, sha256=sha256)
            return
        target = output or Path(Path(key).name)
        if target.exists() and not force:
            fail(f"{target} exists; --force overwrites it")
        await save_file(runtime, key, target, sha256=sha256)
        notes.print(f"wrote {escape(str(target))}")

    run(body)


@artifacts_app.command()
def verify(
    campaign: Annotated[str | None, typer.Option(help="Only those of this campaign.")] = None,
    refetch: Annotated[
        bool,
        typer.Option(
            "--refetch",
            help="Download what is missing or changed again, where its URL lives. Costs nothing.",
        ),
    ] = False,
    all_lost: Annotated[
        bool, typer.Option("--all-lost", help="With --refetch: although none of them is there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Read stored files again and hold their SHA-256 against what was recorded.

    Says what is missing, changed or unreadable, thumbnails too, and exits with 1 if anything is
    (with --refetch: if anything could not be mended). With --refetch files that were set aside get
    another chance as well.

    Examples:

        pressroom artifacts verify --campaign 4d49bec0e98d

        pressroom artifacts verify --refetch
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            campaign_id = await resolve_id(session, "campaigns", campaign) if campaign else None
            total = await count_stored(session, campaign_id=campaign_id)
            tried = (
                await refetch_set_aside(session, campaign_id=campaign_id, why="set aside before")
                if refetch
                else []
            )
        await runtime.bells.ring_each(StageName.ARCHIVE, {file.endpoint for file in tried})
        report = Report()
        with Progress(console=notes, transient=True, disable=not notes.is_terminal) as progress:
            bar = progress.add_task("reading", total=total)
            async for page, problems in verify_store(
                runtime, campaign_id=campaign_id, refetch=refetch, all_lost=all_lost
            ):
                room = max(LINES_MOST - report.problems, 0)
                report.add(page, problems)
                progress.update(bar, completed=report.files)
                if not as_json:
                    for problem in problems[:room]:
                        out.print(f"[red]{escape(str(problem))}[/red]", highlight=False)
        if as_json:
            print_json({**report.describe(), "tried_again": len(tried)})
        else:
            if report.problems > LINES_MOST:
                out.print(f"... and {report.problems - LINES_MOST:,} more; --json lists a thousand")
            out.print(str(report))
            if tried:
                out.print(f"{len(tried):,} files that were set aside are tried again")
        if report.problems > (report.mended if refetch else 0):
            raise typer.Exit(FAILED)

    run(body)


@artifacts_app.command()
def refetch(
    given: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
) -> None:
    """Download a file again that was given up, was set aside, or is damaged in the store.

    Costs nothing. A file that is as it was stored stays so.

    Example:

        pressroom artifacts refetch 3f9a1c
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            file = await get_artifact(session, await resolve_id(session, "artifacts", given))
            again = await refetch_artifact(session, file.id, why=f"asked for: it was {file.state}")
            told = {"state": file.state.value, "error": file.error}
            await note_act(session, cli_actor(), Action.ARTIFACT_REFETCH, file.id, before=told)
        if again is not None:
            await runtime.bells.ring(StageName.ARCHIVE, again.endpoint)
            notes.print(f"{file.id} is fetched again")
            return
        if file.sha256 is None or file.store_key is None:
            notes.print(f"{file.id} is still to be fetched: {file.error or 'not tried yet'}")
            return
        content = Content(file.sha256, file.store_key, file.thumbnail_key, files=1)
        problems = await examine(runtime, content, refetch=True)
        if not problems:
            notes.print(f"{file.id} is as it was stored")
        for problem in problems:
            notes.print(escape(str(problem)))
        if not all(problem.mended for problem in problems):
            raise typer.Exit(FAILED)

    run(body)


async def save_file(runtime: Runtime, key: str, target: Path, *, sha256: str | None) -> None:
    """Copy what the store has under `key` to `target`.

    Args:
        sha256: what it has to be, in hex; None: it is not known.

    Raises:
        DamagedFile: it is something else.
        NotCopied: it could not be read or written. In both cases `target` is as it was.
    """
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as sink:
            await _copy_checked(runtime, key, sink, sha256=sha256)
        part.replace(target)
    except OSError as error:
        raise NotCopied(f"{target} could not be written: {error.strerror or error}") from error
    finally:
        if part.exists():
            part.unlink()


async def _copy_checked(runtime: Runtime, key: str, sink: BinaryIO, *, sha256: str | None) -> None:
    try:
        found = await asyncio.to_thread(copy_file, runtime.store, key, sink)
    except STORE_ERRORS as error:
        raise NotCopied(f"the store did not give {key}: {say_error(error)}") from error
    if sha256 not in {None, found}:
        raise DamagedFile(f"{key} was {sha256} when it was stored, and is now {found}")
