"""What a campaign comes to, before a cent is spent: how many, how dear, how long, what is wrong."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from endpoints.catalogue import Basis, Catalogue
from models.job import OnUnknown
from tasks.campaigns.items import BadItem, Item, Items
from tasks.campaigns.prompt_file import PromptFileError
from tasks.campaigns.spec import CampaignSpec, PromptFile
from tasks.intake import Checked, InvalidRequest, Request, check_request, read_deadlines

PROBLEMS_KEPT = 20


@dataclass(slots=True)
class Plan:
    """
    Attributes:
        usd: of the jobs whose price is known; as exact as `bases` say.
        repeated: jobs that ask for the same as one before them.
        fingerprints: of those with a fixed seed; whoever looks for their results takes them out.
        problems: the first of them, each with its place.
    """

    jobs: int = 0
    usd: Decimal = Decimal()
    unpriced: int = 0
    bases: set[Basis] = field(default_factory=set)
    per_endpoint: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    first: Item | None = None
    last: Item | None = None
    fingerprints: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0
    _seen: set[bytes] = field(default_factory=set)
    _ids: set[str] = field(default_factory=set)

    @property
    def exact(self) -> bool:
        return self.bases == {Basis.EXACT} and not self.unpriced

    @property
    def bound(self) -> bool:
        """It can cost no more than `usd`."""
        return self.bases <= {Basis.EXACT, Basis.CEILING} and not self.unpriced

    def take(self, checked: Checked) -> None:
        """A request that may be enqueued."""
        job = checked.job
        self.jobs += 1
        self.per_endpoint[job.endpoint] += 1
        if job.fingerprint is not None:
            self.fingerprints.append(job.fingerprint)
        if checked.estimate.usd is None:
            self.unpriced += 1
        else:
            self.usd += checked.estimate.usd
            self.bases.add(checked.estimate.basis)

    def refuse(self, place: str, problems: Iterable[str]) -> None:
        """A request, or a whole file, that cannot be used."""
        for problem in problems:
            self.problem_count += 1
            if len(self.problems) < PROBLEMS_KEPT:
                self.problems.append(f"{place}: {problem}" if place else problem)

    def add(self, catalogue: Catalogue, spec: CampaignSpec, items: Iterable[Item | BadItem]) -> int:
        """Take or refuse each; returns how many came.

        What the file has no more of, or cannot be read from on, is the end.
        """
        came = 0
        try:
            for item in items:
                came += 1
                if isinstance(item, BadItem):
                    self.refuse("", [item.problem])
                    continue
                self.first, self.last = self.first or item, item
                try:
                    self.take(check_item(catalogue, spec, item))
                except InvalidRequest as error:
                    self.refuse(item.place, error.problems)
                self._note_repeats(item)
        except PromptFileError as error:
            self.refuse("", [str(error)])
        return came

    def least_seconds(self, per_second: Mapping[str, float]) -> float:
        """What the limits of the endpoints allow at best."""
        return max((jobs / per_second[name] for name, jobs in self.per_endpoint.items()), default=0)

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "jobs": self.jobs,
            "per_endpoint": dict(self.per_endpoint),
            "estimate_usd": None if self.unpriced == self.jobs else float(self.usd),
            "exact": self.exact,
            "bound": self.bound,
            "unpriced": self.unpriced,
            "repeated": self.repeated,
            "problems": self.problems,
            "problem_count": self.problem_count,
        }

    def _note_repeats(self, item: Item) -> None:
        asked = orjson.dumps([item.endpoint, item.input], option=orjson.OPT_SORT_KEYS)
        digest = hashlib.blake2b(asked, digest_size=8).digest()
        self.repeated += digest in self._seen
        self._seen.add(digest)
        if item.custom_id is not None:
            if item.custom_id in self._ids:
                self.refuse(item.place, [f"id: {item.custom_id!r} is another item's, too"])
            self._ids.add(item.custom_id)


def check_item(
    catalogue: Catalogue,
    spec: CampaignSpec,
    item: Item,
    *,
    on_unknown: OnUnknown = OnUnknown.RESUBMIT,
    **options: Any,  # noqa: ANN401
) -> Checked:
    """
    Args:
        on_unknown: if the specification does not say.
        options: fields of `Request` besides.

    Raises:
        InvalidRequest: the endpoint does not take it.
    """
    retry = spec.retry
    request = Request(
        endpoint=item.endpoint,
        input=item.input,
        position=item.position,
        custom_id=item.custom_id,
        priority=spec.priority,
        **read_deadlines(retry.start_within, retry.finish_within),
        **options,
    )
    return check_request(catalogue, request, on_unknown=retry.on_unknown or on_unknown)


def plan_inline(catalogue: Catalogue, spec: CampaignSpec, *, most_jobs: int) -> Plan:
    """Of a specification that has all its rows in itself.

    Args:
        most_jobs: that are looked at, and allowed.
    """
    if isinstance(spec.prompts, PromptFile):
        plan = Plan()
        plan.refuse("", ["prompts: a list was wanted, a file came"])
        return plan
    return plan_items(catalogue, spec, Items(spec, catalogue, folder=Path()), most_jobs=most_jobs)


def plan_items(catalogue: Catalogue, spec: CampaignSpec, items: Items, *, most_jobs: int) -> Plan:
    """Of a specification whose rows can be read.

    Args:
        most_jobs: that are looked at, and allowed.
    """
    plan = Plan()
    if plan.add(catalogue, spec, itertools.islice(items.read(), most_jobs + 1)) > most_jobs:
        plan.refuse("", [f"more than {most_jobs:,} jobs came, so many are taken here"])
    plan.refuse("", too_many(plan, spec))
    return plan


def too_many(plan: Plan, spec: CampaignSpec) -> Sequence[str]:
    """Why it may not be started although each item is right."""
    if plan.jobs <= spec.max_jobs:
        return []
    return [f"max_jobs: {plan.jobs:,} jobs came, at most {spec.max_jobs:,} were wanted"]
