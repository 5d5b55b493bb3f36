"""What is said of a campaign as it runs: how fast, how long yet, and what holds it up."""

import io
from dataclasses import replace
from decimal import Decimal

import pytest
from rich.console import Console

from gateway.cli.follow import Pacer, draw, say_lane, say_line, show_summary
from models.campaign_figures import Progress
from models.lane import LaneView, StageName

START = Progress(
    total=100,
    planned=None,
    problem=None,
    paused=False,
    queued=100,
    running=0,
    completed=0,
    failed=0,
    cancelled=0,
    estimate_usd=Decimal("0.24"),
    spent_usd=Decimal(0),
    polls=0,
    seconds=0.0,
    files_stored=0,
    files_pending=0,
    files_expired=0,
    bytes_stored=0,
)
HALFWAY = replace(
    START,
    queued=30,
    running=20,
    completed=49,
    failed=1,
    files_stored=40,
    files_pending=9,
    spent_usd=Decimal("0.12"),
)
DONE = replace(HALFWAY, queued=0, running=0, completed=99, files_stored=60, files_pending=39)
FLUX = "black-forest-labs-flux-1-schnell"
OPEN = LaneView(
    stage=StageName.SUBMIT,
    endpoint=FLUX,
    due=True,
    paused=False,
    closed_seconds=None,
    closed_reason=None,
)


class Clock:
    """A time that moves when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("gateway.cli.follow.time", self)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def show(*things: object, width: int = 160) -> str:
    page = Console(file=io.StringIO(), width=width)
    page.print(*things)
    assert isinstance(page.file, io.StringIO)
    return page.file.getvalue()


def test_nothing_is_promised_before_anything_has_ended(clock):
    pacer = Pacer(START)

    at_once = pacer.take(START)
    clock.now += 5
    later = pacer.take(START)

    assert (at_once.rate, at_once.seconds_left) == (0.0, None)
    assert (later.seconds, later.rate, later.seconds_left) == (5.0, 0.0, None)


def test_the_time_left_follows_from_the_jobs_that_ended_so_far(clock):
    pacer = Pacer(START)

    clock.now += 10
    pace = pacer.take(HALFWAY)

    assert (pace.rate, pace.unit, pace.seconds_left) == (5.0, "jobs", 10.0)


def test_jobs_that_had_ended_before_it_was_watched_count_for_no_speed(clock):
    pacer = Pacer(HALFWAY)

    clock.now += 10
    pace = pacer.take(replace(HALFWAY, running=10, completed=59))

    assert (pace.rate, pace.seconds_left) == (1.0, 40.0)


def test_a_campaign_still_being_enqueued_is_not_taken_for_done(clock):
    growing = replace(HALFWAY, total=None, queued=0, running=0)
    pacer = Pacer(replace(START, total=None))

    clock.now += 10
    pace = pacer.take(growing)

    assert pace.unit == "jobs"
    assert not growing.settled


def test_once_every_job_has_ended_the_pace_is_that_of_the_files(clock):
    pacer = Pacer(START)
    clock.now += 20
    first = pacer.take(DONE)

    clock.now += 2
    pace = pacer.take(replace(DONE, files_stored=80, files_pending=19))

    assert (first.unit, first.seconds_left) == ("files", None)
    assert (pace.seconds, pace.rate, pace.unit) == (22.0, 10.0, "files")
    assert pace.seconds_left == pytest.approx(1.9)


def test_a_line_says_every_count_and_how_long_yet(clock):
    pacer = Pacer(START)
    clock.now += 10

    line = say_line(HALFWAY, pacer.take(HALFWAY))

    assert line == (
        "50/100  queued 30  running 20  done 49  failed 1  files 40  spent $0.12"
        "  5.0 jobs/s  ETA 10.0 s"
    )


def test_the_live_display_shows_the_same_counts_and_the_lane_that_is_held(clock):
    pacer = Pacer(START)
    clock.now += 10

    shown = show(draw(HALFWAY, pacer.take(HALFWAY), [say_lane(replace(OPEN, paused=True))]))

    for words in ("50/100", "50%", "5.0 jobs/s", "ETA 10.0 s", "queued 30", "failed 1"):
        assert words in shown
    assert "40 (+9 to store)" in shown
    assert f"held: submit of {FLUX} is paused" in shown


def test_an_empty_campaign_can_be_drawn():
    empty = replace(START, total=0, queued=0)

    shown = show(draw(empty, Pacer(empty).take(empty), []))

    assert "0/1" in shown


def test_a_held_lane_says_why_and_what_opens_it():
    paused = say_lane(replace(OPEN, paused=True))
    closed = say_lane(replace(OPEN, closed_seconds=7.4, closed_reason="HTTP 429"))

    assert paused == f"submit of {FLUX} is paused; `pressroom lanes resume submit {FLUX}`"
    assert closed == f"submit of {FLUX} is closed for 7 s more: HTTP 429"


def test_an_upstreams_words_are_shown_as_they_are(capsys):
    summary = {
        "jobs": 100,
        "queued": 2,
        "running": 1,
        "completed": 96,
        "failed": 1,
        "artifacts": 90,
        "artifacts_pending": 5,
        "artifacts_expired": 1,
        "bytes": 2_500_000,
        "estimate_usd": 0.24,
        "cost_usd": 0.23,
        "seconds": 61.0,
        "jobs_per_second": 1.6,
        "polls_per_job": 2.25,
        "problem": None,
        "paused": False,
        "held_by": [{"budget": "a [/]", "jobs": 3, "left_usd": 0.1}],
        "seconds_left": 75.0,
        "failures": [
            {"state": "failed", "reason": "upstream", "jobs": 1, "error": "bad [/] tag [/red]"}
        ],
    }

    show_summary(summary)

    shown = capsys.readouterr().out
    for words in ("96 of 100", "2 queued, 1 running", "bad [/] tag [/red]", "90, 2.5 MB"):
        assert words in shown
    assert "3 jobs wait for the budget 'a [/]': $0.10 left" in shown
    assert "1 min 15 s, by its limits" in shown
    for words in ("5 pending, 1 expired", "$0.23 of $0.24 estimated", "1 min 01 s", "2.25 a job"):
        assert words in shown
