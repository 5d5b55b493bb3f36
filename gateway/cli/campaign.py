"""`pressroom campaign`: many jobs from a file, followed as one."""

import asyncio
import enum
from decimal import Decimal
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.markup import escape

from gateway.campaign_facts import summarize
from gateway.cli import specs
from gateway.cli.actor import cli_actor
from gateway.cli.cancelling import cancel_jobs
from gateway.cli.compare import compare
from gateway.cli.console import (
    ASK_ABOVE_USD,
    confirm,
    make_table,
    note_unlisted,
    notes,
    out,
    print_json,
    run,
    say_id,
)
from gateway.cli.enqueue import Source, enqueue_file, plan_file
from gateway.cli.export import export
from gateway.cli.follow import follow_to_its_end, show_summary
from gateway.cli.ids import resolve_id
from gateway.cli.inputs import BadInput, parse_sets
from gateway.cli.pages import write_page
from gateway.cli.plan_view import say_plan
from gateway.reports.collect import MOST_RESULTS, collect_report, render_html
from gateway.words import say_usd
from models.audit import Action, note_act
from models.campaign import (
    add_campaign,
    close_campaign,
    find_last_position,
    find_retriable,
    find_unended_jobs,
    get_campaign,
    list_campaigns,
)
from models.campaign_figures import count_jobs
from models.fairness import HIGHEST, LOWEST, USUAL
from models.job import JobState, OnUnknown, Reason
from tasks import control
from tasks import pause as hold
from tasks.campaigns.prompt_file import FileFormat
from tasks.campaigns.span import LONGEST_SECONDS, parse_span
from tasks.expand import send_expand
from tasks.repace import KEPT, repace
from workers.runtime import Runtime

campaign_app = typer.Typer(help="Run and follow many jobs as one.", no_args_is_help=True)
for command in (specs.plan, specs.start, specs.schema, export, compare):
    campaign_app.command()(command)


class Failed(enum.StrEnum):
    """Ends without a result, of jobs that may be sent again."""

    FAILED = JobState.FAILED
    TIMED_OUT = JobState.TIMED_OUT
    LOST = JobState.LOST
    REJECTED = JobState.REJECTED


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
    priority: Annotated[
        int, typer.Option(min=LOWEST, max=HIGHEST, help="The highest goes first.")
    ] = USUAL,
    over: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Send them evenly over so long: 90s, 30m, 2h."),
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="ID", help="Enqueue what a cut-off run left out.")
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

        pressroom campaign run night.csv -e p-video --over 6h --priority 2
    """

    async def body(runtime: Runtime) -> None:
        if on_unknown or dry_run:
            policy = on_unknown or OnUnknown.RESUBMIT  # a dry run needs no database
        else:
            policy = (await runtime.operator_settings()).on_unknown
        over_seconds = _read_span(over) if over else 0.0
        listed = runtime.catalogue.find(endpoint)
        if listed is None:
            note_unlisted(runtime.catalogue, endpoint)
        source = Source(
            path=path,
            endpoint=listed.id if listed else endpoint,
            sets=parse_sets(sets or []),
            on_unknown=policy,
            priority=priority,
            prompt_column=prompt_column,
            format=format_,
        )
        plan = await plan_file(runtime, source)
        notes.print(say_plan(plan))
        if dry_run:
            if as_json:
                print_json(plan.describe())
            else:
                notes.print("every line is valid; nothing was sent")
            return
        if plan.unpriced or plan.usd > ASK_ABOVE_USD:
            confirm(f"Run {say_plan(plan)}?", yes=yes)
        campaign_id, after_line = await _open_campaign(
            runtime, resume=resume, name=name or path.name, endpoint=source.endpoint
        )
        await enqueue_file(
            runtime,
            source,
            campaign_id=campaign_id,
            jobs=plan.jobs,
            after_line=after_line,
            over_seconds=over_seconds,
        )
        notes.print(f"campaign [bold]{campaign_id}[/bold]")
        if detach:
            watch = f"[bold]pressroom campaign watch {campaign_id}[/bold]"
            notes.print(f"follow it with {watch}", soft_wrap=True)
            if as_json:
                print_json({"campaign_id": str(campaign_id), "jobs": plan.jobs})
            return
        await follow_to_its_end(runtime, campaign_id, as_json=as_json)

    run(body)


@campaign_app.command()
def watch(
    given: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
    as_json: Annotated[bool, typer.Option("--json", help="The summary as JSON.")] = False,
) -> None:
    """Follow a campaign to its end. Exits with 1 if a job of it failed.

    Example:

        pressroom campaign watch 4d49bec0e98d
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            campaign_id = await resolve_id(session, "campaigns", given)
        await follow_to_its_end(runtime, campaign_id, as_json=as_json)

    run(body)


