"""When crons fire: through a whole year in zones whose clocks change, and what never fires."""

import bisect
import datetime as dt
import itertools
import random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.base import new_id
from tasks.campaigns.cron import BadCron, BadZone, Cron, find_jitter

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
ZONES = [BERLIN, NEW_YORK, LORD_HOWE, "Africa/Casablanca", "UTC"]
MINUTE = dt.timedelta(minutes=1)
STEP = 5 * MINUTE  # that all these fire at a multiple of, and clocks change at one
YEAR_BEGINS = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
YEAR_ENDS = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)

# Of each, the minutes and hours at which it fires, every day.
AT_SET_HOURS = {
    "0 2 * * *": ({0}, {2}),
    "45 1 * * *": ({45}, {1}),
    "15 2 * * *": ({15}, {2}),
    "0,30 0-3 * * *": ({0, 30}, set(range(4))),
}
BY_MOMENTS = {
    "30 * * * *": ({30}, set(range(24))),
    "*/20 1,2,3 * * *": ({0, 20, 40}, {1, 2, 3}),
    "0 */2 * * *": ({0}, set(range(0, 24, 2))),
}


def walk(zone):
    """Each step of the year with what the clock shows, and whether it has shown that before."""
    place = ZoneInfo(zone)
    moment = YEAR_BEGINS
    while moment < YEAR_ENDS:
        local = moment.astimezone(place)
        yield moment, local.replace(tzinfo=None, fold=0), local.fold == 1
        moment += STEP


def expect_at_set_hours(zone, minutes, hours):
    """Each time of each day once: what the clock jumps over, once it has."""
    wanted = []
    before = None
    for moment, shown, again in walk(zone):
        jumped: set[dt.datetime] = set()
        if before is not None and shown > before + STEP:
            skipped = int((shown - before) / STEP)
            jumped = {before + n * STEP for n in range(1, skipped)}
        if not again and any(
            one.minute in minutes and one.hour in hours for one in {shown, *jumped}
        ):
            wanted.append(moment)
        before = shown
    return wanted


def expect_by_moments(zone, minutes, hours):
    return [
        moment for moment, shown, _ in walk(zone) if shown.minute in minutes and shown.hour in hours
    ]


def tick_through_the_year(cron, *, seed):
    """What a year of ticks starts, some seconds to minutes apart, with gaps of up to two days."""
    chance = random.Random(seed)
    started = []
    due = next(cron.fires(YEAR_BEGINS - MINUTE))
    now = YEAR_BEGINS
    while now < YEAR_ENDS:
        while due <= now:
            started.append(due)
            due = next(cron.fires(due))
        now += dt.timedelta(seconds=chance.choice([5, 60, 1_800, 9_000, 172_800]))
    return started + list(itertools.takewhile(lambda one: one < YEAR_ENDS, [due]))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("expression", [*AT_SET_HOURS, *BY_MOMENTS])
def test_through_a_year_each_wanted_fire_comes_once_whenever_it_is_looked(zone, expression):
    if expression in AT_SET_HOURS:
        wanted = expect_at_set_hours(zone, *AT_SET_HOURS[expression])
    else:
        wanted = expect_by_moments(zone, *BY_MOMENTS[expression])
    cron = Cron(expression, zone)

    started = tick_through_the_year(cron, seed=f"{zone} {expression}")

    assert started == wanted[: len(started)]
    assert len(wanted) - len(started) <= 48 * 4  # those of the last gap


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, LORD_HOWE])
@pytest.mark.parametrize("expression", ["0 2 * * *", "45 1 * * *", "*/20 1,2,3 * * *"])
def test_from_wherever_it_is_begun_the_next_is_the_same(zone, expression):
    """In the middle of a repeated hour, too."""
    cron = Cron(expression, zone)
    all_year = list(itertools.takewhile(lambda one: one < YEAR_ENDS, cron.fires(YEAR_BEGINS)))
    changes = [
        moment
        for moment, now, then in (
            (hour, hour.astimezone(cron.zone), (hour - 60 * MINUTE).astimezone(cron.zone))
            for hour in (YEAR_BEGINS + n * 60 * MINUTE for n in range(1, 365 * 24))
        )
        if now.utcoffset() != then.utcoffset()
    ]
    assert len(changes) == 2

    for change in changes:
        for minutes in range(-300, 300, 7):
            after = change + minutes * MINUTE
            assert next(cron.fires(after)) == all_year[bisect.bisect_right(all_year, after)]


