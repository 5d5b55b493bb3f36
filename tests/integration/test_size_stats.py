"""Sizes are learned of as jobs end, used where they predict better, and never without bound."""

import itertools
import random

import pytest

from endpoints import forecast
from models.base import new_id
from models.endpoint_stats import get_durations
from models.size_stats import SIZES_MOST, SizeNews, add_sizes, get_sizes
from models.transitions import NewJob, enqueue_jobs
from tasks.durations import learn_durations, read_durations

ENDPOINT = "clips"
SHORT, LONG = "duration=2", "duration=20"


@pytest.fixture
async def endpoint(run):
    await run(enqueue_jobs, [NewJob(id=new_id(), endpoint=ENDPOINT, input={})])
    return ENDPOINT


async def learn(database, endpoint, *took):
    async with database.begin() as session:
        of_endpoint = await get_durations(session, endpoint)
        known = await read_durations(session, endpoint, of_endpoint, [size for size, _ in took])
        await learn_durations(session, endpoint, known, took)


async def read(database, endpoint, size):
    async with database.begin() as session:
        of_endpoint = await get_durations(session, endpoint)
        return await read_durations(session, endpoint, of_endpoint, [size])


async def test_two_sizes_of_an_endpoint_are_told_apart(database, endpoint):
    draw = random.Random(1)
    for _ in range(20):
        short, long = (seconds * draw.uniform(0.95, 1.05) for seconds in (2.0, 20.0))
        await learn(database, endpoint, (SHORT, short), (LONG, long))

    for size, seconds in ((SHORT, 2.0), (LONG, 20.0)):
        known = await read(database, endpoint, size)
        middle = next(
            bound
            for bound, counted in zip(
                forecast.BOUNDS, itertools.accumulate(known.of(size)), strict=True
            )
            if counted > sum(known.of(size)) / 2
        )
        assert known.of(size) is known.by_size[size].durations
        assert middle == pytest.approx(seconds, rel=0.1)


async def test_sizes_that_take_as_long_as_each_other_gain_nothing(database, endpoint):
    draw = random.Random(1)
    for _ in range(60):
        await learn(
            database,
            endpoint,
            *((size, 10 * draw.lognormvariate(0, 0.3)) for size in (SHORT, LONG)),
        )

    known = await read(database, endpoint, SHORT)

    assert known.of(SHORT) is known.of_endpoint


async def test_a_job_without_a_size_is_predicted_by_its_endpoint(database, endpoint):
    await learn(database, endpoint, (None, 3.0), (SHORT, 3.0))

    known = await read(database, endpoint, None)

    assert known.by_size == {}
    assert known.of(None) is known.of_endpoint
    assert sum(known.of_endpoint) == 2


def news(size, *, bin_=0, gain=0.0):
    counts = [float(place == bin_) for place in range(forecast.BINS)]
    return SizeNews(size_class=size, counts=counts, keep=0.5, gain=gain, keep_gain=0.5)


async def test_what_is_learned_is_added_to_what_fades(run):
    await run(add_sizes, ENDPOINT, [news(SHORT, bin_=0, gain=2.0)])
    await run(add_sizes, ENDPOINT, [news(SHORT, bin_=1, gain=3.0), news(LONG)])

    sizes = await run(get_sizes, ENDPOINT, [SHORT, LONG, "duration=3"])

    assert sizes.keys() == {SHORT, LONG}
    assert list(sizes[SHORT].durations[:3]) == [0.5, 1.0, 0.0]
    assert sizes[SHORT].gain == 4.0


async def test_inputs_cannot_fill_the_table(run):
    sizes = [f"duration={number}" for number in range(SIZES_MOST + 10)]
    for size in sizes:
        await run(add_sizes, ENDPOINT, [news(size)])
    await run(add_sizes, "another", [news(SHORT)])

    assert len(await run(get_sizes, ENDPOINT, sizes)) == SIZES_MOST
    assert len(await run(get_sizes, "another", [SHORT])) == 1
