"""`pressroom generate`: one job, from the command line."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.markup import escape
from rich.status import Status

from endpoints.catalogue import Estimate, read_result
from gateway.cli.artifacts import save_file
from gateway.cli.console import (
    ASK_ABOVE_USD,
    FAILED,
    USAGE,
    confirm,
    fail,
    note_unlisted,
    notes,
    out,
    print_json,
    run,
    say_estimate,
)
from gateway.cli.inputs import merge_input
from gateway.waiting import find_waiting
from gateway.words import say_bytes, say_seconds, say_usd
from models.artifact import Artifact, ArtifactState, list_artifacts
from models.fairness import HIGHEST, LOWEST, USUAL
from models.job import TERMINAL, Job, JobState, OnUnknown
from models.job_queries import get_job
from tasks.intake import Checked, Request, check_request, enqueue, read_deadlines
from tasks.results import describe_job
from workers.runtime import Runtime

LOOK_SECONDS = 0.2


def generate(
    endpoint: Annotated[str, typer.Argument(help="An id of `pressroom endpoints list`, or any.")],
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="The prompt.")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="key=value; JSON if it parses. Repeatable.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--input", help="A JSON file with the input; - for stdin.")
    ] = None,
    on_unknown: Annotated[
        OnUnknown | None, typer.Option(help="If the reply to /run is lost for good.")
    ] = None,
    start_within: Annotated[
        float | None, typer.Option(help="Give it up if it has not begun after so many seconds.")
    ] = None,
    finish_within: Annotated[
        float | None, typer.Option(help="Give it up if it has not ended after so many seconds.")
    ] = None,
    priority: Annotated[
        int, typer.Option(min=LOWEST, max=HIGHEST, help="The highest goes first.")
    ] = USUAL,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the result.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait at most.")] = None,
    save: Annotated[Path | None, typer.Option(help="With --wait: copy the files here.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask about the cost.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and price; send nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Generate one image, clip, recording or text.

    Examples:

        pressroom generate black-forest-labs-flux-1-schnell -p "a fox in the snow" --wait

        pressroom generate p-video -p "waves" --set duration=3 --set draft=true --wait --save out

        pressroom generate my-own-endpoint --input request.json --no-wait --start-within 60
    """

    async def body(runtime: Runtime) -> None:
        listed = runtime.catalogue.find(endpoint)
        values = merge_input(listed, source=source, prompt=prompt, sets=sets or [])
        if on_unknown or dry_run:
            policy = on_unknown or OnUnknown.RESUBMIT  # a dry run needs no database
        else:
            policy = (await runtime.operator_settings()).on_unknown
        request = Request(endpoint=endpoint, input=values, priority=priority)
        checked = _check(runtime, request, start_within, finish_within, policy)
        if listed is None:
            note_unlisted(runtime.catalogue, endpoint)
        if dry_run:
            _show_dry_run(checked.estimate, as_json=as_json)
            return
        said = say_estimate(checked.estimate)
        notes.print(f"cost: {said}")
        if (checked.estimate.usd or 0) > ASK_ABOVE_USD:
            confirm(f"Spend {said}?", yes=yes)
        await enqueue(runtime, [checked.job])
        if not wait and save is None:
            _show_enqueued(checked.job.id, as_json=as_json)
            return
        job, artifacts = await wait_for_end(runtime, checked.job.id, timeout_seconds=timeout)
        if as_json:
            print_json(describe_job(job, artifacts, await runtime.links()))
        else:
            show_result(runtime, job, artifacts)
        if save is not None:
            await _save_all(runtime, artifacts, save)
        if job.state is not JobState.COMPLETED:
            raise typer.Exit(FAILED)

    run(body)


def _check(
    runtime: Runtime,
    request: Request,
    start_within: float | None,
    finish_within: float | None,
    policy: OnUnknown,
) -> Checked:
    try:
        deadlines = read_deadlines(start_within, finish_within)
    except ValueError as error:
        fail(error, code=USAGE)
    whole = dataclasses.replace(request, **deadlines)
    return check_request(runtime.catalogue, whole, on_unknown=policy)


