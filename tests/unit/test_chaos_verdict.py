"""A bar that is missed is seen to be missed."""

import dataclasses

import pytest

from models.job import JobState
from scripts.faults.fault import fault
from scripts.faults.measure import Outcome
from scripts.faults.verdict import Measured, find_complaints, judge

WELL = Outcome(
    completed=100, ends={}, billed=100, billed_twice=0, unknown=0, unbilled=0, strangers=0
)


@fault()
async def heard(_scene):
    """Webhooks come."""


@fault(doubles=True)
async def unheard(_scene):
    """None do."""


def verdict(of=heard, *, excused=None, moving_again=0.2, done=5.0, **changes):
    measured = Measured(
        outcome=dataclasses.replace(WELL, **changes),
        excused=excused or {},
        moving_again=moving_again,
        done=done,
    )
    complaints = find_complaints(of, measured)
    return judge(of, measured, jobs=100, complaints=complaints), complaints


@pytest.mark.parametrize(
    ("of", "changes"),
    [
        (heard, {}),
        (heard, {"unknown": 3}),  # reported, and not so
        (unheard, {"billed_twice": 3, "unknown": 3}),
        (heard, {"moving_again": 10.0}),
        (heard, {"completed": 98, "ends": {"lost": 2}, "excused": {JobState.LOST: 2}}),
    ],
)
def test_the_bar_is_met(of, changes):
    row, complaints = verdict(of, **changes)

    assert (row.met, row.lost, complaints) == (True, 0, [])


@pytest.mark.parametrize(
    ("of", "changes", "said"),
    [
        (heard, {"ends": {"failed": 1}}, "not completed: 1 failed"),
        (heard, {"ends": {"file lost": 1}}, "not completed: 1 file lost"),
        (heard, {"ends": {"lost": 3}, "excused": {JobState.LOST: 2}}, "not completed: 3 lost"),
        (heard, {"ends": {"failed": 1}, "excused": {JobState.LOST: 2}}, "not completed: 1 failed"),
        (heard, {"billed_twice": 1, "unknown": 1}, "billed twice 1, and webhooks came"),
        (unheard, {"billed_twice": 2, "unknown": 1}, "billed twice 2, reported as maybe so 1"),
        (unheard, {"billed_twice": 1, "unknown": 2}, "billed twice 1, reported as maybe so 2"),
        (heard, {"unbilled": 1}, "1 completed jobs never ran"),
        (heard, {"strangers": 1}, "1 jobs are there that nobody handed in"),
        (heard, {"moving_again": 10.1}, "nothing moved within 10 s"),
        (heard, {"moving_again": None}, "nothing moved within 10 s"),
        (heard, {"done": None}, "not all had ended"),
    ],
)
def test_the_bar_is_missed_and_it_is_said_by_what(of, changes, said):
    row, complaints = verdict(of, **changes)

    assert not row.met
    assert [one for one in complaints if one.startswith(said)], complaints


def test_a_fault_is_called_by_its_function_and_described_by_its_docstring():
    assert (heard.name, heard.says) == ("heard", "Webhooks come.")


def test_more_than_may_be_lost_are_lost():
    row, _ = verdict(ends={"lost": 5, "failed": 1}, excused={JobState.LOST: 2})

    assert row.lost == 4