@campaign_app.command()
def show(
    given: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show how far a campaign is, and what it cost.

    Example:

        pressroom campaign show 4d49bec0e98d --json | jq .failures
    """

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
    """List campaigns, the newest first.

    Example:

        pressroom campaign list --limit 5
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            campaigns = await list_campaigns(session, limit=limit)
        summaries = [await summarize(runtime, campaign.id) for campaign in campaigns]
        if as_json:
            print_json(summaries)
        elif not summaries:
            notes.print("no campaigns yet; start one with [bold]pressroom campaign run[/bold]")
        else:
            table = make_table(
                "id", ">jobs", ">done", ">failed", ">cancelled", ">spent", "endpoint", "name"
            )
            for one in summaries:
                table.add_row(
                    say_id(one["campaign_id"]),
                    f"{one['jobs']:,}",
                    f"{one['completed']:,}",
                    f"{one['failed']:,}",
                    f"{one['cancelled']:,}",
                    say_usd(one["cost_usd"]),
                    one["endpoint"] or "several",
                    escape(one["name"]),
                )
            out.print(table, highlight=False)

    run(body)


@campaign_app.command()
def pause(
    given: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
) -> None:
    """Send no more of a campaign until it is resumed. What was sent runs on.

    Example:

        pressroom campaign pause 4d49bec0e98d
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            campaign_id = await resolve_id(session, "campaigns", given)
        changed = await hold.pause(runtime, campaign_id, by=cli_actor())
        async with runtime.database.begin() as session:
            progress = await count_jobs(session, campaign_id)
        said = "paused" if changed else "it was paused already"
        notes.print(f"{said}: {progress.queued:,} jobs wait, {progress.running:,} run on")

    run(body)


@campaign_app.command()
def resume(
    given: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
) -> None:
    """Let a campaign go on that was paused. A pace goes on from where it was.

    Example:

        pressroom campaign resume 4d49bec0e98d
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            campaign_id = await resolve_id(session, "campaigns", given)
        changed = await hold.resume(runtime, campaign_id, by=cli_actor())
        async with runtime.database.begin() as session:
            progress = await count_jobs(session, campaign_id)
        if progress.total is None and progress.planned is not None:
            await asyncio.to_thread(send_expand, runtime, campaign_id)
        said = "it goes on" if changed else "it was not paused"
        notes.print(f"{said}: {progress.queued:,} jobs are queued, {progress.running:,} run")

    run(body)


@campaign_app.command()
def pace(
    given: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
    over: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Spread what waits over it from now on: 90s, 2h, 0."),
    ] = None,
    max_in_flight: Annotated[
        int | None, typer.Option(min=0, help="So many of its jobs at once; 0: as the limits let.")
    ] = None,
) -> None:
    """Give a campaign that runs another pace. What was sent stays as it is.

    Examples:

        pressroom campaign pace 4d49bec0e98d --over 6h

        pressroom campaign pace 4d49bec0e98d --max-in-flight 20 --over 0
    """

    async def body(runtime: Runtime) -> None:
        if over is None and max_in_flight is None:
            raise BadInput("--over or --max-in-flight was wanted")
        async with runtime.database.begin() as session:
            campaign_id = await resolve_id(session, "campaigns", given)
        spread = await repace(
            runtime,
            campaign_id,
            by=cli_actor(),
            over_seconds=KEPT if over is None else _read_pace(over) or None,
            max_in_flight=KEPT if max_in_flight is None else max_in_flight or None,
        )
        said = [] if over is None else [f"{spread:,} jobs have another time"]
        if max_in_flight is not None:
            said.append(f"{max_in_flight:,} at once" if max_in_flight else "as the limits let")
        notes.print("; ".join(said))

    run(body)


