"""Expansion: each item of a campaign becomes one job, whatever dies and whoever else is at it."""

import asyncio
import hashlib
from pathlib import Path

import pytest
from sqlalchemy import text

import tasks.expand
from models.base import new_id
from models.campaign import NameTaken, add_campaign, claim_unexpanded, close_campaign, get_campaign
from models.campaign_figures import count_jobs
from models.job import OnUnknown
from models.job_queries import JobFilter, list_jobs
from models.setting import put_setting
from models.transitions import NewJob, enqueue_jobs
from tasks.campaigns.spec import parse_spec
from tasks.expand import expand_campaign, resume_expanding
from tests.integration.conftest import FLUX
from workers.store import file_key, write

ROWS = "what,seed\n" + "".join(f"fox {n},{n}\n" for n in range(25))
SPEC = f"""
name: shoot
endpoint: {FLUX}
prompts: {{file: subjects.csv}}
prompt: "a {{what}} in {{style}}"
input: {{seed: "{{seed}}", width: 256, height: 256}}
matrix: {{style: [oil, ink]}}
id: "{{row}}-{{style}}"
priority: 7
retry: {{on_unknown: fail, start_within: 10m}}
"""
ITEMS = 50


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(tasks.expand, "AT_ONCE", 8)


@pytest.fixture
def start(runtime, run):
    """Adds a campaign as `campaign start` does."""

    async def add(text=SPEC, *, rows=ROWS, planned=ITEMS):
        spec = parse_spec(text.encode(), source="shoot.yaml")
        key = None
        if rows is not None:
            key = file_key(hashlib.sha256(rows.encode()).hexdigest(), ".csv")
            await write(runtime.store, key, rows.encode())
        return await run(
            add_campaign,
            name=spec.name,
            endpoint=FLUX,
            spec=spec.model_dump(mode="json", exclude_unset=True),
            rows_key=key,
            planned=planned,
        )

    return add


async def read_jobs(run, campaign_id):
    jobs = await run(list_jobs, JobFilter(campaign_id=campaign_id), limit=1000)
    return sorted(jobs, key=lambda job: job.position)


async def test_every_item_becomes_one_job(runtime, run, start):
    campaign_id = await start()

    left = await expand_campaign(runtime, campaign_id)

    jobs = await read_jobs(run, campaign_id)
    assert not left
    assert [job.position for job in jobs] == list(range(ITEMS))
    assert [job.custom_id for job in jobs[:3]] == ["2-oil", "2-ink", "3-oil"]
    assert jobs[5].input == {"prompt": "a fox 2 in ink", "seed": 2, "width": 256, "height": 256}
    assert {job.priority for job in jobs} == {7}
    assert {job.on_unknown for job in jobs} == {OnUnknown.FAIL}
    assert all(job.start_by is not None for job in jobs)
    campaign = await run(get_campaign, campaign_id)
    assert (campaign.total, campaign.expanded) == (ITEMS, ITEMS)
    assert not list((runtime.settings.data_dir / "spool").glob(f"{campaign_id}*"))


async def test_its_lanes_are_rung(runtime, start):
    campaign_id = await start()

    await expand_campaign(runtime, campaign_id)

    assert len(await runtime.redis.keys(f"*bell:submit:{FLUX}")) == 1


@pytest.mark.parametrize("dies_in", ["enqueue_jobs", "close_campaign"])
async def test_whatever_dies_who_goes_on_leaves_out_and_doubles_nothing(
    runtime, run, start, monkeypatch, dies_in
):
    campaign_id = await start()
    calls = 0
    real = getattr(tasks.expand, dies_in)

    async def die_now_and_then(session, *args):
        nonlocal calls
        calls += 1
        await real(session, *args)
        if calls % 3 == 1:
            raise RuntimeError("killed")

    monkeypatch.setattr(tasks.expand, dies_in, die_now_and_then)
    for _ in range(20):
        try:
            await expand_campaign(runtime, campaign_id)
            break
        except RuntimeError:
            continue

    jobs = await read_jobs(run, campaign_id)
    assert calls > 1
    assert [job.position for job in jobs] == list(range(ITEMS))
    assert len({job.custom_id for job in jobs}) == ITEMS


async def test_several_at_once_enqueue_each_item_once(runtime, run, start):
    campaign_id = await start()

    await asyncio.gather(*(expand_campaign(runtime, campaign_id) for _ in range(5)))

    for _ in range(10):  # whoever gave way may have left some
        await expand_campaign(runtime, campaign_id)
    jobs = await read_jobs(run, campaign_id)
    assert [job.position for job in jobs] == list(range(ITEMS))


async def test_a_spell_ends_and_says_that_some_are_left(runtime, run, start, monkeypatch):
    campaign_id = await start()
    monkeypatch.setattr(tasks.expand, "SPELL_SECONDS", 0.0)

    assert await expand_campaign(runtime, campaign_id)
    monkeypatch.setattr(tasks.expand, "SPELL_SECONDS", 20.0)
    assert not await expand_campaign(runtime, campaign_id)
    assert len(await read_jobs(run, campaign_id)) == ITEMS


