"""`pressroom jobs cancel|retry|prioritize`: jobs that are named, or all that fit a filter."""

import sys
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import typer

from gateway.cli.actor import cli_actor
from gateway.cli.bulk import FilterOptions, act_on_many, read_filter
from gateway.cli.cancelling import cancel_jobs
from gateway.cli.console import FAILED, confirm, out, print_json, run
from gateway.cli.ids import resolve_id
from gateway.cli.inputs import BadInput
from models.fairness import HIGHEST, LOWEST
from models.job import TERMINAL, JobState, Reason
from tasks import control
from tasks.bulk import Verb
from workers.runtime import Runtime

Given = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Ids, or the ends of them.")
]
StateOption = Annotated[list[JobState] | None, typer.Option("--state", help="Repeatable.")]
ReasonOption = Annotated[list[Reason] | None, typer.Option("--reason", help="Repeatable.")]
EndpointOption = Annotated[str | None, typer.Option("--endpoint", help="Of this endpoint.")]
CampaignOption = Annotated[
    str | None, typer.Option("--campaign", metavar="ID", help="Of this campaign.")
]
TagOption = Annotated[str | None, typer.Option("--tag", help="Of campaigns with this tag.")]
KeyOption = Annotated[str | None, typer.Option("--key", metavar="ID", help="Of this API key.")]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="WHEN", help="Made since: a time, or how long ago."),
]
OlderThan = Annotated[
    str | None, typer.Option("--older-than", metavar="WHEN", help="Made before: the same.")
]
EndedBefore = Annotated[
    str | None,
    typer.Option("--ended-before", metavar="WHEN", help="Ended before: to go on with a retry."),
]
All = Annotated[bool, typer.Option("--all", help="Everything, without a filter.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count them; do nothing.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def retry(
    given: Given = None,
    state: StateOption = None,
    reason: ReasonOption = None,
    endpoint: EndpointOption = None,
    campaign: CampaignOption = None,
    tag: TagOption = None,
    key: KeyOption = None,
    since: Since = None,
    older_than: OlderThan = None,
    ended_before: EndedBefore = None,
    all_: All = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Run jobs again that ended without a result, under their ids. What it costs is new.

    By a filter they are counted and priced first, and it asks. Of jobs that are named exits with 1
    if one of them runs, has a result, or was cancelled.

    Examples:

        pressroom jobs retry a594a4e386bc

        pressroom jobs retry --endpoint vidu-q3-t2v --reason upstream_fault --since 6h --dry-run
    """
    options = FilterOptions(
        state, reason, endpoint, campaign, tag, key, since, older_than, ended_before, all_
    )

    async def body(runtime: Runtime) -> None:
        if _is_bulk(given, options, dry_run=dry_run):
            wanted = await read_filter(runtime, options)
            await act_on_many(
                runtime, Verb.RETRY, wanted, yes=yes, dry_run=dry_run, as_json=as_json
            )
            return
        ids = await _resolve(runtime, given)
        retried = await control.retry(runtime, ids, by=cli_actor())
        said = {str(one): "queued" if one in retried else "not to be retried" for one in ids}
        _tell(said, complete=len(retried) == len(ids), as_json=as_json)

    run(body)


def cancel(
    given: Given = None,
    state: StateOption = None,
    endpoint: EndpointOption = None,
    campaign: CampaignOption = None,
    tag: TagOption = None,
    key: KeyOption = None,
    since: Since = None,
    older_than: OlderThan = None,
    all_: All = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Stay until the upstream has ended them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Cancel jobs: queued ones at once, running ones at the upstream, which may still bill them.

    The upstream takes a hundred cancels in ten seconds; more wait their turn. By a filter they are
    counted first, and it asks. Of jobs that are named exits with 1 if one of them had ended before.

    Examples:

        pressroom jobs cancel a594a4e386bc 249d250cf543

        pressroom jobs cancel --endpoint vidu-q3-t2v --state queued --older-than 1d
    """
    options = FilterOptions(
        state, None, endpoint, campaign, tag, key, since, older_than, None, all_
    )

    async def body(runtime: Runtime) -> None:
        if _is_bulk(given, options, dry_run=dry_run):
            wanted = await read_filter(runtime, options)
            await act_on_many(
                runtime, Verb.CANCEL, wanted, yes=yes, dry_run=dry_run, as_json=as_json, wait=wait
            )
            return
        ids = await _resolve(runtime, given)
        # A script that names its jobs has said enough.
        confirm(
            f"Cancel {len(ids):,} job{'' if len(ids) == 1 else 's'}?",
            yes=yes or not sys.stdin.isatty(),
        )
        changed = await cancel_jobs(runtime, ids, wait=wait, by=cli_actor())
        said = {
            str(one): "had ended"
            if one not in changed
            else "cancelled"
            if changed[one] in TERMINAL
            else "will be cancelled at the upstream"
            for one in ids
        }
        _tell(said, complete=len(changed) == len(ids), as_json=as_json)

    run(body)


def prioritize(
    priority: Annotated[
        int, typer.Argument(min=LOWEST, max=HIGHEST, help="The highest goes first; 5 is usual.")
    ],
    given: Given = None,
    endpoint: EndpointOption = None,
    campaign: CampaignOption = None,
    tag: TagOption = None,
    key: KeyOption = None,
    since: Since = None,
    older_than: OlderThan = None,
    all_: All = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Give queued jobs another priority. What was sent stays as it is.

    Each joins the line of that priority as one that comes just now, behind what its key has there.

    Examples:

        pressroom jobs prioritize 9 a594a4e386bc

        pressroom jobs prioritize 2 --campaign 4d49bec0e98d --yes
    """
    options = FilterOptions(None, None, endpoint, campaign, tag, key, since, older_than, None, all_)

    async def body(runtime: Runtime) -> None:
        if _is_bulk(given, options, dry_run=dry_run):
            wanted = await read_filter(runtime, options)
            await act_on_many(
                runtime,
                Verb.PRIORITIZE,
                wanted,
                priority=priority,
                yes=yes,
                dry_run=dry_run,
                as_json=as_json,
            )
            return
        ids = await _resolve(runtime, given)
        moved = await control.prioritize(runtime, ids, priority=priority, by=cli_actor())
        said = {
            str(one): f"priority {priority}" if one in moved else "is not queued, or has it"
            for one in ids
        }
        _tell(said, complete=len(moved) == len(ids), as_json=as_json)

    run(body)


def _is_bulk(given: Sequence[str] | None, options: FilterOptions, *, dry_run: bool) -> bool:
    """
    Raises:
        BadInput: neither jobs nor a filter were given, or both.
    """
    if bool(given) == options.given:
        came = "both came" if given else "neither came; --all is everything"
        raise BadInput(f"ids of jobs or a filter was wanted, {came}")
    if given and dry_run:
        raise BadInput("--dry-run counts what fits a filter; ids came")
    return not given


async def _resolve(runtime: Runtime, given: Sequence[str] | None) -> list[UUID]:
    async with runtime.database.begin() as session:
        return [await resolve_id(session, "jobs", one) for one in given or ()]


def _tell(said: dict[str, Any], *, complete: bool, as_json: bool) -> None:
    if as_json:
        print_json(said)
    else:
        for one, what in said.items():
            out.print(f"{one}  {what}", highlight=False)
    if not complete:
        raise typer.Exit(FAILED)
