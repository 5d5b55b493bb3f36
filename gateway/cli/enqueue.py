"""A campaign's file, read twice: once to check and price every line, once to enqueue them.

It may have millions of lines, so neither reading holds more than a batch. A second reading that is
cut short leaves the first so many lines enqueued, none twice, and can be taken up after them.
"""

import asyncio
import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.markup import escape
from rich.progress import Progress as Bar

from endpoints.catalogue import Catalogue
from gateway.cli.console import USAGE, fail, notes
from models.campaign import close_campaign
from models.errors import DatabaseUnavailable
from models.fairness import USUAL
from models.job import OnUnknown
from tasks.campaigns.plan import Plan
from tasks.campaigns.prompt_file import FileFormat, PromptFileError, PromptLine, read_prompts
from tasks.input_parts import overlay, prompt_input
from tasks.intake import Checked, InvalidRequest, Request, check_request, enqueue
from workers.runtime import Runtime

BATCH = 500  # jobs a statement
CHECKED_AT_ONCE = 2_000  # lines, between two looks at Ctrl-C


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A campaign's file, and what is said of every line of it."""

    path: Path
    endpoint: str
    sets: dict[str, Any]
    on_unknown: OnUnknown
    priority: int = USUAL
    prompt_column: str | None = None
    format: FileFormat | None = None

    def lines(self) -> Iterator[PromptLine]:
        return read_prompts(self.path, prompt_column=self.prompt_column, format=self.format)

    def check(
        self,
        catalogue: Catalogue,
        line: PromptLine,
        *,
        campaign_id: UUID | None = None,
        due_seconds: float = 0.0,
    ) -> Checked:
        """
        Args:
            due_seconds: until it may be sent.

        Raises:
            InvalidRequest: the endpoint does not take this line.
        """
        values = dict(line.input)
        prompt = values.get("prompt")
        if isinstance(prompt, str) and "messages" not in values:
            del values["prompt"]
            values = prompt_input(catalogue.find(self.endpoint), prompt) | values
        request = Request(
            endpoint=self.endpoint,
            input=overlay(values, self.sets),
            campaign_id=campaign_id,
            position=line.line,
            priority=self.priority,
            due_seconds=due_seconds,
        )
        return check_request(catalogue, request, on_unknown=self.on_unknown)


def add_lines(plan: Plan, catalogue: Catalogue, source: Source, lines: Iterable[PromptLine]) -> int:
    """Hold lines against the catalogue, and add up what they cost; returns how many came.

    A line from which the file cannot be read on is the last.
    """
    came = 0
    try:
        for line in lines:
            came += 1
            try:
                plan.take(source.check(catalogue, line))
            except InvalidRequest as error:
                plan.refuse(f"{source.path}:{line.line}", error.problems)
    except PromptFileError as error:
        plan.refuse("", [str(error)])
    return came


async def plan_file(runtime: Runtime, source: Source) -> Plan:
    """Check and price every line; says what is wrong, and ends the command, if anything is."""
    plan, lines, read = Plan(), source.lines(), 0
    with notes.status(f"checking {escape(str(source.path))}") as spinner:
        while came := await asyncio.to_thread(
            add_lines,
            plan,
            runtime.catalogue,
            source,
            itertools.islice(lines, CHECKED_AT_ONCE),
        ):
            read += came
            spinner.update(f"checking {escape(str(source.path))}: {read:,} lines")
    if plan.problems:
        for problem in plan.problems:
            notes.print(problem, style="red", markup=False, soft_wrap=True)
        more = plan.problem_count - len(plan.problems)
        if more:
            notes.print(f"... and {more:,} more", style="red")
        fail(f"problems in {source.path}: {plan.problem_count:,}; nothing was enqueued", code=USAGE)
    return plan


async def enqueue_file(
    runtime: Runtime,
    source: Source,
    *,
    campaign_id: UUID,
    jobs: int,
    after_line: int = 0,
    over_seconds: float = 0.0,
) -> None:
    """Enqueue the lines that come after `after_line`, then fix the campaign's total.

    Cut short, it says exactly how far it came, and how to go on or to undo it.

    Args:
        jobs: in the whole file.
        over_seconds: from the first to the last that may be sent, evenly.
    """
    began, gap, place = time.monotonic(), over_seconds / max(jobs - 1, 1), itertools.count()

    def pace() -> float:
        """Seconds until the next may be sent; enqueuing takes time, too."""
        return max(next(place) * gap - (time.monotonic() - began), 0.0) if gap else 0.0

    lines = (line for line in source.lines() if line.line > after_line)
    try:
        with Bar(console=notes, transient=True, disable=not notes.is_terminal) as bar:
            shown = bar.add_task("enqueuing", total=jobs)
            while batch := list(itertools.islice(lines, BATCH)):
                await enqueue(
                    runtime,
                    [
                        source.check(
                            runtime.catalogue, line, campaign_id=campaign_id, due_seconds=pace()
                        ).job
                        for line in batch
                    ],
                )
                bar.advance(shown, len(batch))
    except BaseException:
        enqueued = await asyncio.shield(_count_enqueued(runtime, campaign_id))
        notes.print(
            f"[red]{enqueued} of {jobs:,} jobs were enqueued[/red], and run. The rest: the same "
            f"command with [bold]--resume {campaign_id}[/bold]; to undo it: "
            f"[bold]pressroom campaign cancel {campaign_id}[/bold]",
            soft_wrap=True,
        )
        raise
    async with runtime.database.begin() as session:
        await close_campaign(session, campaign_id)


async def _count_enqueued(runtime: Runtime, campaign_id: UUID) -> str:
    try:
        async with runtime.database.begin() as session:
            return f"{await close_campaign(session, campaign_id):,}"
    except DatabaseUnavailable:
        return "some (PostgreSQL does not say how many)"