def say_some(expression, zone, after, count=3):
    cron = Cron(expression, zone)
    fires = cron.fires(dt.datetime.fromisoformat(after).replace(tzinfo=cron.zone))
    return [cron.say(one) for one in itertools.islice(fires, count)]


def test_what_falls_into_the_skipped_hour_fires_as_soon_as_that_is_over():
    assert say_some("30 2 * * *", BERLIN, "2026-03-28T12:00") == [
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
        "2026-03-31T02:30+02:00",
    ]
    assert say_some("15 2 * * *", LORD_HOWE, "2026-10-03T12:00", 1) == ["2026-10-04T02:30+11:00"]


def test_what_falls_into_the_repeated_hour_fires_the_first_time_alone():
    assert say_some("30 2 * * *", BERLIN, "2026-10-24T12:00", 2) == [
        "2026-10-25T02:30+02:00",
        "2026-10-26T02:30+01:00",
    ]


def test_what_goes_by_moments_is_not_in_the_skipped_hour_and_twice_in_the_repeated_one():
    assert say_some("*/30 2 * * *", BERLIN, "2026-03-28T12:00", 1) == ["2026-03-30T02:00+02:00"]
    assert say_some("*/30 2 * * *", BERLIN, "2026-10-24T12:00", 5) == [
        "2026-10-25T02:00+02:00",
        "2026-10-25T02:30+02:00",
        "2026-10-25T02:00+01:00",
        "2026-10-25T02:30+01:00",
        "2026-10-26T02:00+01:00",
    ]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("0 0 30 2 *", "'0 0 30 2 *' never fires"),
        ("0 0 31 2,4,6 *", "never fires"),
        ("61 * * * *", "'61 * * * *': bad minute; minute, hour, day of month"),
        ("0 2 * *", "minute, hour, day of month, month and day of week were wanted"),
        ("0 0 2 * * *", "minute, hour"),
        ("@daily", "minute, hour"),
        ("0 2 * * MO", "bad day-of-week"),
        ("", "minute, hour"),
    ],
)
def test_a_cron_that_cannot_be_used_says_why(expression, said):
    with pytest.raises(BadCron, match=said.replace("*", r"\*")):
        Cron(expression, BERLIN)


def test_a_leap_day_and_a_day_of_two_kinds_do_fire():
    assert say_some("0 0 29 2 *", "UTC", "2026-01-01", 1) == ["2028-02-29T00:00+00:00"]
    assert say_some("0 0 30 2 MON", "UTC", "2026-01-01", 1) == ["2026-02-02T00:00+00:00"]


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("Europe/Berln", "did you mean 'Europe/Berlin'"),
        ("america/new-york", "did you mean 'America/New_York'"),
        ("", "such as Europe/Berlin was wanted"),
        ("../UTC", "is no time zone"),
    ],
)
def test_an_unknown_zone_is_refused_with_a_near_one(zone, said):
    with pytest.raises(BadZone, match=said):
        Cron("* * * * *", zone)


@given(
    st.lists(
        st.text("0123456789*/-,#LWMONJAN", min_size=1, max_size=6), min_size=4, max_size=6
    ).map(" ".join)
)
def test_whatever_comes_is_a_cron_that_fires_or_is_refused(expression):
    try:
        cron = Cron(expression, "UTC")
    except BadCron:
        return
    assert next(cron.fires(YEAR_BEGINS)) > YEAR_BEGINS


def test_a_jitter_is_within_its_bound_and_the_same_wherever_it_is_asked():
    schedule = new_id()
    dues = [YEAR_BEGINS + n * MINUTE for n in range(200)]

    jitters = [find_jitter(schedule, due, most_seconds=300) for due in dues]

    there = dt.timezone(dt.timedelta(hours=5))
    assert jitters == [
        find_jitter(schedule, due.astimezone(there), most_seconds=300) for due in dues
    ]
    assert all(dt.timedelta() <= one < dt.timedelta(seconds=300) for one in jitters)
    assert len(set(jitters)) > 50
    assert find_jitter(schedule, YEAR_BEGINS, most_seconds=0) == dt.timedelta()
