"""`pressroom demo`: a stack of its own, 48 jobs on ten endpoints, their files, a contact sheet.

With `--serve` it stays up, to be looked at in a browser.
"""

import asyncio
import importlib.resources
import json
import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
import yaml

from endpoints.catalogue import Catalogue, Kind, read_result
from gateway.campaign_facts import summarize
from gateway.cli.console import (
    FAILED,
    USAGE,
    fail,
    notes,
    open_cli_runtime,
    out,
    print_json,
    read_settings,
)
from gateway.cli.contact_sheet import Tile, draw_contact_sheet
from gateway.cli.follow import follow_campaign, show_summary
from gateway.cli.stack import make_first_key, run_until_told, show_stack
from gateway.words import say_bytes, say_prompt, say_seconds, say_usd
from models.artifact import Artifact, list_artifacts
from models.campaign import add_campaign, close_campaign
from models.job import Job, JobState, OnUnknown
from models.job_queries import JobFilter, list_jobs
from tasks.intake import Request, check_request, enqueue
from workers.runtime import Runtime
from workers.settings import Settings
from workers.stack.lifecycle import bring_up, take_down
from workers.stack.supervisor import StackError
from workers.store import read

CLOCK = 5.0  # the emulated upstream's time runs this much faster


def demo(
    folder: Annotated[
        Path | None, typer.Option(help="Where; DATA_DIR/demo if unset. An earlier demo goes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve",
            help="Then stay up, with the playground and the console, until Ctrl-C; "
            "on PRESSROOM_GATEWAY_PORT and its like.",
        ),
    ] = False,
) -> None:
    """Run a small campaign from end to end, on a stack that is started for it and stopped again.

    Everything is real but the upstream, which is the emulator: nothing is billed, and the pictures
    are drawn by it. Leaves summary.json, contact-sheet.png and the files.

    Examples:

        pressroom demo

        PRESSROOM_GATEWAY_PORT=8100 pressroom demo --serve
    """
    if serve and as_json:
        fail("--json prints the summary alone; --serve goes on after it", code=USAGE)
    asked = read_settings()
    folder = (folder or asked.data_dir / "demo").absolute()
    ports = [asked.gateway_port, asked.flower_port, asked.emulator_port] if serve else free_ports(3)
    settings = prepare(folder, ports)
    try:
        with notes.status("starting a stack"):
            bring_up(settings, lambda step: notes.print(f"[dim]{step}[/dim]"))
        try:
            summary = asyncio.run(run_demo(settings, folder))
            show(summary, folder, as_json=as_json)
            if serve:
                notes.print()
                show_stack(settings)
                make_first_key(settings)
                run_until_told(settings)
        finally:
            with notes.status("stopping the stack"):
                take_down(settings, lambda _step: None)
    except StackError as error:
        fail(error)
    if summary["failed"] or summary["artifacts_expired"]:
        raise typer.Exit(FAILED)


def show(summary: dict[str, Any], folder: Path, *, as_json: bool) -> None:
    """Print it, and keep it in the folder."""
    path = folder / "summary.json"
    path.write_text(json.dumps(summary, indent=2) + "\n")
    if as_json:
        print_json(summary)
        return
    show_summary(summary)
    out.print(f"\nsummary        {path}", highlight=False, soft_wrap=True)
    out.print(f"contact sheet  {folder / 'contact-sheet.png'}", highlight=False, soft_wrap=True)
    out.print(f"files          {folder / 'store'}", highlight=False, soft_wrap=True)


def prepare(folder: Path, ports: Sequence[int]) -> Settings:
    """Settings of a stack of its own: the emulator, and nothing of the environment's.

    Args:
        ports: of the gateway, Flower and the emulator.
    """
    before = Settings(data_dir=folder)
    try:
        take_down(before, lambda step: notes.print(f"[dim]{step}[/dim]"))
    except StackError as error:
        fail(error)
    if folder.exists():
        shutil.rmtree(folder)
    for name in [name for name in os.environ if name.startswith("PRESSROOM_")]:
        del os.environ[name]
    # The processes of the stack read them from the environment.
    os.environ |= {
        "PRESSROOM_DATA_DIR": str(folder),
        "PRESSROOM_GATEWAY_PORT": str(ports[0]),
        "PRESSROOM_FLOWER_PORT": str(ports[1]),
        "PRESSROOM_EMULATOR_PORT": str(ports[2]),
        "PRESSROOM_EMULATOR_CLOCK": str(CLOCK),
    }
    return Settings()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; held together while they are asked for."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


