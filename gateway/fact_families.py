"""The facts that are told to Prometheus: their names, their labels, and what each is."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric


@dataclass(frozen=True)
class Family:
    """One metric, and its values by their labels."""

    text: str
    labels: tuple[str, ...] = ()
    counter: bool = False
    values: dict[tuple[str, ...], float] = field(default_factory=dict)

    def add(self, value: float, *labels: str) -> None:
        self.values[labels] = self.values.get(labels, 0.0) + value

    def at_least(self, value: float, *labels: str) -> None:
        """Of several endpoints that have one label, the largest."""
        self.values[labels] = max(self.values.get(labels, -math.inf), value)


def make_families() -> dict[str, Family]:
    """Every fact by its name, without values."""
    lane = ("stage", "endpoint")
    return {
        "pressroom_up": Family("Whether a server answered when it was asked.", ("server",)),
        "pressroom_facts_seconds": Family("How long it took to read these facts."),
        "pressroom_disk_free_bytes": Family("Free where PRESSROOM_DATA_DIR of the gateway is."),
        "pressroom_jobs": Family("Jobs that have not ended, by state.", ("endpoint", "state")),
        "pressroom_jobs_queued": Family(
            "Jobs that came to be queued: handed in, or sent again.", ("endpoint",), counter=True
        ),
        "pressroom_jobs_ended": Family(
            "Jobs that ended, by how.", ("endpoint", "end"), counter=True
        ),
        "pressroom_spend_usd": Family(
            "What jobs that ended cost, as the upstream named it.", ("endpoint",), counter=True
        ),
        "pressroom_oldest_due_seconds": Family(
            "For how long the first row of a lane has been due; of submit, the oldest queued job.",
            lane,
        ),
        "pressroom_unsent_seconds": Family(
            "For how long jobs have been due without any being sent; "
            "paused lanes and maintenance aside.",
            ("endpoint",),
        ),
        "pressroom_lane_blocked": Family(
            "Whether a lane with due work is paused, or was closed and no call answered since.",
            (*lane, "why"),
        ),
        "pressroom_lane_cooldown_seconds": Family("Until a closed lane tries again.", lane),
        "pressroom_quota_used": Family(
            "Calls that count against the upstream's limit now.", ("operation", "endpoint")
        ),
        "pressroom_quota_limit": Family(
            "That limit, a window; a lower one if refusals taught it.", ("operation", "endpoint")
        ),
        "pressroom_oldest_unread_seconds": Family(
            "Longest since the upstream spoke of a job in flight; by the upstream's clock."
        ),
        "pressroom_oldest_uncopied_seconds": Family(
            "Since the oldest file that is not stored was named; by the upstream's clock."
        ),
        "pressroom_files_to_copy": Family("Files that are still to be stored."),
        "pressroom_files_amiss": Family(
            "Files that the store lost, that died in the last day, that workers died of.",
            ("what",),
        ),
        "pressroom_doubts": Family(
            "Attempts that may have been billed beside another (twice), for nothing (unused), were "
            "billed twice (certain), or were said not to be (denied).",
            ("kind",),
        ),
        "pressroom_doubts_usd": Family("What these would have cost.", ("kind",)),
        "pressroom_budget_limit_usd": Family(
            "Budgets that are no campaign's, the fullest hundred.", ("budget",)
        ),
        "pressroom_budget_left_usd": Family(
            "What is left of each, neither spent nor reserved.", ("budget",)
        ),
        "pressroom_budget_reached": Family(
            "Whether a job did not fit in its present period.", ("budget",)
        ),
        "pressroom_workers": Family(
            "Workers: well, silent for 30 s (dead or stopped), or troubled (all threads busy).",
            ("state",),
        ),
        "pressroom_sweep_missing": Family("Whether no sweep ran in the last ten seconds."),
        "pressroom_bells_pending": Family(
            "Lanes whose bell was rung and not answered.", ("stage",)
        ),
        "pressroom_bells_overdue": Family("Of these, those whose time is past.", ("stage",)),
        "pressroom_queue_messages": Family("Messages that wait in a queue of Celery.", ("queue",)),
    }


class Facts:
    """A collector of what was read at one time."""

    def __init__(self, families: Mapping[str, Family]) -> None:
        self._families = families

    def values(self, name: str) -> Mapping[tuple[str, ...], float]:
        """Of one fact, by its labels; none if it could not be read."""
        family = self._families.get(name)
        return family.values if family else {}

    def collect(self) -> Iterable[Metric]:
        for name, family in self._families.items():
            make = CounterMetricFamily if family.counter else GaugeMetricFamily
            metric = make(name, family.text, labels=family.labels)
            for labels, value in family.values.items():
                metric.add_metric(labels, value)
            yield metric
