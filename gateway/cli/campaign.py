"""`pressroom campaign`: many jobs from a file, followed as one."""

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.progress import Progress as Bar

from endpoints.catalogue import Basis, Catalogue
from gateway.cli.console import (
    FAILED,
    USAGE,
    fail,
    make_table,
    notes,
    out,
    print_json,
    run,
    say_id,
    say_usd,
)
from gateway.cli.follow import follow_campaign, show_summary, summarize
from gateway.cli.ids import resolve_id
from gateway.cli.inputs import parse_sets
from gateway.cli.prompt_file import FileFormat, PromptFileError, PromptLine, read_prompts
from models.campaign import (
    add_campaign,
    close_campaign,
    find_unended_jobs,
    list_campaigns,
)
from models.job import OnUnknown
from models.lane import StageName
from models.transitions import cancel_jobs
from tasks.intake import InvalidRequest, Request, check_request, enqueue, say_suggestions
from workers.runtime import Runtime

campaign_app = typer.Typer(help="Run and follow many jobs as one.", no_args_is_help=True)

BATCH = 500  # jobs a statement
PROBLEMS_SHOWN = 20
ASK_ABOVE_USD = Decimal(1)


@dataclass(slots=True)
class Plan:
    """What a file comes to, before anything is enqueued."""

    jobs: int = 0
    usd: Decimal = Decimal()
    unpriced: int = 0
    bases: set[Basis] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0

    def say(self) -> str:
        if self.unpriced == self.jobs:
            return f"{self.jobs:,} jobs; no price is known"
        about = "" if self.bases == {Basis.EXACT} else "about "
        rest = f", and {self.unpriced:,} without a known price" if self.unpriced else ""
        return f"{self.jobs:,} jobs, {about}{say_usd(self.usd)}{rest}"


@dataclass(frozen=True, slots=True)
class Source:
    """A campaign's file, read anew each time: it may have millions of lines."""

    path: Path
    endpoint: str
    sets: dict[str, Any]
    prompt_column: str | None
    format: FileFormat | None
    on_unknown: OnUnknown

    def lines(self) -> Iterator[PromptLine]:
        return read_prompts(self.path, prompt_column=self.prompt_column, format=self.format)

    def request(self, line: PromptLine, *, campaign_id: UUID | None = None) -> Request:
        return Request(
            endpoint=self.endpoint,
            input={**line.input, **self.sets},
            on_unknown=self.on_unknown,
            campaign_id=campaign_id,
            position=line.line,
        )


def plan_campaign(catalogue: Catalogue, source: Source, lines: Iterable[PromptLine]) -> Plan:
    """Hold every line against the catalogue, and add up what they cost.

    Raises:
        PromptFileError: the file cannot be read on from there.
    """
    plan = Plan()
    for line in lines:
        plan.jobs += 1
        try:
            checked = check_request(catalogue, source.request(line), on_unknown=source.on_unknown)
        except InvalidRequest as error:
            plan.problem_count += len(error.problems)
            room = PROBLEMS_SHOWN - len(plan.problems)
            plan.problems += [f"{source.path}:{line.line}: {one}" for one in error.problems[:room]]
            continue
        if checked.estimate.usd is None:
            plan.unpriced += 1
        else:
            plan.usd += checked.estimate.usd
            plan.bases.add(checked.estimate.basis)
    return plan


