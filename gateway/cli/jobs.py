"""`pressroom jobs`: what each job is doing, and why."""

import datetime as dt
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from gateway.cli import job_acts
from gateway.cli.console import (
    make_table,
    notes,
    out,
    print_json,
    run,
    say_id,
    shorten,
)
from gateway.cli.ids import resolve_id
from gateway.waiting import find_waiting
from gateway.words import say_bytes, say_prompt, say_seconds, say_usd
from models.artifact import list_artifacts
from models.delivery import list_deliveries
from models.doubt import list_doubtful_jobs, sum_doubts, sum_doubts_by_key
from models.fairness import USUAL
from models.job import Job, JobState, Reason
from models.job_queries import JobFilter, get_job, list_attempts, list_jobs
from models.key import list_keys
from tasks.results import (
    describe_attempt,
    describe_delivery,
    describe_doubts,
    describe_doubts_of_key,
    describe_job,
)
from tasks.retry_policy import find_advice
from workers.runtime import Runtime
from workers.trace_context import find_trace_id

jobs_app = typer.Typer(
    help="List and show jobs; cancel, retry and move them.", no_args_is_help=True
)

STATE_STYLES = {
    JobState.COMPLETED: "green",
    JobState.FAILED: "red",
    JobState.TIMED_OUT: "red",
    JobState.LOST: "red",
    JobState.REJECTED: "red",
    JobState.UNKNOWN: "yellow",
    JobState.CANCELLED: "dim",
}


