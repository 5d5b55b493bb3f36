"""`pressroom campaign export`: everything of a campaign on disk."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from gateway.cli.console import FAILED, notes, print_json, run
from gateway.cli.ids import resolve_id
from gateway.cli.inputs import BadInput
from gateway.reports.export import LINES, Exported, export_campaign
from gateway.reports.file_names import NAMES, USUAL, read_name
from gateway.words import say_bytes
from models.campaign_figures import count_jobs
from models.job import JobState
from tasks.campaigns.template import BadTemplate
from workers.runtime import Runtime

BROKEN_SHOWN = 10


def export(
    given: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="A folder; made if it is not there."),
    ],
    name: Annotated[
        str,
        typer.Option(help=f"Of its files, of {', '.join(f'{{{one}}}' for one in sorted(NAMES))}."),
    ] = USUAL,
    files: Annotated[
        bool, typer.Option("--files/--no-files", help="Write the files, or the lines alone.")
    ] = True,
    only: Annotated[
        list[JobState] | None, typer.Option(help="Jobs that are in this state. Repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was done, as JSON.")] = False,
) -> None:
    """Export a campaign: a line of JSON for each item, and its files, each checked by its SHA-256.

    Run it again after it was cut off, or once more has ended: what is there is not fetched again.
    The lines are written anew each time: with --only, use a folder of its own.
    Exits with 1 if anything is not there: a job that has not ended, a file that is not stored.

    Examples:

        pressroom campaign export 4d49bec0e98d -o spring/

        pressroom campaign export 4d49bec0e98d -o spring/ --name "{endpoint}/{item}-{n}.{ext}"

        pressroom campaign export 4d49bec0e98d -o failed/ --no-files --only failed
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            campaign_id = await resolve_id(session, "campaigns", given)
            progress = await count_jobs(session, campaign_id)
        try:
            template = read_name(name) if files else None
            with Progress(
                TextColumn("exporting"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[said]}"),
                console=notes,
                transient=True,
                disable=not notes.is_terminal,
            ) as bar:
                shown = bar.add_task("exporting", total=progress.enqueued, said="")
                exported = await export_campaign(
                    runtime,
                    campaign_id,
                    output,
                    name=template,
                    states=only or [],
                    note=lambda so_far: bar.update(
                        shown, completed=so_far.items, said=say_bytes(so_far.bytes)
                    ),
                )
        except BadTemplate as error:
            raise BadInput(f"--name: {error}") from error
        except OSError as error:
            said = (error.strerror or str(error)).lower()
            raise BadInput(f"--output {error.filename or output}: {said}") from error
        if as_json:
            print_json({**asdict(exported), "whole": exported.whole})
        else:
            _show(exported, output)
        if not exported.whole:
            raise typer.Exit(FAILED)

    run(body)


def _show(exported: Exported, output: Path) -> None:
    notes.print(
        f"{exported.items:,} items in {output / LINES}; {exported.fetched:,} files written, "
        f"{say_bytes(exported.bytes)}, {exported.kept:,} were there",
        markup=False,
        soft_wrap=True,
    )
    if exported.not_ended:
        notes.print(f"{exported.not_ended:,} jobs have not ended", style="yellow")
    if exported.missing:
        notes.print(f"{exported.missing:,} files are not stored", style="yellow")
    for line in exported.broken[:BROKEN_SHOWN]:
        notes.print(line, style="red", markup=False, soft_wrap=True)
    if len(exported.broken) > BROKEN_SHOWN:
        notes.print(f"... and {len(exported.broken) - BROKEN_SHOWN:,} more", style="red")