async def run_demo(settings: Settings, folder: Path) -> dict[str, Any]:
    """Enqueue, follow, sum up, draw."""
    async with open_cli_runtime(settings) as runtime:
        async with runtime.database.begin() as session:
            campaign_id = await add_campaign(session, name="demo", endpoint=None)
        jobs = [
            check_request(
                runtime.catalogue,
                Request(
                    endpoint=entry["endpoint"],
                    input=entry["input"],
                    campaign_id=campaign_id,
                    position=position,
                ),
                on_unknown=OnUnknown.RESUBMIT,
            ).job
            for position, entry in enumerate(read_requests())
        ]
        await enqueue(runtime, jobs)
        async with runtime.database.begin() as session:
            await close_campaign(session, campaign_id)
        notes.print(f"{len(jobs)} jobs on {len({job.endpoint for job in jobs})} endpoints")
        await follow_campaign(runtime, campaign_id)
        summary = await summarize(runtime, campaign_id)
        with notes.status("drawing the contact sheet"):
            await draw_sheet(runtime, campaign_id, summary, folder / "contact-sheet.png")
    return summary


def read_requests() -> list[dict[str, Any]]:
    """The demo's requests, each an endpoint and an input."""
    file = importlib.resources.files("gateway.cli") / "demo_campaign.yaml"
    requests: list[dict[str, Any]] = yaml.load(file.read_bytes(), yaml.CSafeLoader)
    return requests


async def draw_sheet(
    runtime: Runtime, campaign_id: UUID, summary: dict[str, Any], path: Path
) -> None:
    async with runtime.database.begin() as session:
        jobs = await list_jobs(session, JobFilter(campaign_id=campaign_id), limit=None)
        files = await list_artifacts(session, campaign_id=campaign_id)
    tiles = [
        await make_tile(runtime, job, [file for file in files if file.job_id == job.id])
        for job in sorted(jobs, key=lambda job: job.position or 0)
    ]
    subtitle = (
        f"{summary['completed']} of {summary['jobs']} jobs · {summary['artifacts']} files, "
        f"{say_bytes(summary['bytes'])} · {say_usd(summary['cost_usd'])} · "
        f"{say_seconds(summary['seconds'])} · made by the emulator"
    )
    await asyncio.to_thread(
        draw_contact_sheet, tiles, title="Pressroom demo", subtitle=subtitle, path=path
    )


async def make_tile(runtime: Runtime, job: Job, files: Sequence[Artifact]) -> Tile:
    """A job's card: what it made, its prompt, its endpoint, size and cost."""
    listed = runtime.catalogue.find(job.endpoint)
    thumbnail = None
    for file in files:
        if file.thumbnail_key is not None:
            thumbnail = await read(runtime.store, file.thumbnail_key)
    facts = [job.endpoint, *(say_size(file) for file in files), say_usd(job.cost_usd)]
    return Tile(
        caption=say_prompt(job.input),
        detail=" · ".join(facts),
        kind=_kind(runtime.catalogue, job),
        thumbnail=thumbnail,
        text=read_result(listed, job.output).text,
        failed=job.state is not JobState.COMPLETED,
    )


def say_size(file: Artifact) -> str:
    if file.duration_seconds:
        return say_seconds(file.duration_seconds)
    return f"{file.width}x{file.height}" if file.width else say_bytes(file.size_bytes)


def _kind(catalogue: Catalogue, job: Job) -> Any:  # noqa: ANN401 -- the words of Kind are a tile's
    listed = catalogue.find(job.endpoint)
    return (listed.kind if listed else Kind.TEXT).value
