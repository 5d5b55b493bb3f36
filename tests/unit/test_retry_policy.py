"""The table of what is sent again: waits that grow to a bound, and ends that are all in it."""

import pytest

from models.job import TERMINAL, JobState, Reason
from tasks.retry_policy import (
    CANCEL,
    ENDS,
    FAULT,
    UNKNOWN,
    VANISHED,
    Retry,
    find_advice,
    write_table,
)

POLICIES = {"fault": FAULT, "unknown": UNKNOWN, "vanished": VANISHED, "cancel": CANCEL}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("sends", [1, 2, 3, 7, 40, 10_000])
def test_a_wait_is_never_longer_than_the_longest_and_half_as_much_again(policy, sends):
    waits = [policy.wait_seconds(sends) for _ in range(50)]

    assert min(waits) >= 0
    assert max(waits) <= 1.5 * policy.longest_seconds


@pytest.mark.parametrize(
    ("sends", "middle"), [(1, 2.0), (2, 4.0), (3, 8.0), (4, 16.0), (5, 30.0), (9, 30.0)]
)
def test_each_wait_is_twice_the_one_before_it_with_jitter(monkeypatch, sends, middle):
    bounds = []

    def draw(low, high):
        bounds.append((low, high))
        return 1.0

    monkeypatch.setattr("tasks.retry_policy.random.uniform", draw)

    assert FAULT.wait_seconds(sends) == middle
    assert bounds == [(0.5, 1.5)]


def test_waits_of_many_jobs_are_spread():
    assert len({FAULT.wait_seconds(3) for _ in range(20)}) > 1


@pytest.mark.parametrize(
    ("policy", "sends", "needs_leave"),
    [(FAULT, 10, False), (UNKNOWN, 3, True), (VANISHED, 3, True), (CANCEL, 8, False)],
)
def test_only_what_may_be_paid_for_twice_needs_leave(policy, sends, needs_leave):
    assert (policy.sends, policy.needs_leave) == (sends, needs_leave)


def test_every_way_to_end_is_in_the_table_once():
    assert sorted(end.reason for end in ENDS if end.reason) == sorted(Reason)
    assert {end.state for end in ENDS if end.state} == set(TERMINAL)
    assert [end.reason for end in ENDS if end.state is JobState.COMPLETED] == [None]


def test_only_three_causes_are_sent_again():
    assert {end.reason: end.retry for end in ENDS if end.retry} == {
        Reason.UPSTREAM_FAULT: FAULT,
        Reason.OUTCOME_UNKNOWN: UNKNOWN,
        Reason.VANISHED: VANISHED,
    }


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.CANCELLED])
def test_a_person_is_told_what_to_do_about_each_reason(reason):
    assert len(str(find_advice(reason))) > 10


def test_of_a_job_without_a_reason_there_is_nothing_to_advise():
    assert find_advice(None) is None


def test_the_table_has_a_row_for_each_end_and_says_how_often():
    lines = write_table().splitlines()

    assert len(lines) == len(ENDS) + 2
    assert all(line.count("|") == 6 for line in lines)
    [fault] = [line for line in lines if "`upstream_fault`" in line]
    assert f"| {FAULT} |" in fault
    [vanished] = [line for line in lines if "`vanished`" in line]
    assert "under `resubmit`" in vanished
    assert "under `resubmit`" not in fault


@pytest.mark.parametrize(
    ("retry", "said"),
    [
        (Retry(sends=4, first_seconds=2.0, longest_seconds=30.0), ["4 times", "2 s", "30 s"]),
        (Retry(sends=2, after_longest=True), ["2 times", "99 of 100 jobs"]),
    ],
)
def test_how_often_and_how_far_apart_is_said_in_words(retry, said):
    assert [words for words in said if words not in str(retry)] == []


def test_each_reason_has_its_own_advice_and_none_has_none():
    advice = {reason: find_advice(reason) for reason in Reason}

    assert "jobs retry" in str(advice[Reason.UPSTREAM_FAILED])
    assert "correct the input" in str(advice[Reason.UPSTREAM_REFUSED])
    assert find_advice(None) is None