async def wait_for_end(
    runtime: Runtime, job_id: UUID, *, timeout_seconds: float | None
) -> tuple[Job, list[Artifact]]:
    """Wait for the job's end and for its files, saying where it is."""
    try:
        with notes.status("queued") as spinner:
            async with asyncio.timeout(timeout_seconds):
                return await _watch(runtime, job_id, spinner)
    except TimeoutError:
        fail(f"not done after {timeout_seconds:g} s; it goes on: pressroom jobs show {job_id}")
    except asyncio.CancelledError:
        show = f"[bold]pressroom jobs show {job_id}[/bold]"
        notes.print(f"detached; it goes on: {show}", soft_wrap=True)
        raise


async def _watch(runtime: Runtime, job_id: UUID, spinner: Status) -> tuple[Job, list[Artifact]]:
    while True:
        async with runtime.database.begin() as session:
            job = await get_job(session, job_id)
            artifacts = list(await list_artifacts(session, job_ids=[job_id]))
            waiting = await find_waiting(runtime, session, job, artifacts)
        pending = [file for file in artifacts if file.state is ArtifactState.PENDING]
        if job.state in TERMINAL and not pending:
            return job, artifacts
        spinner.update(escape(waiting.why))
        await asyncio.sleep(LOOK_SECONDS)


def show_result(runtime: Runtime, job: Job, artifacts: list[Artifact]) -> None:
    """The end of a job, for a person."""
    took = (job.finished_at - job.created_at).total_seconds() if job.finished_at else None
    if job.state is not JobState.COMPLETED:
        why = f"({job.reason}) after {say_seconds(took)}: {job.error}"
        notes.print(f"[red]{job.state}[/red] {escape(why)}")
        return
    notes.print(f"[green]completed[/green] in {say_seconds(took)}, {say_usd(job.cost_usd)}")
    result = read_result(runtime.catalogue.find(job.endpoint), job.output)
    if result.text:
        out.print(result.text, highlight=False, markup=False, soft_wrap=True)
    for artifact in artifacts:
        if artifact.state is ArtifactState.STORED:
            size = f"{artifact.width}x{artifact.height}" if artifact.width else ""
            length = say_seconds(artifact.duration_seconds) if artifact.duration_seconds else ""
            facts = ", ".join(
                fact
                for fact in (artifact.media_type, size, length, say_bytes(artifact.size_bytes))
                if fact
            )
            out.print(
                f"{runtime.settings.store_base}/{artifact.store_key}\n  {facts}",
                highlight=False,
                soft_wrap=True,
            )
        else:
            notes.print(
                f"[red]{artifact.field} was not stored[/red]: {escape(str(artifact.error))}"
            )


async def _save_all(runtime: Runtime, artifacts: list[Artifact], folder: Path) -> None:
    for artifact in artifacts:
        if artifact.state is ArtifactState.STORED:
            target = folder / default_name(artifact)
            await save_file(runtime, str(artifact.store_key), target, sha256=artifact.sha256)


def default_name(artifact: Artifact) -> str:
    extension = Path(artifact.store_key or "").suffix
    return f"{artifact.job_id}-{artifact.position}{extension}"


def _show_enqueued(job_id: UUID, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": str(job_id), "status": "IN_QUEUE"})
    else:
        out.print(str(job_id), highlight=False)
        notes.print(f"follow it with [bold]pressroom jobs show {job_id}[/bold]")


def _show_dry_run(estimate: Estimate, *, as_json: bool) -> None:
    if as_json:
        usd = None if estimate.usd is None else float(estimate.usd)
        print_json({"valid": True, "estimate_usd": usd, "basis": estimate.basis})
    else:
        out.print(f"valid; cost: {say_estimate(estimate)}; nothing was sent")
