"""A first poll waits for a webhook only where one would come, and never for long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.catalogue import load_catalogue
from endpoints.forecast import BINS, count_durations
from models.endpoint_stats import Learned
from tasks.first_poll import LATELY, PATIENCE_SECONDS, RETENTION_SECONDS, plan_first_poll
from workers.runtime import Runtime
from workers.settings import Settings

OWN = "my-own"


def make_runtime(**values):
    """What a plan reads of a runtime."""
    upstream = {"upstream_url": "https://api.example.com/v2", "upstream_key": "key"}
    settings = Settings(**{**upstream, "public_url": "https://press.example.com", **values})
    runtime = object.__new__(Runtime)  # the rest of it is connections
    for name, value in {"settings": settings, "catalogue": load_catalogue()}.items():
        object.__setattr__(runtime, name, value)
    return runtime


def learned(seconds, *, ago):
    counts = count_durations([seconds] * 100)
    return Learned([counts[bin_] for bin_ in range(BINS)], ago)


def test_without_webhooks_the_forecast_says_when():
    plan = plan_first_poll(make_runtime(), OWN, learned(20.0, ago=None))

    assert not plan.hinted
    assert plan.seconds == plan.forecast < 20


def test_while_they_are_heard_it_waits_until_one_is_overdue():
    plan = plan_first_poll(make_runtime(), OWN, learned(20.0, ago=21.0))

    assert plan.hinted
    assert plan.seconds == plan.overdue
    assert 20 + PATIENCE_SECONDS <= plan.seconds <= 1.1 * 20 + PATIENCE_SECONDS


@pytest.mark.parametrize(("share", "hinted"), [(0.99, True), (1.01, False)])
def test_they_are_heard_if_one_came_of_a_job_that_was_sent_lately(share, hinted):
    runtime = make_runtime()
    overdue = plan_first_poll(runtime, OWN, learned(20.0, ago=None)).overdue

    plan = plan_first_poll(runtime, OWN, learned(20.0, ago=share * LATELY * overdue))

    assert plan.hinted is hinted


def test_where_the_upstream_cannot_reach_the_gateway_none_is_waited_for():
    """They came until it was started anew, without an address."""
    plan = plan_first_poll(make_runtime(public_url=None), OWN, learned(20.0, ago=1.0))

    assert not plan.hinted


def test_a_short_job_waits_no_longer_for_its_webhook_than_it_took():
    plan = plan_first_poll(make_runtime(), OWN, learned(0.5, ago=0.5))

    assert plan.seconds <= 2.2 * 0.5


@given(st.floats(0, 1e6), st.none() | st.floats(-1, 1e6))
def test_a_poll_is_never_put_off_so_long_that_a_result_could_be_lost(seconds, ago):
    plan = plan_first_poll(make_runtime(), OWN, learned(seconds, ago=ago))

    assert plan.forecast <= plan.seconds <= RETENTION_SECONDS / 4


def test_on_an_emulator_whose_time_runs_faster_a_result_is_kept_for_less():
    runtime = make_runtime(upstream_url=None, upstream_key=None, emulator_clock=100)

    plan = plan_first_poll(runtime, OWN, learned(600.0, ago=1.0))

    assert plan.overdue == RETENTION_SECONDS / 4 / 100
