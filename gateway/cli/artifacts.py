"""`pressroom artifacts`: the files that were stored."""

import asyncio
import hashlib
import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from obstore.exceptions import BaseError as StoreError
from obstore.store import ObjectStore
from rich.markup import escape

from gateway.cli.console import (
    FAILED,
    fail,
    make_table,
    notes,
    out,
    print_json,
    run,
    say_bytes,
    say_id,
    say_seconds,
    shorten,
)
from gateway.cli.ids import resolve_id
from models.artifact import Artifact, ArtifactState, get_artifact, list_artifacts
from models.errors import PressroomError
from tasks.results import describe_artifact
from workers.runtime import Runtime
from workers.store import read_chunks

artifacts_app = typer.Typer(help="List, fetch and verify stored files.", no_args_is_help=True)

VERIFIED_AT_ONCE = 8
STORE_ERRORS = (StoreError, FileNotFoundError, PermissionError)  # obstore's own, and Python's


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
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Read stored files again and hold their SHA-256 against what was recorded.

    Example:

        pressroom artifacts verify --campaign 4d49bec0e98d
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            files = await list_artifacts(
                session,
                campaign_id=await resolve_id(session, "campaigns", campaign) if campaign else None,
                state=ArtifactState.STORED,
            )
        slots = asyncio.Semaphore(VERIFIED_AT_ONCE)

        async def check(file: Artifact) -> str | None:
            async with slots:
                try:
                    found = await asyncio.to_thread(copy_file, runtime.store, str(file.store_key))
                except STORE_ERRORS as error:
                    return f"{file.id}: {_say(error)}"
            return None if found == file.sha256 else f"{file.id}: its SHA-256 is now {found}"

        problems = [one for one in await asyncio.gather(*map(check, files)) if one]
        if as_json:
            print_json({"files": len(files), "damaged": len(problems), "problems": problems})
        else:
            for problem in problems:
                out.print(f"[red]{escape(problem)}[/red]", highlight=False)
            out.print(
                f"{len(files) - len(problems):,} of {len(files):,} files are as they were stored"
            )
        if problems:
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
        raise NotCopied(f"the store did not give {key}: {_say(error)}") from error
    if sha256 not in {None, found}:
        raise DamagedFile(f"{key} was {sha256} when it was stored, and is now {found}")


def copy_file(store: ObjectStore, key: str, sink: BinaryIO | None = None) -> str:
    """Stream a stored file into `sink`, if there is one; returns the SHA-256 of what was read."""
    digest = hashlib.sha256()
    for chunk in read_chunks(store, key):
        digest.update(chunk)
        if sink is not None:
            sink.write(chunk)
    return digest.hexdigest()


def _say(error: Exception) -> str:
    return str(error).partition("\n")[0]  # below it stands how the store's library saw it
