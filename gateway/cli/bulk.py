"""An act on all jobs that fit a filter: counted and priced first, then done batch by batch."""

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.markup import escape

from gateway.cli.actor import cli_actor
from gateway.cli.cancelling import follow_cancels, make_bar
from gateway.cli.console import confirm, notes, print_json, say_id
from gateway.cli.ids import resolve_id
from gateway.cli.times import read_time
from gateway.words import say_usd
from models.errors import DatabaseUnavailable
from models.job import OPEN, JobState, Reason
from models.job_queries import JobFilter
from tasks.bulk import Bulk, Preview, Verb, narrow, preview, step
from workers.runtime import Runtime

DONE = {Verb.CANCEL: "asked to stop", Verb.RETRY: "queued again", Verb.PRIORITIZE: "moved"}


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """A filter as it was typed."""

    states: Sequence[JobState] | None
    reasons: Sequence[Reason] | None
    endpoint: str | None
    campaign: str | None
    tag: str | None
    key: str | None
    since: str | None
    older_than: str | None
    ended_before: str | None
    everything: bool

    @property
    def given(self) -> bool:
        """Whether there is one: none is not everything."""
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]
        return any(value is not None and value is not False and value != [] for value in values)


async def read_filter(runtime: Runtime, options: FilterOptions) -> JobFilter:
    """
    Raises:
        NotFound, AmbiguousId, BadInput: it names what is not there, or no time.
    """
    listed = runtime.catalogue.find(options.endpoint) if options.endpoint else None
    now = dt.datetime.now(dt.UTC)
    async with runtime.database.begin() as session:
        return JobFilter(
            states=options.states or None,
            reasons=options.reasons or None,
            endpoint=listed.id if listed else options.endpoint,
            campaign_id=await resolve_id(session, "campaigns", options.campaign)
            if options.campaign is not None
            else None,
            tag=options.tag,
            key_id=await resolve_id(session, "api_keys", options.key)
            if options.key is not None
            else None,
            created_after=read_time("--since", options.since, now=now),
            created_before=read_time("--older-than", options.older_than, now=now),
            ended_before=read_time("--ended-before", options.ended_before, now=now),
        )


async def act_on_many(
    runtime: Runtime,
    verb: Verb,
    wanted: JobFilter,
    *,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    priority: int | None = None,
    wait: bool = False,
) -> None:
    """Show what it comes to, ask, and do it. Interrupted, it says how to go on."""
    asked = {name: _plain(value) for name, value in _given(wanted).items()}
    narrowed = narrow(verb, wanted, priority=priority)
    first = Bulk(verb, narrowed, priority=priority, asked={"filter": asked})
    told = await preview(runtime, first)
    if verb is Verb.RETRY and wanted.ended_before is None:
        # What fails anew while this runs, and in a run that goes on with it, is not sent again.
        narrowed = dataclasses.replace(narrowed, ended_before=told.ended_before)
    elif verb is not Verb.RETRY and wanted.created_before is None:
        # What comes while the question is read was not in it.
        narrowed = dataclasses.replace(narrowed, created_before=told.ended_before)
    bulk = dataclasses.replace(first, wanted=narrowed)
    notes.print(say_preview(verb, told), soft_wrap=True)
    done = 0
    if told.total.jobs and dry_run:
        notes.print("nothing was done")
    elif told.total.jobs:
        confirm(f"{verb.capitalize()} {told.total.jobs:,} jobs?", yes=yes)
        done = await _walk(runtime, bulk, told)
        notes.print(f"{done:,} jobs are {DONE[verb]}")
        if wait:
            await follow_cancels(
                runtime, dataclasses.replace(wanted, states=OPEN, cancel_asked=True)
            )
    if as_json:
        total = told.total
        print_json(
            {
                "count": total.jobs,
                "estimate_usd": float(total.estimate_usd) if verb is Verb.RETRY else None,
                "unpriced": total.unpriced if verb is Verb.RETRY else None,
                "sample": told.sample,
                "done": done,
                "dry_run": dry_run,
            }
        )


async def _walk(runtime: Runtime, bulk: Bulk, told: Preview) -> int:
    done, last = 0, None
    with make_bar() as progress:
        shown = progress.add_task(bulk.verb.value, total=told.total.jobs)
        try:
            while True:
                one = await step(runtime, bulk, after=last, by=cli_actor())
                done, last = done + one.done, one.last
                progress.advance(shown, one.done)
                if last is None:
                    return done
        except (asyncio.CancelledError, DatabaseUnavailable):
            progress.stop()
            more = ""
            if bulk.verb is Verb.RETRY and bulk.wanted.ended_before is not None:
                more = f", with --ended-before {bulk.wanted.ended_before.isoformat()}"
            out_of = f"{done:,} of {told.total.jobs:,} jobs are {DONE[bulk.verb]}"
            notes.print(f"{out_of}; the same command goes on{more}", soft_wrap=True)
            raise


def say_preview(verb: Verb, told: Preview) -> str:
    """What it comes to, and which jobs are first."""
    total = told.total
    if not total.jobs:
        return "no job fits"
    said = f"{total.jobs:,} jobs fit"
    if verb is Verb.RETRY:
        said += f", about {say_usd(total.estimate_usd)} again"
        said += f", and {total.unpriced:,} without a known price" if total.unpriced else ""
    named = "  ".join(say_id(one) for one in told.sample)
    more = " ..." if total.jobs > len(told.sample) else ""
    return escape(f"{said}: {named}{more}")


def _given(wanted: JobFilter) -> dict[str, Any]:
    return {
        field.name: value
        for field in dataclasses.fields(wanted)
        if (value := getattr(wanted, field.name)) is not None
    }


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return [str(one) for one in value]
    return value if isinstance(value, int) else str(value)
