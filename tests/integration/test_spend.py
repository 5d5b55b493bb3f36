"""What was spent: each attempt that was paid for, each job once."""

import datetime as dt
from decimal import Decimal

import pytest

from models.base import new_id
from models.campaign import add_campaign
from models.spend import SpendBy, sum_spend
from models.transitions import NewJob, enqueue_jobs
from tests.integration.conftest import FLUX

NOON = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture
async def campaign_id(run, execute):
    campaign = await run(add_campaign, name="shoot", endpoint=FLUX)
    await execute("UPDATE campaigns SET tags = '{spring,night}'")
    return campaign


@pytest.fixture
def pay(run, execute):
    """A job whose attempts cost so much, at these times; None: it is not known, and may be 0.5."""

    async def pay_for(*attempts, campaign_id=None):
        job = NewJob(id=new_id(), endpoint=FLUX, input={}, campaign_id=campaign_id)
        await run(enqueue_jobs, [job])
        for number, (usd, at) in enumerate(attempts, start=1):
            await execute(
                "INSERT INTO attempts (job_id, lease, number, endpoint, sent_at, cost_usd,"
                " risk_usd) VALUES (:id, gen_random_uuid(), :number, :endpoint, :at,"
                " CAST(:usd AS numeric), CASE WHEN CAST(:usd AS numeric) IS NULL THEN 0.5 END)",
                id=job.id,
                number=number,
                endpoint=FLUX,
                at=at,
                usd=usd,
            )

    return pay_for


@pytest.fixture
def spent(run):
    async def read(by, since=NOON - DAY, until=NOON + 2 * DAY, **options):
        rows = await run(sum_spend, by, since=since, until=until, **options)
        return {one.name: (one.jobs, one.usd, one.risk_usd) for one in rows}

    return read


async def test_a_job_of_two_attempts_counts_once_and_both_are_paid(pay, spent):
    await pay(("0.1", NOON))
    await pay(("0.2", NOON), ("0.3", NOON), (None, NOON))

    assert await spent(SpendBy.ENDPOINT) == {FLUX: (2, Decimal("0.6"), Decimal("0.5"))}


async def test_on_each_day_it_counts_once(pay, spent):
    await pay(("0.2", NOON), ("0.3", NOON), ("0.4", NOON + DAY))

    told = await spent(SpendBy.DAY)

    assert told == {"2026-03-10": (1, Decimal("0.5"), 0), "2026-03-11": (1, Decimal("0.4"), 0)}
    late = await spent(SpendBy.DAY, zone="Pacific/Kiritimati")  # fourteen hours on
    assert list(late) == ["2026-03-11", "2026-03-12"]


async def test_one_whose_first_attempt_was_before_counts_all_the_same(pay, spent):
    await pay(("0.2", NOON - 2 * DAY), ("0.3", NOON))

    assert await spent(SpendBy.ENDPOINT) == {FLUX: (1, Decimal("0.3"), 0)}


async def test_what_belongs_to_none_is_under_none_and_what_has_two_tags_under_both(
    pay, spent, campaign_id
):
    await pay(("0.2", NOON))
    await pay(("0.1", NOON), campaign_id=campaign_id)

    alone, whole = (1, Decimal("0.2"), 0), (1, Decimal("0.1"), 0)
    assert await spent(SpendBy.CAMPAIGN) == {None: alone, "shoot": whole}
    assert await spent(SpendBy.TAG) == {None: alone, "spring": whole, "night": whole}
    assert await spent(SpendBy.KEY) == {None: (2, Decimal("0.3"), 0)}


async def test_of_a_key_its_own_jobs_alone(pay, spent, execute, issue):
    _, key_id = await issue("studio")
    await pay(("0.2", NOON))
    await execute("UPDATE jobs SET key_id = :key", key=key_id)
    await pay(("0.1", NOON))

    assert await spent(SpendBy.KEY, owner=key_id) == {"studio": (1, Decimal("0.2"), 0)}
    assert await spent(SpendBy.KEY) == {
        "studio": (1, Decimal("0.2"), 0),
        None: (1, Decimal("0.1"), 0),
    }