@campaign_app.command()
def report(
    given: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="An HTML file; NAME.html if unset.")
    ] = None,
    results: Annotated[
        int, typer.Option(min=0, max=10_000, help="How many results it shows, the first ones.")
    ] = MOST_RESULTS,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON; no file is written.")] = False,
) -> None:
    """Write a report: how its jobs ended, what they cost and took, and what came of them.

    One HTML file that needs nothing beside it. It may be written while the campaign runs.

    Examples:

        pressroom campaign report 4d49bec0e98d -o shoot.html

        pressroom campaign report 4d49bec0e98d --json --results 0 | jq .progress
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            campaign_id = await resolve_id(session, "campaigns", given)
        with notes.status("reading its results"):
            told = await collect_report(runtime, campaign_id, results=results)
        if as_json:
            print_json(told.describe())
            return
        write_page(render_html(told), output, name=told.name, other=told.campaign_id)

    run(body)


@campaign_app.command()
def retry(
    given: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
    only: Annotated[
        list[Failed] | None, typer.Option(help="Those that ended so. Repeatable.")
    ] = None,
    cause: Annotated[
        list[Reason] | None, typer.Option(help="Those that ended for this reason. Repeatable.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count them; send nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Run jobs of a campaign again that ended without a result. What it costs is new.

    `campaign show` lists how they ended, and for what reason.

    Examples:

        pressroom campaign retry 4d49bec0e98d --dry-run

        pressroom campaign retry 4d49bec0e98d --only failed --cause upstream_failed
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            campaign_id = await resolve_id(session, "campaigns", given)
            found = await find_retriable(
                session,
                campaign_id,
                states=[JobState(one) for one in only or list(Failed)],
                reasons=cause or [],
            )
        usd = sum((one.estimate_usd or Decimal() for one in found), Decimal())
        unpriced = sum(one.estimate_usd is None for one in found)
        said = f"{len(found):,} jobs, about {say_usd(usd)}"
        said += f", and {unpriced:,} without a known price" if unpriced else ""
        if not found or dry_run:
            retried: set[UUID] = set()
            notes.print("none ended so" if not found else f"{said}; nothing was sent")
        else:
            confirm(f"Run {said} again?", yes=yes)
            about = {"campaign": str(campaign_id)}
            ids = [one.id for one in found]
            retried = await control.retry(runtime, ids, by=cli_actor(), asked=about)
            notes.print(f"{len(retried):,} jobs are queued again")
        if as_json:
            told = {"found": len(found), "estimate_usd": float(usd), "unpriced": unpriced}
            print_json({**told, "queued": len(retried)})

    run(body)


@campaign_app.command()
def cancel(
    given: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Stay until the upstream has ended them.")
    ] = True,
) -> None:
    """Cancel what of a campaign has not ended. Files of what was done are kept.

    The upstream takes a hundred cancels in ten seconds; Ctrl-C leaves the rest to the workers.

    Example:

        pressroom campaign cancel 4d49bec0e98d --yes
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            campaign_id = await resolve_id(session, "campaigns", given)
            jobs = await find_unended_jobs(session, campaign_id)
        if jobs:
            confirm(f"Cancel {len(jobs):,} jobs?", yes=yes)
        async with runtime.database.begin() as session:
            # One whose run was killed is open still, and would be waited for without end.
            await close_campaign(session, campaign_id)
            told = {"jobs": len(jobs)}
            await note_act(session, cli_actor(), Action.CAMPAIGN_CANCEL, campaign_id, before=told)
        if jobs:
            cancelled = len(await cancel_jobs(runtime, jobs, wait=wait))
            later = "" if wait else "; those at the upstream end as it answers"
            notes.print(f"cancelled {cancelled:,} jobs{later}")
        else:
            notes.print("every job of it has ended")

    run(body)


def _read_pace(said: str) -> float:
    seconds = 0.0 if said == "0" else _read_span(said)
    if seconds > LONGEST_SECONDS:
        raise BadInput(f"--over: at most 365d was wanted, {said} came")
    return seconds


def _read_span(said: str) -> float:
    try:
        return parse_span(said)
    except ValueError as error:
        raise BadInput(f"--over: {error}") from error


async def _open_campaign(
    runtime: Runtime, *, resume: str | None, name: str, endpoint: str
) -> tuple[UUID, int]:
    """A new campaign, or the one to resume, and the line of its file that was enqueued last."""
    async with runtime.database.begin() as session:
        if resume is None:
            campaign_id = await add_campaign(session, name=name, endpoint=endpoint)
            after = {"name": name, "endpoint": endpoint}
            await note_act(session, cli_actor(), Action.CAMPAIGN_START, campaign_id, after=after)
            return campaign_id, 0
        campaign = await get_campaign(session, await resolve_id(session, "campaigns", resume))
        if campaign.endpoint != endpoint:
            raise BadInput(f"--resume {resume}: came {endpoint}; wanted {campaign.endpoint}")
        return campaign.id, await find_last_position(session, campaign.id)
