"""`pressroom campaign plan|start|schema`: campaigns of a specification."""

import asyncio
import hashlib
import itertools
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, NoReturn
from urllib.parse import urlsplit
from uuid import UUID

import typer
from rich.markup import escape

from gateway.cli.actor import cli_actor
from gateway.cli.console import (
    ASK_ABOVE_USD,
    USAGE,
    confirm,
    fail,
    note_unlisted,
    notes,
    out,
    print_json,
    run,
)
from gateway.cli.follow import follow_to_its_end
from gateway.cli.plan_view import draw_plan, say_plan
from models.audit import Action, note_act
from models.base import new_id
from models.errors import DatabaseUnavailable
from models.result_cache import Wanted, find_results
from tasks.campaigns.items import Items
from tasks.campaigns.opening import open_campaign
from tasks.campaigns.plan import Plan, too_many
from tasks.campaigns.prompt_file import PromptFileError
from tasks.campaigns.spec import CampaignSpec, PromptFile, SpecError, json_schema, read_spec
from tasks.expand import send_expand
from workers.runtime import Runtime
from workers.store import CannotFetch, fetch_url, file_key, write

S3 = "s3://"
MOST_FETCHED_BYTES = 5_000_000_000
CHECKED_AT_ONCE = 2_000  # items, between two looks at Ctrl-C

SpecPath = Annotated[Path, typer.Argument(metavar="FILE", help="A specification: YAML or JSON.")]


@dataclass(frozen=True)
class Planned:
    """
    Attributes:
        rows: the file as it was when it was read; None if there is none.
        stored: results that are there already; None: not known.
    """

    spec: CampaignSpec
    items: Items
    plan: Plan
    rows: Path | None
    stored: int | None