async def test_items_of_a_pace_are_due_one_after_the_other(runtime, start, database):
    campaign_id = await start(SPEC + "pace: {over: 490s}\n")

    await expand_campaign(runtime, campaign_id)

    async with database.begin() as session:
        due = (
            await session.scalars(
                text("""
                    SELECT extract(epoch FROM next_at - campaigns.created_at) FROM jobs
                    JOIN campaigns ON campaigns.id = campaign_id ORDER BY position
                """)
            )
        ).all()
    assert [float(one) for one in due] == pytest.approx([10.0 * n for n in range(ITEMS)], abs=3)


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ((SPEC, ROWS + ",9\n"), (None, ITEMS + 2)),
        ((SPEC.replace("width: 256", "width: 1"), ROWS), ("subjects.csv:2: width: ", 0)),
        ((SPEC, ROWS.replace("fox 20,20", "fox 20,x")), ("subjects.csv:22: seed: ", 40)),
        ((SPEC, ROWS + "a,b,c\n"), ("subjects.csv:27: row: came 3 cells", 48)),
        ((SPEC.replace("{what}", "{waht}"), ROWS), ("subjects.csv:2: {waht}: no such column", 0)),
    ],
)
async def test_an_item_that_is_wrong_after_all_ends_it_and_what_is_enqueued_runs_on(
    runtime, run, start, given, outcome
):
    (spec, rows), (said, enqueued) = given, outcome
    campaign_id = await start(spec, rows=rows)

    assert not await expand_campaign(runtime, campaign_id)

    progress = await run(count_jobs, campaign_id)
    assert (progress.total, progress.enqueued) == (enqueued, enqueued)
    assert (progress.problem or "").startswith(said or "")
    assert (progress.problem is None) is (said is None)
    assert not await expand_campaign(runtime, campaign_id)
    assert await run(claim_unexpanded, idle_seconds=0) == []


async def test_a_file_that_is_gone_from_the_store_is_said(runtime, run, start):
    campaign_id = await start()
    campaign = await run(get_campaign, campaign_id)
    path = Path(runtime.settings.data_dir) / "store" / campaign.rows_key
    path.unlink()

    assert not await expand_campaign(runtime, campaign_id)

    assert "not found" in (await run(count_jobs, campaign_id)).problem.lower()


async def test_what_was_cancelled_is_not_expanded_further(runtime, run, start, monkeypatch):
    campaign_id = await start()
    monkeypatch.setattr(tasks.expand, "SPELL_SECONDS", 0.0)
    await expand_campaign(runtime, campaign_id)
    await run(close_campaign, campaign_id)
    enqueued = len(await read_jobs(run, campaign_id))

    assert not await expand_campaign(runtime, campaign_id)

    assert len(await read_jobs(run, campaign_id)) == enqueued


async def test_the_sweep_sends_for_what_nobody_is_at(runtime, start, execute, monkeypatch):
    idle, busy = await start(), await start(SPEC.replace("shoot", "b"))
    done = await start(SPEC.replace("shoot", "c"))
    await expand_campaign(runtime, done)
    await execute("UPDATE campaigns SET created_at = now() - interval '1 min'")
    await execute("UPDATE campaigns SET expanded_at = now() WHERE id = :id", id=busy)
    sent = []
    monkeypatch.setattr(tasks.expand, "send_expand", lambda _runtime, one: sent.append(one))

    for _ in range(3):  # sweeps are closer together than that
        await resume_expanding(runtime)

    assert sent == [idle]


async def test_two_campaigns_of_one_name_are_refused(run, start):
    await start()

    with pytest.raises(NameTaken, match="'shoot' is there already"):
        await start()
    await run(add_campaign, name="shoot", endpoint=FLUX)  # of no specification: not held to it


async def test_equal_requests_take_the_results_that_are_there(runtime, run, start, execute):
    first = await start()
    await expand_campaign(runtime, first)
    await execute(
        """
        UPDATE jobs SET state = 'completed', finished_at = now(), next_at = NULL, cost_usd = 1,
            output = '{"image_url": "x"}', virtual_start = NULL
        WHERE position < 10
        """
    )

    again = await start(SPEC.replace("shoot", "again") + "reuse: true\n")
    await expand_campaign(runtime, again)

    progress = await run(count_jobs, again)
    assert (progress.completed, progress.queued) == (10, ITEMS - 10)
    assert progress.spent_usd == 0


async def test_results_of_a_key_are_not_given_to_who_has_none(runtime, run, issue, execute, start):
    _, key_id = await issue("shop")
    campaign_id = await start()
    await expand_campaign(runtime, campaign_id)
    await execute(
        """
        UPDATE jobs SET state = 'completed', finished_at = now(), next_at = NULL, key_id = :key,
            output = '{}', virtual_start = NULL
        """,
        key=key_id,
    )

    again = await start(SPEC.replace("shoot", "again") + "reuse: true\n")
    await expand_campaign(runtime, again)

    assert (await run(count_jobs, again)).completed == 0


async def test_without_a_file_prompts_stand_in_the_specification(runtime, run, start):
    campaign_id = await start(
        f"name: few\nendpoint: {FLUX}\nprompts: [a fox, an owl]", rows=None, planned=2
    )

    await expand_campaign(runtime, campaign_id)

    assert [job.input for job in await read_jobs(run, campaign_id)] == [
        {"prompt": "a fox"},
        {"prompt": "an owl"},
    ]


async def test_jobs_of_no_campaign_have_no_custom_id(run):
    await run(enqueue_jobs, [NewJob(id=new_id(), endpoint=FLUX, input={})])

    [job] = await run(list_jobs, JobFilter(), limit=10)

    assert job.custom_id is None


@pytest.mark.parametrize(
    ("said", "wanted"), [("", OnUnknown.FAIL), ("retry: {on_unknown: resubmit}", "resubmit")]
)
async def test_what_the_specification_does_not_say_of_lost_replies_operators_do(
    runtime, run, start, *, said, wanted
):
    await run(put_setting, name="on_unknown", value="fail")
    await runtime.operator.get(fresh=True)
    text = f"name: few\nendpoint: {FLUX}\nprompts: [a fox]\n{said}"
    campaign_id = await start(text, rows=None, planned=1)

    await expand_campaign(runtime, campaign_id)

    [job] = await read_jobs(run, campaign_id)
    assert job.on_unknown == wanted
