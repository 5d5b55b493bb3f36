"""Whether a fault's bars are met: nothing lost, nothing billed twice unreported, moving again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.job import JobState
from scripts.faults.fault import Fault
from scripts.faults.measure import Outcome
from scripts.faults.row import MOVING_SECONDS, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """
    Attributes:
        excused: how many may end in a state other than completed, by the state.
        moving_again: seconds from the fault's end; None: nothing moved.
        done: the same; None: not all had ended when they were waited for no longer.
    """

    outcome: Outcome
    excused: Mapping[JobState, int]
    moving_again: float | None
    done: float | None

    @property
    def lost(self) -> int:
        """How many are not completed, but for those that may end so."""
        ends = self.outcome.ends
        pardoned = sum(min(ends.get(state, 0), most) for state, most in self.excused.items())
        return sum(ends.values()) - pardoned


def find_complaints(fault: Fault, measured: Measured) -> list[str]:
    """Every bar that was missed, and by what."""
    outcome, moving_again = measured.outcome, measured.moving_again
    said = []
    if measured.lost:
        ends = ", ".join(f"{count} {state}" for state, count in outcome.ends.items() if count)
        said.append(f"not completed: {ends}")
    if outcome.unbilled:
        said.append(f"{outcome.unbilled} completed jobs never ran upstream")
    if outcome.strangers:
        said.append(f"{outcome.strangers} jobs are there that nobody handed in")
    if fault.doubles and outcome.billed_twice != outcome.unknown:
        said.append(f"billed twice {outcome.billed_twice}, reported as maybe so {outcome.unknown}")
    if not fault.doubles and outcome.billed_twice:
        said.append(f"billed twice {outcome.billed_twice}, and webhooks came")
    if moving_again is None or moving_again > MOVING_SECONDS:
        said.append(f"nothing moved within {MOVING_SECONDS:g} s of the fault's end")
    if measured.done is None:
        said.append("not all had ended when they were waited for no longer")
    return said


def judge(fault: Fault, measured: Measured, *, jobs: int, complaints: Sequence[str]) -> Row:
    """The fault's row.

    Args:
        complaints: everything that was found to be wrong; with any, the bar is missed.
    """
    outcome, moving_again, done = measured.outcome, measured.moving_again, measured.done
    return Row(
        fault=fault.name,
        jobs=jobs,
        completed=outcome.completed,
        lost=measured.lost,
        billed=outcome.billed,
        billed_twice=outcome.billed_twice,
        unknown=outcome.unknown,
        moving_again_s=None if moving_again is None else round(moving_again, 1),
        done_s=None if done is None else round(done, 1),
        met=not complaints,
    )