def plan(
    path: SpecPath,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what a campaign would come to. Nothing is sent, and nothing is kept.

    Each item is checked against its endpoint; what is wrong is said with its file and line.

    Example:

        pressroom campaign plan shoot.yaml
    """

    async def body(runtime: Runtime) -> None:
        async with plan_spec(runtime, path) as planned:
            if as_json:
                told = {**planned.plan.describe(), "stored": planned.stored}
                print_json({**told, "unused_columns": list(planned.items.unused)})
            else:
                await show_plan(runtime, planned)

    run(body)


def start(
    path: SpecPath,
    name: Annotated[str | None, typer.Option(help="In place of the specification's.")] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Do not follow it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask about the cost.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
) -> None:
    """Plan a campaign, and let the workers run it. Ctrl-C detaches; it runs on.

    Its file is kept as it is now: what is changed in it later is not seen.

    Examples:

        pressroom campaign start shoot.yaml

        pressroom campaign start nightly.yaml --name "nightly 28 Nov" --yes --detach
    """

    async def body(runtime: Runtime) -> None:
        async with plan_spec(runtime, path) as planned:
            if not as_json:
                await show_plan(runtime, planned)
            if planned.spec.schedule is not None:
                notes.print("it is run once; `schedules add` keeps its schedule")
            if planned.plan.unpriced or planned.plan.usd > ASK_ABOVE_USD:
                confirm(f"Run {say_plan(planned.plan)}?", yes=yes)
            campaign_id = await _add(runtime, planned, name=name)
        await asyncio.to_thread(send_expand, runtime, campaign_id)
        notes.print(f"campaign [bold]{campaign_id}[/bold]")
        if detach:
            watch = f"[bold]pressroom campaign watch {campaign_id}[/bold]"
            notes.print(f"follow it with {watch}", soft_wrap=True)
            if as_json:
                print_json({"campaign_id": str(campaign_id), "jobs": planned.plan.jobs})
            return
        await follow_to_its_end(runtime, campaign_id, as_json=as_json)

    run(body)


def schema() -> None:
    """Print the JSON Schema of specifications, for editors.

    In VS Code, with its YAML extension, a first line does it:
    # yaml-language-server: $schema=campaign.schema.json

    Example:

        pressroom campaign schema > campaign.schema.json
    """
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")


@asynccontextmanager
async def plan_spec(runtime: Runtime, path: Path) -> AsyncIterator[Planned]:
    """Read a specification, check and price every item of it.

    Says what is wrong, and ends the command, if anything is. What was read of its file is a copy,
    so that what is started is what was planned, whoever writes to the file meanwhile.
    """
    try:
        spec = read_spec(path)
    except SpecError as error:
        _refuse(path, error.problems, len(error.problems))
    for name in {one["endpoint"] for one in spec.combinations()}:
        if runtime.catalogue.find(name) is None and runtime.catalogue.retired(name) is None:
            note_unlisted(runtime.catalogue, name)
    with tempfile.TemporaryDirectory(prefix="pressroom-") as folder:
        try:
            rows = await asyncio.to_thread(_copy_rows, spec, path.parent, Path(folder))
        except PromptFileError as error:
            _refuse(path, [str(error)], 1)
        items = Items(spec, runtime.catalogue, folder=path.parent, local=rows)
        planned, stored = Plan(), 0
        known = True
        reader = items.read()
        with notes.status(f"checking {escape(str(path))}") as spinner:
            while await asyncio.to_thread(
                planned.add, runtime.catalogue, spec, itertools.islice(reader, CHECKED_AT_ONCE)
            ):
                spinner.update(f"checking {escape(str(path))}: {planned.jobs:,} items")
                if known:
                    found = await _count_stored(runtime, planned.fingerprints)
                    known, stored = found is not None, stored + (found or 0)
                planned.fingerprints.clear()
                if planned.jobs > spec.max_jobs:
                    break
        planned.refuse(str(path), too_many(planned, spec))
        if planned.problems:
            _refuse(path, planned.problems, planned.problem_count)
        yield Planned(spec, items, planned, rows, stored if known else None)


def _refuse(path: Path, problems: Iterable[str], count: int) -> NoReturn:
    shown = 0
    for problem in problems:
        notes.print(problem, style="red", markup=False, soft_wrap=True)
        shown += 1
    if count > shown:
        notes.print(f"... and {count - shown:,} more", style="red")
    fail(f"problems in {path}: {count:,}; nothing was enqueued", code=USAGE)


def _copy_rows(spec: CampaignSpec, folder: Path, copies: Path) -> Path | None:
    if not isinstance(spec.prompts, PromptFile):
        return None
    if spec.prompts.file.startswith(S3):
        return _fetch_rows(spec.prompts.file, copies)
    path = folder / spec.prompts.file
    copy = copies / path.name
    try:
        shutil.copyfile(path, copy)
    except OSError as error:
        came = (error.strerror or str(error)).lower()
        wanted = "a file of rows; its path begins at the specification's folder"
        raise PromptFileError(path, None, "file", came, wanted) from error
    return copy


def _fetch_rows(url: str, copies: Path) -> Path:
    copy = copies / PurePosixPath(urlsplit(url).path).name
    try:
        fetch_url(url, copy, most_bytes=MOST_FETCHED_BYTES)
    except CannotFetch as error:
        came = str(error).removeprefix(f"{url}: ")
        wanted = "an object that the AWS variables of this environment let read"
        raise PromptFileError(url, None, "file", came, wanted) from error
    return copy


async def _count_stored(runtime: Runtime, fingerprints: list[str]) -> int | None:
    """None: PostgreSQL does not answer."""
    wanted = [Wanted(job_id=new_id(), key_id=None, fingerprint=one) for one in fingerprints]
    try:
        async with runtime.database.begin() as session:
            return len(await find_results(session, wanted))
    except DatabaseUnavailable:
        return None


async def show_plan(runtime: Runtime, planned: Planned) -> None:
    per_second = {}
    for endpoint in planned.plan.per_endpoint:
        limit = await runtime.limit(endpoint, "run")
        per_second[endpoint] = limit.per_window / limit.window_seconds
    out.print(
        draw_plan(
            planned.plan,
            per_second=per_second,
            unused=planned.items.unused,
            stored=planned.stored,
            spec=planned.spec,
        ),
        highlight=False,
    )


async def keep_rows(runtime: Runtime, planned: Planned) -> str | None:
    """Its file, in the store: its key. One that nobody names costs nothing but its room."""
    if planned.rows is None:
        return None
    with planned.rows.open("rb") as file:
        digest = await asyncio.to_thread(hashlib.file_digest, file, "sha256")
    key = file_key(digest.hexdigest(), "".join(planned.rows.suffixes[-2:]).lower())
    await write(runtime.store, key, planned.rows)
    return key


async def _add(runtime: Runtime, planned: Planned, *, name: str | None) -> UUID:
    """Keep its file, then itself."""
    key = await keep_rows(runtime, planned)
    endpoints = list(planned.plan.per_endpoint)
    async with runtime.database.begin() as session:
        campaign_id = await open_campaign(
            session,
            planned.spec,
            name=name or planned.spec.name,
            endpoint=endpoints[0] if len(endpoints) == 1 else None,
            rows_key=key,
            planned=planned.plan.jobs,
        )
        after = {
            "name": name or planned.spec.name,
            "jobs": planned.plan.jobs,
            "estimate_usd": float(planned.plan.usd),
        }
        await note_act(session, cli_actor(), Action.CAMPAIGN_START, campaign_id, after=after)
        return campaign_id
