"""What is wrong now, in plain words, and what to do: by the facts that the alerts go by.

An alert waits until what is wrong has lasted (`deploy/prometheus/rules.yaml`), so as to wake nobody
for nothing. Who looks at the floor is told at once.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Literal

from gateway.fact_families import Facts
from gateway.words import say_seconds
from models.job import JobState

UNSENT_SECONDS = 120
UNREAD_SECONDS = 600
UNCOPIED_SECONDS = 86_400
DISK_BYTES = 2e9
DOUBTED_USD = 1  # of what was sent within an hour
RUNBOOKS = "docs/runbooks/"


@dataclass(frozen=True, slots=True)
class Alarm:
    """
    Attributes:
        do: the first thing to do about it.
        runbook: a page of `docs/runbooks`, which says the rest; None: there is none.
    """

    severity: Literal["critical", "warning"]
    says: str
    do: str
    runbook: str | None = None

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        page = f"{RUNBOOKS}{self.runbook}.md" if self.runbook else None
        return {**asdict(self), "runbook": page}


@dataclass(frozen=True, slots=True)
class Losses:
    """What the facts do not tell.

    Attributes:
        doubted_usd: what may have been billed in vain, of what was sent within an hour.
        words_given_up: webhooks and words to Celery that were given up within a day.
    """

    doubted_usd: Decimal = Decimal()
    words_given_up: int = 0


def find_alarms(facts: Facts, losses: Losses, *, operates: bool) -> list[Alarm]:
    """The worst first.

    Args:
        operates: who asks may know of everybody's money and webhooks.
    """
    found = [*_of_servers(facts), *_of_workers(facts), *_of_lanes(facts), *_of_files(facts)]
    if operates:
        found += [*_of_money(facts, losses), *_of_words(losses)]
    return sorted(found, key=lambda alarm: alarm.severity)  # critical, warning


def _of_servers(facts: Facts) -> Iterator[Alarm]:
    for (server,), up in facts.values("pressroom_up").items():
        if not up:
            names = {"postgres": "PostgreSQL", "redis": "Redis"}
            says = f"{names.get(server, server)} does not answer the gateway."
            yield Alarm("critical", says, "See whether it runs: pressroom doctor.", "server-away")
    free = _most(facts, "pressroom_disk_free_bytes")
    if free is not None and free < DISK_BYTES:
        says = f"{free / 1e9:.1f} GB are free where the data is."
        yield Alarm("critical", says, "Make room, or move the files to a bucket.", "disk-low")


def _of_workers(facts: Facts) -> Iterator[Alarm]:
    workers = facts.values("pressroom_workers")
    silent, troubled = workers.get(("silent",), 0), workers.get(("troubled",), 0)
    if workers and not workers.get(("well",), 0) + troubled:
        yield Alarm(
            "critical",
            "No worker shows a sign of life: nothing is sent, and results are not fetched.",
            "Start some: pressroom up, or pressroom workers resume NAME.",
            "no-workers",
        )
    elif silent or troubled:
        said = [f"{_count(silent, 'worker is', 'workers are')} silent"] if silent else []
        said += [f"{_count(troubled, 'worker has', 'workers have')} no thread free"] * bool(
            troubled
        )
        yield Alarm(
            "warning",
            f"{'; '.join(said)}.",
            "See which: pressroom workers list. One that was stopped is forgotten in ten minutes.",
            "workers-unwell",
        )
    if _most(facts, "pressroom_sweep_missing"):
        yield Alarm(
            "critical",
            "Nobody sweeps: what dead workers held is not seen to.",
            "Start beat, or a worker: either sweeps.",
            "no-sweep",
        )


def _of_lanes(facts: Facts) -> Iterator[Alarm]:
    for (endpoint,), seconds in facts.values("pressroom_unsent_seconds").items():
        if seconds > UNSENT_SECONDS:
            yield Alarm(
                "critical",
                f"Jobs of {endpoint} have been due for {say_seconds(seconds)}, and none is sent.",
                "Look at its lane below: why it waits stands there.",
                "work-not-moving",
            )
    for (stage, endpoint, why), blocked in facts.values("pressroom_lane_blocked").items():
        if not blocked or why != "closed":
            continue
        if stage == "archive":
            says = f"Files of {endpoint} cannot be stored."
            yield Alarm("critical", says, "See whether the store takes files.", "store-refuses")
        else:
            yield Alarm(
                "warning",
                f"The {stage} lane of {endpoint} is closed: no call of it is answered.",
                "It opens by itself with the first call that is. The reason stands at the lane.",
                "lane-closed",
            )


def _of_files(facts: Facts) -> Iterator[Alarm]:
    unread = _most(facts, "pressroom_oldest_unread_seconds") or 0
    if unread > UNREAD_SECONDS:
        yield Alarm(
            "critical",
            f"A result may have been unread for {say_seconds(unread)}; the upstream keeps it for "
            "half an hour.",
            "See that the poll lanes are open and that workers run.",
            "results-unread",
        )
    uncopied = _most(facts, "pressroom_oldest_uncopied_seconds") or 0
    if uncopied > UNCOPIED_SECONDS:
        yield Alarm(
            "warning",
            f"A file has not been stored for {say_seconds(uncopied)}; the upstream keeps it for "
            "seven days.",
            "See why the archive lane waits.",
            "files-uncopied",
        )


def _of_money(facts: Facts, losses: Losses) -> Iterator[Alarm]:
    for (budget,), reached in facts.values("pressroom_budget_reached").items():
        if reached:
            yield Alarm(
                "warning",
                f"The budget {budget} is used up: a job did not fit.",
                "Raise it under Money, or wait for its next period.",
                "budget-reached",
            )
    unknown = sum(
        jobs
        for (_, state), jobs in facts.values("pressroom_jobs").items()
        if state == JobState.UNKNOWN
    )
    doubted = losses.doubted_usd > DOUBTED_USD
    if unknown or doubted:
        said = [f"{_count(unknown, 'reply', 'replies')} to /run went missing"] if unknown else []
        said += [f"${losses.doubted_usd:.2f} may have been billed in vain within an hour"] * doubted
        yield Alarm(
            "warning",
            f"{'; '.join(said)}.",
            "Each job's own policy decides whether it is sent again. See pressroom jobs doubts.",
            "unknown-outcomes",
        )


def _of_words(losses: Losses) -> Iterator[Alarm]:
    if losses.words_given_up:
        yield Alarm(
            "warning",
            f"{_count(losses.words_given_up, 'delivery was', 'deliveries were')} given up within a "
            "day: their receiver did not take them.",
            "Mend the receiver, then send them again from their job's page.",
        )


def _most(facts: Facts, name: str) -> float | None:
    return max(facts.values(name).values(), default=None)


def _count(number: float, one: str, many: str) -> str:
    return f"{number:,.0f} {one if number == 1 else many}"
