"""As much of Prometheus as the alerts need: samples, expressions, and how long they have held.

The expressions are read by a parser of PromQL (promql-parser), and evaluated here: selectors,
rate and delta, sum, max and min, division and comparisons. What else comes is refused.
"""

import itertools
import math
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import promql_parser as promql

LOOKBACK_SECONDS = 300.0  # a sample is the last for so long

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
GONE = math.nan  # a series that was not in the scrape after

AGGREGATES: Mapping[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}
COMPARISONS = {">": operator.gt, "<": operator.lt, "==": operator.eq}


@dataclass
class Samples:
    """Every series, and its values by the time in seconds."""

    series: dict[tuple[str, Labels], list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(self, at: float, name: str, labels: Mapping[str, str], value: float) -> None:
        self.series[name, frozenset(labels.items())].append((at, value))

    def select(
        self, selector: promql.VectorSelector, at: float, seconds: float
    ) -> Iterator[tuple[Labels, list[tuple[float, float]]]]:
        for (name, labels), values in self.series.items():
            if name == selector.name and _match(selector, dict(labels)):
                within = [one for one in values if at - seconds < one[0] <= at]
                if within and not math.isnan(within[-1][1]):
                    yield labels, [one for one in within if not math.isnan(one[1])]


def _match(selector: promql.VectorSelector, labels: Mapping[str, str]) -> bool:
    for matcher in selector.matchers.matchers:
        found = labels.get(matcher.name, "")
        how = str(matcher.op)
        equal = (
            re.fullmatch(matcher.value, found) is not None
            if "Re" in how
            else found == matcher.value
        )
        if equal == ("Not" in how):
            return False
    return True


def evaluate(samples: Samples, expression: promql.Expr, at: float) -> Vector | float:
    match expression:
        case promql.NumberLiteral():
            return float(expression.val)
        case promql.ParenExpr():
            return evaluate(samples, expression.expr, at)
        case promql.VectorSelector():
            selected = samples.select(expression, at, LOOKBACK_SECONDS)
            return {labels: values[-1][1] for labels, values in selected}
        case promql.Call():
            return _call(samples, expression, at)
        case promql.AggregateExpr():
            return _aggregate(samples, expression, at)
        case promql.BinaryExpr():
            return _combine(
                str(expression.op),
                evaluate(samples, expression.lhs, at),
                evaluate(samples, expression.rhs, at),
            )
    raise NotImplementedError(f"{type(expression).__name__} in an alert")


def _call(samples: Samples, call: promql.Call, at: float) -> Vector:
    [matrix] = call.args
    seconds = matrix.range.total_seconds()
    result: Vector = {}
    for labels, values in samples.select(matrix.vector_selector, at, seconds):
        if len(values) < 2:
            continue
        steps = itertools.pairwise(values)
        if call.func.name == "rate":
            # A counter that falls began anew.
            grown = sum(new - old if new >= old else new for (_, old), (_, new) in steps)
            result[labels] = grown / (values[-1][0] - values[0][0])
        elif call.func.name == "delta":
            result[labels] = values[-1][1] - values[0][1]
        else:
            raise NotImplementedError(f"{call.func.name} in an alert")
    return result


def _aggregate(samples: Samples, aggregate: promql.AggregateExpr, at: float) -> Vector:
    vector = evaluate(samples, aggregate.expr, at)
    assert isinstance(vector, dict)
    kept = set(aggregate.modifier.labels) if aggregate.modifier else set()
    groups: dict[Labels, list[float]] = defaultdict(list)
    for labels, value in vector.items():
        groups[frozenset(one for one in labels if one[0] in kept)].append(value)
    fold = AGGREGATES[str(aggregate.op)]
    return {labels: float(fold(values)) for labels, values in groups.items()}


def _combine(sign: str, left: Vector | float, right: Vector | float) -> Vector:
    assert isinstance(left, dict)
    if sign == "/":
        assert isinstance(right, dict)
        pairs = {labels: (value, right.get(labels)) for labels, value in left.items()}
        return {labels: one / other for labels, (one, other) in pairs.items() if other}
    assert isinstance(right, float)
    holds = COMPARISONS[sign]
    return {labels: value for labels, value in left.items() if holds(value, right)}


@dataclass
class Alert:
    """A rule of a file, and since when its expression has held, by its labels."""

    name: str
    expression: promql.Expr
    for_seconds: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    since: dict[Labels, float] = field(default_factory=dict)

    @classmethod
    def from_rule(cls, rule: Mapping[str, object]) -> "Alert":
        return cls(
            name=str(rule["alert"]),
            expression=promql.parse(str(rule["expr"])),
            for_seconds=promql.parse_duration(str(rule["for"])).total_seconds(),
            labels=rule["labels"],  # type: ignore[arg-type]
            annotations=rule["annotations"],  # type: ignore[arg-type]
        )

    def look(self, samples: Samples, at: float) -> list[Labels]:
        """Those that fire at a time; to be asked in the order of times."""
        holds = evaluate(samples, self.expression, at)
        assert isinstance(holds, dict)
        self.since = {labels: self.since.get(labels, at) for labels in holds}
        return [labels for labels, since in self.since.items() if at - since >= self.for_seconds]

    def say(self, labels: Labels) -> dict[str, str]:
        """Its annotations, with labels filled in."""
        known = dict(labels)
        return {
            name: re.sub(r"{{ \$labels\.(\w+) }}", lambda found: known.get(found[1], ""), text)
            for name, text in self.annotations.items()
        }
