"""A campaign's report: what it tells, and that it shows what others wrote as text."""

from typing import Any

import pytest

from gateway.reports.collect import collect_report, render_html
from models.artifact import NewArtifact, add_artifacts
from models.base import new_id
from models.campaign import add_campaign, close_campaign
from models.errors import NotFound
from models.transitions import NewJob, enqueue_jobs
from tests.integration.conftest import FLUX
from workers.store import thumbnail_key, write

CHAT = "granite-4-0-h-small"
EVIL = "<script>alert('x')</script>"
PICTURE = b"RIFF....WEBP"


@pytest.fixture
async def campaign_id(runtime, run, execute):
    """Four jobs: one with a picture, one with a text, one that failed, one that waits."""
    campaign = await run(
        add_campaign,
        name=f"shoot {EVIL}",
        endpoint=None,
        spec={"name": "shoot", "tags": ["spring"]},
        planned=5,
    )
    inputs: list[dict[str, Any]] = [
        {"prompt": f"a fox {EVIL}"},
        {"messages": [{"role": "user", "content": "say hello"}]},
        {"prompt": "an owl"},
        {"prompt": "a hare"},
    ]
    jobs = [
        NewJob(
            id=new_id(),
            endpoint=CHAT if "messages" in values else FLUX,
            input=values,
            campaign_id=campaign,
            position=place,
            custom_id=f"item-{place}",
            estimate_usd="0.5",
        )
        for place, values in enumerate(inputs)
    ]
    await run(enqueue_jobs, jobs)
    ended = "finished_at = now(), next_at = NULL, virtual_start = NULL"
    done = f"state = 'completed', cost_usd = 0.25, delay_ms = 500, execution_ms = 2500, {ended}"
    await execute(f"UPDATE jobs SET {done} WHERE position = 0")
    await execute(
        f"UPDATE jobs SET {done}, output = CAST(:output AS jsonb) WHERE position = 1",
        output='[{"choices": [{"tokens": ["hello there"]}]}]',
    )
    await execute(
        f"UPDATE jobs SET state = 'failed', reason = 'upstream_failed', error = :error, {ended}"
        " WHERE position = 2",
        error=f"out of memory {EVIL}",
    )
    file = NewArtifact(
        job_id=jobs[0].id,
        position=0,
        endpoint=FLUX,
        field="image_url",
        source_url="https://x",
        lives_seconds=60,
    )
    await run(add_artifacts, [file])
    key = thumbnail_key("a" * 64)
    await write(runtime.store, key, PICTURE)
    await execute(
        "UPDATE artifacts SET state = 'stored', sha256 = 'a', store_key = 'b', stored_at = now(),"
        " size_bytes = 1000, width = 512, height = 768, thumbnail_key = :key",
        key=key,
    )
    return campaign


async def test_it_tells_how_jobs_ended_what_they_cost_and_took(runtime, campaign_id):
    report = await collect_report(runtime, campaign_id, results=10)

    told = report.describe()
    assert (told["jobs"], told["settled"], told["tags"]) == (5, False, ["spring"])
    flux = next(one for one in told["endpoints"] if one["endpoint"] == FLUX)
    assert (flux["jobs"], flux["completed"], flux["failed"]) == (3, 1, 1)
    assert (flux["p50_seconds"], flux["p95_seconds"]) == (3.0, 3.0)
    assert float(flux["cost_usd"]) == 0.25
    [ending] = told["endings"]
    assert (ending["state"], ending["reason"], ending["jobs"]) == ("failed", "upstream_failed", 1)
    assert [one["custom_id"] for one in told["results"]] == [f"item-{n}" for n in range(4)]
    assert [one["state"] for one in told["results"]] == [
        "completed",
        "completed",
        "failed",
        "queued",
    ]
    first = told["results"][0]
    assert (first["size"], first["seconds"], first["prompt"]) == ("512x768", 3.0, f"a fox {EVIL}")
    assert "picture" not in first


async def test_its_page_needs_nothing_beside_it_and_runs_nothing_of_others(runtime, campaign_id):
    page = render_html(await collect_report(runtime, campaign_id, results=10))

    assert EVIL not in page
    assert page.count("&lt;script&gt;") >= 4  # the name twice, a prompt, an error
    assert "data:image/webp;base64,UklGRi4uLi5XRUJQ" in page
    assert "hello there" in page
    assert "the emulator" in page
    assert "http://" not in page
    assert "https://" not in page


async def test_it_shows_as_many_results_as_are_asked_for(runtime, campaign_id):
    report = await collect_report(runtime, campaign_id, results=2)

    assert len(report.results) == 2
    assert "the first 2 of 5" in " ".join(render_html(report).split())


async def test_a_thumbnail_that_is_gone_leaves_a_word(runtime, campaign_id):
    for path in (runtime.settings.data_dir / "store").rglob("*.webp"):
        path.unlink()

    [first] = (await collect_report(runtime, campaign_id, results=1)).results

    assert first.picture is None


async def test_a_campaign_without_jobs_has_a_report(runtime, run):
    empty = await run(add_campaign, name="empty", endpoint=FLUX)
    await run(close_campaign, empty)

    assert "Nothing is enqueued yet." in render_html(
        await collect_report(runtime, empty, results=10)
    )


async def test_there_is_none_of_what_does_not_exist(runtime):
    with pytest.raises(NotFound):
        await collect_report(runtime, new_id(), results=10)
