"""`/metrics` of a gateway: to whom it opens, and that what it tells is true."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from gateway import facts
from models.base import new_id
from models.budget import add_budget
from models.event import find_place
from models.figures import count_moves
from models.key import Scope
from models.lane import StageName, close_lane, set_paused
from models.transitions import NewJob, enqueue_jobs
from tests.integration.conftest import FLUX, client_of, complete, open_app
from workers import metrics
from workers.maintenance import begin_maintenance
from workers.sign import SILENT_SECONDS, Sign, sign_key
from workers.sweep_watch import note_sweep

TOKEN = "a-token-for-prometheus"
NOWHERE = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def _read_anew(monkeypatch):
    monkeypatch.setattr(facts, "KEPT_SECONDS", 0.0)


@pytest.fixture
async def scrape(settings):
    """Reads a gateway's /metrics as Prometheus does: values of a name by their labels' values."""
    served = settings.model_copy(update={"metrics_token": SecretStr(TOKEN)})
    async with open_app(served) as app, client_of(app, TOKEN) as client:

        async def read(name):
            response = await client.get("/metrics")
            assert response.status_code == 200
            return {
                tuple(sorted(sample.labels.values())): sample.value
                for family in text_string_to_metric_families(response.text)
                for sample in family.samples
                if sample.name == name
            }

        yield read


async def enqueue(run, count=1, *, endpoint=FLUX):
    jobs = [NewJob(id=new_id(), endpoint=endpoint, input={"prompt": "a fox"}) for _ in range(count)]
    await run(enqueue_jobs, jobs)
    return [job.id for job in jobs]


async def test_it_opens_to_the_token_and_to_a_key_that_operates_alone(settings, issue):
    operator, _ = await issue("operator", Scope.OPERATE)
    reader, _ = await issue("reader", Scope.READ, Scope.RUN)
    answers = {}
    async with open_app(settings.model_copy(update={"metrics_token": SecretStr(TOKEN)})) as app:
        for key in (TOKEN, operator, reader, TOKEN[:-1], None):
            async with client_of(app, key) as client:
                answers[key] = (await client.get("/metrics")).status_code

    assert answers == {TOKEN: 200, operator: 200, reader: 403, TOKEN[:-1]: 401, None: 401}


async def test_without_a_token_in_the_settings_an_empty_one_opens_nothing(gateway_app):
    async with client_of(gateway_app) as client:
        for header in ("", "Bearer", "Bearer ", "Bearer None"):
            response = await client.get("/metrics", headers={"Authorization": header})
            assert response.status_code == 401


@pytest.mark.usefixtures("emulator")
async def test_every_end_is_counted_once_whoever_ended_it(scrape, run, runtime, execute):
    await scrape("pressroom_up")  # from here on it counts
    done, cancelled, *_ = await enqueue(run, 3)
    await execute(
        "UPDATE jobs SET state = 'cancelled', reason = 'cancelled', finished_at = now(), "
        "next_at = NULL WHERE id = :id",
        id=cancelled,
    )
    await complete(runtime, done)

    for _ in range(2):  # read again, it is not counted again
        ended = await scrape("pressroom_jobs_ended_total")
        queued = await scrape("pressroom_jobs_queued_total")
    spent = await scrape("pressroom_spend_usd_total")

    assert queued == {(FLUX,): 3}
    assert ended[FLUX, "cancelled"] == 1
    assert ended[FLUX, "completed"] in {1, 2}  # the third was sent beside it
    assert ended[FLUX, "failed"] == 0
    assert spent[FLUX,] == pytest.approx(0.0025165824 * ended[FLUX, "completed"])


async def test_what_is_committed_late_is_counted_later(database, run, execute):
    """A transaction began before others that are counted, and ends after them."""
    since = (await run(find_place)).transaction
    async with database.begin() as late:
        await enqueue_jobs(late, [NewJob(id=new_id(), endpoint=FLUX, input={})])
        # What goes beside it waits for nothing of it: another endpoint, no line to join.
        await execute("""
            INSERT INTO jobs (id, endpoint, input) VALUES (gen_random_uuid(), 'another', '{}')
        """)
        until = (await run(find_place)).transaction
        first = await run(count_moves, since=since, until=until)
    end = (await run(find_place)).transaction
    then = await run(count_moves, since=until, until=end)

    assert first == []
    assert {(moved.endpoint, moved.jobs) for moved in then} == {(FLUX, 1), ("another", 1)}


async def test_jobs_that_are_due_while_none_is_sent_are_told_unless_their_lane_is_paused(
    scrape, run, execute, claim
):
    paused = "paused-endpoint"
    await enqueue(run, 2)
    await enqueue(run, endpoint=paused)
    await run(set_paused, StageName.SUBMIT, paused, paused=True)
    await execute("UPDATE jobs SET next_at = now() - interval '5 minutes'")

    before = await scrape("pressroom_unsent_seconds")
    oldest = await scrape("pressroom_oldest_due_seconds")
    await claim(1)  # the other one is as late, but something moves
    after = await scrape("pressroom_unsent_seconds")

    assert before == {(FLUX,): pytest.approx(300, abs=30)}
    assert oldest[FLUX, "submit"] == pytest.approx(300, abs=30)
    assert oldest[paused, "submit"] == pytest.approx(300, abs=30)
    assert after == {(FLUX,): pytest.approx(0, abs=30)}


async def test_what_waits_for_maintenance_is_not_told_as_unsent(scrape, run, execute):
    await enqueue(run, 2)
    await execute("UPDATE jobs SET next_at = now() - interval '5 minutes'")
    await run(begin_maintenance, reason="a new disk", refuse=False)

    assert await scrape("pressroom_unsent_seconds") == {}
    assert (await scrape("pressroom_oldest_due_seconds"))[FLUX, "submit"] > 200


async def test_a_closed_lane_blocks_while_something_waits_in_it(scrape, run):
    await run(close_lane, StageName.SUBMIT, FLUX, reason="HTTP 429", seconds=60)
    idle = await scrape("pressroom_lane_blocked")
    await enqueue(run)

    blocked = await scrape("pressroom_lane_blocked")
    cooldown = await scrape("pressroom_lane_cooldown_seconds")

    assert idle == {}
    assert blocked == {(FLUX, "closed", "submit"): 1, (FLUX, "paused", "submit"): 0}
    assert cooldown == {(FLUX, "submit"): pytest.approx(60, abs=20)}


async def test_a_budget_of_no_campaign_is_told_with_what_is_left(scrape, run, claim):
    await run(add_budget, name="studio", limit_usd=1)
    await enqueue(run)
    assert await scrape("pressroom_budget_reached") == {("studio",): 0}
    job = NewJob(id=new_id(), endpoint=FLUX, input={}, estimate_usd="1.5")
    await run(enqueue_jobs, [job])
    await claim()

    assert await scrape("pressroom_budget_reached") == {("studio",): 1}
    assert await scrape("pressroom_budget_limit_usd") == {("studio",): 1}
    assert await scrape("pressroom_budget_left_usd") == {("studio",): pytest.approx(1, abs=0.01)}


async def test_workers_and_sweeps_are_told_by_the_signs_that_they_left(scrape, runtime):
    seconds, _ = await runtime.redis.time()
    signs = {
        "a": Sign(seconds, ""),
        "b": Sign(seconds, "has every thread busy"),
        "c": Sign(seconds - SILENT_SECONDS - 5, ""),
    }
    for node, sign in signs.items():
        await runtime.redis.set(sign_key(runtime.settings, node), sign.to_json())

    assert await scrape("pressroom_sweep_missing") == {(): 1}
    await note_sweep(runtime)
    assert await scrape("pressroom_sweep_missing") == {(): 0}
    workers = await scrape("pressroom_workers")
    assert workers == {("well",): 1, ("troubled",): 1, ("silent",): 1}


async def test_bells_that_nobody_answers_are_overdue(scrape, run, runtime, monkeypatch):
    await enqueue(run)
    await scrape("pressroom_up")  # it learns which endpoints there are
    await runtime.bells.ring(StageName.SUBMIT, FLUX)
    await runtime.bells.ring(StageName.POLL, FLUX, in_seconds=50)
    monkeypatch.setattr("workers.bell.OVERDUE_SECONDS", -0.001)

    pending = await scrape("pressroom_bells_pending")
    overdue = await scrape("pressroom_bells_overdue")

    assert (pending["submit",], pending["poll",], pending["notify",]) == (1, 1, 0)
    assert (overdue["submit",], overdue["poll",]) == (1, 0)
    assert (await scrape("pressroom_queue_messages"))["submit",] == 1


@pytest.mark.parametrize(
    ("away", "address", "told"),
    [
        ("postgres", {"database_url": SecretStr(f"postgresql://u@{NOWHERE}/p")}, "workers"),
        ("redis", {"redis_url": SecretStr(f"redis://{NOWHERE}/0")}, "files_to_copy"),
    ],
)
async def test_while_a_server_is_away_the_other_is_still_told_of(settings, away, address, told):
    other = {"postgres": "redis", "redis": "postgres"}[away]
    changed = settings.model_copy(update={"metrics_token": SecretStr(TOKEN), **address})
    async with open_app(changed) as app, client_of(app, TOKEN) as client:
        response = await client.get("/metrics")

    lines = response.text.splitlines()
    assert response.status_code == 200
    assert f'pressroom_up{{server="{away}"}} 0.0' in lines
    assert f'pressroom_up{{server="{other}"}} 1.0' in lines
    assert any(line.startswith(f"pressroom_{told}") for line in lines)


async def test_many_who_ask_at_once_cost_one_reading(scrape, monkeypatch):
    monkeypatch.setattr(facts, "KEPT_SECONDS", 60.0)
    took = await asyncio.gather(*(scrape("pressroom_facts_seconds") for _ in range(5)))

    assert len({tuple(one.items()) for one in took}) == 1


async def test_a_request_is_counted_by_its_route_and_never_by_what_stands_in_it(scrape, client):
    before = await scrape("pressroom_gateway_requests_total")
    secret = new_id().hex
    await client.get(f"/api/v1/jobs/{new_id()}")
    await client.get(f"/v2/{secret}/status/{secret}")
    await client.get(f"/no/such/place/{secret}")
    await client.request("BREW", "/healthz")
    after = await scrape("pressroom_gateway_requests_total")

    counted = {labels: count - before.get(labels, 0) for labels, count in after.items()}
    assert counted["/api/v1/jobs/{job_id}", "404", "GET"] == 1
    assert counted["/v2/{endpoint}/status/{job_id}", "404", "GET"] == 1
    assert counted["404", "GET", "other"] == 1
    assert counted["/healthz", "405", "other"] == 1
    assert secret not in str(after)


async def test_endpoints_that_nobody_listed_have_names_up_to_a_number(monkeypatch):
    monkeypatch.setattr(metrics, "_others", set())
    monkeypatch.setattr(metrics, "OTHERS_MOST", 2)

    named = [metrics.name_endpoint(one) for one in ("mine", FLUX, "yours", "theirs", "mine")]

    assert named == ["mine", FLUX, "yours", "other", "mine"]


async def test_a_call_without_an_answer_is_counted_as_such(runtime):
    """Nobody listens where the upstream should be."""
    series = {"endpoint": FLUX, "operation": "status", "code": "none"}

    def count():
        return metrics.REGISTRY.get_sample_value("pressroom_upstream_calls_total", series) or 0

    before = count()
    await runtime.upstream.poll(FLUX, "gone")

    assert count() - before == 1