@campaign_app.command("run")
def run_(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="TSV, CSV, JSONL or plain text.")],
    endpoint: Annotated[str, typer.Option("--endpoint", "-e", help="For every line.")],
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="key=value for every line. Repeatable.")
    ] = None,
    prompt_column: Annotated[str | None, typer.Option(help="If it is not `prompt`.")] = None,
    format_: Annotated[
        FileFormat | None, typer.Option("--format", help="If the ending does not tell.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Shown in lists; the file's if unset.")] = None,
    on_unknown: Annotated[
        OnUnknown | None, typer.Option(help="If a reply to /run is lost for good.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Do not follow it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask about the cost.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and price; send nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
) -> None:
    """Run a file of prompts as one campaign.

    Every line is checked before the first is enqueued. Ctrl-C detaches; the campaign runs on.

    Examples:

        pressroom campaign run prompts.tsv -e black-forest-labs-flux-1-schnell --set width=768

        pressroom campaign run lines.txt -e p-image-t2i --dry-run
    """

    async def body(runtime: Runtime) -> None:
        operator = await runtime.operator_settings()
        source = Source(
            path,
            endpoint,
            parse_sets(sets or []),
            prompt_column,
            format_,
            on_unknown or operator.on_unknown,
        )
        plan = await _plan(runtime, source)
        notes.print(plan.say())
        if dry_run:
            if as_json:
                print_json({"jobs": plan.jobs, "estimate_usd": float(plan.usd)})
            else:
                notes.print("every line is valid; nothing was sent")
            return
        _ask(plan, yes=yes)
        campaign_id = await _enqueue_all(runtime, source, plan, name=name or path.name)
        notes.print(f"campaign [bold]{campaign_id}[/bold]")
        if detach:
            notes.print(f"follow it with [bold]pressroom campaign watch {campaign_id}[/bold]")
            if as_json:
                print_json({"campaign_id": str(campaign_id), "jobs": plan.jobs})
            return
        await _follow(runtime, campaign_id, as_json=as_json)

    run(body)


@campaign_app.command()
def watch(
    given: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
) -> None:
    """Follow a campaign to its end."""

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            campaign_id = await resolve_id(session, "campaigns", given)
        await _follow(runtime, campaign_id, as_json=as_json)

    run(body)


@campaign_app.command()
def show(
    given: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show how far a campaign is, and what it cost."""

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            campaign_id = await resolve_id(session, "campaigns", given)
        summary = await summarize(runtime, campaign_id)
        if as_json:
            print_json(summary)
        else:
            show_summary(summary)

    run(body)


@campaign_app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List campaigns, the newest first."""

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            campaigns = await list_campaigns(session, limit=limit)
        summaries = [await summarize(runtime, campaign.id) for campaign in campaigns]
        if as_json:
            print_json(summaries)
        elif not summaries:
            notes.print("no campaigns yet; start one with [bold]pressroom campaign run[/bold]")
        else:
            table = make_table("id", ">jobs", ">done", ">failed", ">spent", "endpoint", "name")
            for one in summaries:
                table.add_row(
                    say_id(one["campaign_id"]),
                    f"{one['jobs']:,}",
                    f"{one['completed']:,}",
                    f"{one['failed']:,}",
                    say_usd(one["cost_usd"]),
                    one["endpoint"] or "several",
                    one["name"],
                )
            out.print(table, highlight=False)

    run(body)


@campaign_app.command()
def cancel(
    given: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Cancel what of a campaign has not ended. Files of what was done are kept."""

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            campaign_id = await resolve_id(session, "campaigns", given)
            jobs = await find_unended_jobs(session, campaign_id)
        if not jobs:
            notes.print("every job of it has ended")
            return
        if not yes:
            typer.confirm(f"cancel {len(jobs):,} jobs?", abort=True, err=True)
        cancelled = 0
        for start in range(0, len(jobs), BATCH):
            async with runtime.database.begin() as session:
                changed = await cancel_jobs(session, job_ids=jobs[start : start + BATCH])
            cancelled += len(changed)
            await runtime.bells.ring_each(
                StageName.POLL, {endpoint for _, endpoint in changed.values()}
            )
        notes.print(f"cancelled {cancelled:,} jobs; those at the upstream end as it answers")

    run(body)


async def _plan(runtime: Runtime, source: Source) -> Plan:
    if runtime.catalogue.find(source.endpoint) is None:
        hint = say_suggestions(runtime.catalogue, source.endpoint)
        notes.print(f"{source.endpoint} is not in the catalogue: no check, no price{hint}")
    try:
        with notes.status(f"checking {source.path}"):
            plan = await asyncio.to_thread(plan_campaign, runtime.catalogue, source, source.lines())
    except PromptFileError as error:
        fail(error, code=USAGE)
    if plan.problems:
        for problem in plan.problems:
            notes.print(f"[red]{problem}[/red]", markup=True, soft_wrap=True)
        more = plan.problem_count - len(plan.problems)
        rest = f" (and {more:,} more)" if more else ""
        fail(f"{plan.problem_count:,} problems{rest}; nothing was enqueued", code=USAGE)
    return plan


def _ask(plan: Plan, *, yes: bool) -> None:
    """Money is asked about, unless it is little or was agreed to."""
    if yes or (plan.usd < ASK_ABOVE_USD and not plan.unpriced):
        return
    if not notes.is_terminal:
        fail(f"{plan.say()}: say --yes to run it, or --dry-run to check it", code=USAGE)
    typer.confirm(f"run {plan.say()}?", abort=True, err=True)


async def _enqueue_all(runtime: Runtime, source: Source, plan: Plan, *, name: str) -> UUID:
    """Enqueue every line; if that is cut short, say exactly how far it came."""
    async with runtime.database.begin() as session:
        campaign_id = await add_campaign(session, name=name, endpoint=source.endpoint)
    done = 0
    try:
        with Bar(console=notes, transient=True) as bar:
            shown = bar.add_task("enqueuing", total=plan.jobs)
            lines = source.lines()
            while batch := list(itertools.islice(lines, BATCH)):
                await enqueue(
                    runtime,
                    [
                        check_request(
                            runtime.catalogue,
                            source.request(line, campaign_id=campaign_id),
                            on_unknown=source.on_unknown,
                        ).job
                        for line in batch
                    ],
                )
                done += len(batch)
                bar.update(shown, completed=done)
    except BaseException:
        await asyncio.shield(_close(runtime, campaign_id))
        notes.print(
            f"[red]{done:,} of {plan.jobs:,} lines were enqueued[/red], and run; to undo that: "
            f"[bold]pressroom campaign cancel {campaign_id}[/bold]"
        )
        raise
    await _close(runtime, campaign_id)
    return campaign_id


async def _close(runtime: Runtime, campaign_id: UUID) -> None:
    async with runtime.database.begin() as session:
        await close_campaign(session, campaign_id)


async def _follow(runtime: Runtime, campaign_id: UUID, *, as_json: bool) -> None:
    try:
        await follow_campaign(runtime, campaign_id)
    except asyncio.CancelledError:
        notes.print(
            f"detached; it runs on: [bold]pressroom campaign watch {campaign_id}[/bold] follows it"
        )
        raise
    summary = await summarize(runtime, campaign_id)
    if as_json:
        print_json(summary)
    else:
        show_summary(summary)
    if summary["failed"]:
        raise typer.Exit(FAILED)