@jobs_app.command("list")
def list_(
    state: Annotated[JobState | None, typer.Option(help="Only those in this state.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Only those of this endpoint.")] = None,
    reason: Annotated[Reason | None, typer.Option(help="Only those that ended for this.")] = None,
    campaign: Annotated[str | None, typer.Option(help="Only those of this campaign.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List jobs, the newest first.

    Examples:

        pressroom jobs list --state failed

        pressroom jobs list --limit 1000 --json | jq -r '.[].id'
    """

    async def body(runtime: Runtime) -> None:
        listed = runtime.catalogue.find(endpoint) if endpoint else None
        async with runtime.database.begin() as session:
            campaign_id = await resolve_id(session, "campaigns", campaign) if campaign else None
            wanted = JobFilter(
                states=None if state is None else [state],
                endpoint=listed.id if listed else endpoint,
                reasons=None if reason is None else [reason],
                campaign_id=campaign_id,
            )
            jobs = await list_jobs(session, wanted, limit=limit)
            files = await list_artifacts(session, job_ids=[job.id for job in jobs])
        if as_json:
            links = await runtime.links()
            print_json(
                [
                    describe_job(job, [one for one in files if one.job_id == job.id], links)
                    for job in jobs
                ]
            )
        elif not jobs:
            notes.print("no jobs" + (" fit" if state or endpoint or reason or campaign else " yet"))
        else:
            table = make_table("id", "state", ">cost", ">age", "endpoint", "prompt")
            for job in jobs:
                table.add_row(
                    say_id(job.id),
                    _paint(job),
                    say_usd(job.cost_usd),
                    say_seconds(_since(job.created_at)),
                    job.endpoint,
                    escape(shorten(say_prompt(job.input), 48)),
                )
            out.print(table, highlight=False)

    run(body)


@jobs_app.command()
def show(
    given: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the end of it.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show one job: why it is where it is, every /run that was sent for it, and its files.

    Examples:

        pressroom jobs show a594a4e386bc

        pressroom jobs show a594a4e386bc --json | jq .output
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            job = await get_job(session, await resolve_id(session, "jobs", given))
            attempts = await list_attempts(session, job.id)
            files = await list_artifacts(session, job_ids=[job.id])
            waiting = await find_waiting(runtime, session, job, files)
            deliveries = await list_deliveries(session, limit=100, job_id=job.id)
        links = await runtime.links()
        if as_json:
            print_json(
                {
                    **describe_job(job, files, links),
                    **waiting.describe(),
                    "attempts": [describe_attempt(attempt) for attempt in attempts],
                    "deliveries": [describe_delivery(delivery) for delivery in deliveries],
                }
            )
            return
        out.print(_tell(job, waiting.why), highlight=False)
        if attempts:
            table = make_table("attempt", "sent", "answer", "fate", ">http", ">cost", "said")
            for attempt in attempts:
                table.add_row(
                    str(attempt.number),
                    f"{attempt.sent_at:%H:%M:%S}",
                    attempt.answer or "-",
                    attempt.fate or "-",
                    str(attempt.http_status or "-"),
                    say_usd(attempt.cost_usd),
                    escape(shorten(attempt.error or "", 80)),
                )
            out.print()
            out.print(table, highlight=False)
        if files:
            table = make_table(
                "file", "state", "type", "size", ">bytes", "stored as, or what failed"
            )
            for file in files:
                table.add_row(
                    say_id(file.id),
                    file.state,
                    file.media_type or "-",
                    f"{file.width}x{file.height}"
                    if file.width
                    else say_seconds(file.duration_seconds),
                    say_bytes(file.size_bytes),
                    file.store_key or escape(shorten(file.error or "", 80)),
                )
            out.print()
            out.print(table, highlight=False)
        if deliveries:
            table = make_table("word of its end", "state", ">tries", ">http", "to, or what failed")
            for delivery in deliveries:
                table.add_row(
                    delivery.kind,
                    delivery.state,
                    str(delivery.tries),
                    str(delivery.http_status or "-"),
                    escape(shorten(delivery.error or delivery.request.get("url") or "-", 120)),
                )
            out.print()
            out.print(table, highlight=False)

    run(body)


@jobs_app.command()
def doubts(
    limit: Annotated[int, typer.Option(min=1, help="So many jobs at most.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what may have been billed twice, or for nothing: replies that were lost for good.

    Webhooks of the upstream (PRESSROOM_PUBLIC_URL) keep it at nothing; so does `on_unknown fail`,
    at the price of jobs that end without a result.

    Examples:

        pressroom jobs doubts

        pressroom jobs doubts --json | jq .possibly_twice_usd
    """

    async def body(runtime: Runtime) -> None:
        async with runtime.database.begin() as session:
            total = await sum_doubts(session)
            each = await sum_doubts_by_key(session)
            names = {key.id: key.name for key in await list_keys(session)}
            jobs = await list_doubtful_jobs(session, owner=None, limit=limit)
        if as_json:
            keys = [describe_doubts_of_key(one) for one in each]
            found = {"keys": keys, "jobs": [str(one) for one in jobs]}
            print_json({**describe_doubts(total), **found})
            return
        if not jobs and not total.denied:
            notes.print("no attempt is in doubt")
            return
        table = make_table(
            *("of", ">maybe twice", ">USD", ">maybe for nothing", ">USD"),
            *(">surely twice", ">USD", ">after a 5xx", ">USD"),
        )
        for one in (*each, total):
            name = names.get(one.key_id, "no key") if one.key_id else "no key"
            table.add_row(
                "[bold]all[/bold]" if one is total else escape(name),
                f"{one.twice:,}",
                say_usd(one.twice_usd),
                f"{one.unused:,}",
                say_usd(one.unused_usd),
                f"{one.certain:,}",
                say_usd(one.certain_usd),
                f"{one.denied:,}",
                say_usd(one.denied_usd),
            )
        out.print(table, highlight=False)
        if total.denied:
            notes.print("[dim]after a 5xx: by that answer nothing was taken[/dim]")
        if total.unpriced:
            notes.print(f"of {total.unpriced:,} no price is known")
        if jobs:
            more = f"  (the newest {limit:,}; --limit shows more)" if len(jobs) == limit else ""
            listed = "  ".join(say_id(one) for one in jobs)
            out.print(f"\njobs  {listed}{more}", highlight=False)

    run(body)


for command in (job_acts.retry, job_acts.cancel, job_acts.prioritize):
    jobs_app.command()(command)


def _tell(job: Job, why: str) -> Table:
    facts = make_table("", "")
    facts.show_header = False
    facts.add_row("[dim]job[/dim]", str(job.id))
    facts.add_row("[dim]state[/dim]", _paint(job))
    facts.add_row("[dim]why[/dim]", escape(why))
    if advice := find_advice(job.reason):
        facts.add_row("[dim]to do[/dim]", escape(advice))
    facts.add_row("[dim]endpoint[/dim]", job.endpoint)
    facts.add_row("[dim]upstream id[/dim]", job.upstream_id or "-")
    facts.add_row("[dim]prompt[/dim]", escape(shorten(say_prompt(job.input), 200)))
    if job.priority != USUAL:
        facts.add_row("[dim]priority[/dim]", f"{job.priority}")
    cost = f"{say_usd(job.cost_usd)} (estimated {say_usd(job.estimate_usd)})"
    facts.add_row("[dim]cost[/dim]", cost)
    facts.add_row("[dim]polls[/dim]", str(job.polls))
    if trace_id := find_trace_id(job.trace_context):
        facts.add_row("[dim]trace[/dim]", trace_id)
    if job.execution_ms is not None:
        queued = say_seconds((job.delay_ms or 0) / 1000)
        ran = f"{say_seconds(job.execution_ms / 1000)}, after {queued} in the queue"
        facts.add_row("[dim]ran[/dim]", f"{ran} (upstream's clock)")
    return facts


def _paint(job: Job) -> str:
    style = STATE_STYLES.get(job.state, "cyan")
    return f"[{style}]{job.state}[/{style}]"


def _since(moment: dt.datetime) -> float:
    return (dt.datetime.now(dt.UTC) - moment).total_seconds()
