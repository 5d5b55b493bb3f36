"""An export: every item a line, every file whole and by name, and gone on with where it was cut."""

import hashlib
import json
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.reports.compare import NothingToCompare, compare_campaigns, render_comparison
from gateway.reports.export import LINES, SameName, export_campaign
from gateway.reports.file_names import USUAL, read_name
from models.artifact import NewArtifact, add_artifacts
from models.base import new_id
from models.campaign import add_campaign
from models.job import JobState
from models.transitions import NewJob, enqueue_jobs
from tests.integration.conftest import FLUX
from workers.store import file_key, write

OTHER = "p-image-t2i"


@pytest.fixture
def add(runtime, run, execute):
    """A campaign of completed jobs on endpoints, with a stored file each; its id."""

    async def add_one(jobs=5, endpoints=(FLUX,), *, ids=True, prompts="a fox"):
        campaign = await run(add_campaign, name=f"shoot {new_id()}", endpoint=None, spec={})
        new = [
            NewJob(
                id=new_id(),
                endpoint=endpoint,
                input={"prompt": f"{prompts} {n}", "seed": n},
                campaign_id=campaign,
                position=n * len(endpoints) + place,
                custom_id=f"item-{n}-{place}" if ids else None,
            )
            for n in range(jobs)
            for place, endpoint in enumerate(endpoints)
        ]
        await run(enqueue_jobs, new)
        await execute(
            "UPDATE jobs SET state = 'completed', cost_usd = 0.25, delay_ms = 500, finished_at ="
            " now(), execution_ms = 1500, next_at = NULL WHERE campaign_id = :id",
            id=campaign,
        )
        for job in new:
            await add_file(job)
        return campaign

    async def add_file(job):
        content = str(job.id).encode()
        digest = hashlib.sha256(content).hexdigest()
        key = file_key(digest, ".png")
        await write(runtime.store, key, content)
        file = NewArtifact(
            job_id=job.id,
            position=0,
            endpoint=job.endpoint,
            field="image_url",
            source_url="https://x",
            lives_seconds=60,
        )
        await run(add_artifacts, [file])
        await execute(
            "UPDATE artifacts SET state = 'stored', sha256 = :digest, store_key = :key,"
            " stored_at = now(), size_bytes = :size WHERE job_id = :job",
            digest=digest,
            key=key,
            size=len(content),
            job=job.id,
        )

    return add_one


@pytest.fixture
def export(runtime, tmp_path):
    async def export_one(campaign, *, name=USUAL, states=()):
        return await export_campaign(
            runtime,
            campaign,
            tmp_path / "out",
            name=read_name(name) if name else None,
            states=states,
            note=lambda _so_far: None,
        )

    return export_one


def read_lines(folder: Path):
    return [json.loads(line) for line in (folder / "out" / LINES).read_text().splitlines()]


async def test_each_item_is_a_line_and_each_file_is_whole(export, add, tmp_path):
    exported = await export(await add(), name="{endpoint}/{item}.{ext}")

    assert (exported.items, exported.fetched, exported.kept) == (5, 5, 0)
    assert exported.whole
    lines = read_lines(tmp_path)
    assert [line["custom_id"] for line in lines] == [f"item-{n}-0" for n in range(5)]
    for line in lines:
        [file] = line["files"]
        content = (tmp_path / "out" / file["path"]).read_bytes()
        assert content == line["id"].encode()
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
        assert (line["state"], line["cost_usd"]) == ("completed", 0.25)
        assert line["input"]["prompt"].startswith("a fox")
    assert not list((tmp_path / "out").rglob("*.part"))


async def test_what_was_cut_off_goes_on_and_what_is_damaged_is_written_anew(export, add, tmp_path):
    campaign = await add()
    await export(campaign)
    files = sorted((tmp_path / "out").glob("*.png"))
    files[0].unlink()
    files[1].write_bytes(b"x" * files[1].stat().st_size)
    (tmp_path / "out" / LINES).unlink()

    exported = await export(campaign)

    assert (exported.fetched, exported.kept) == (2, 3)
    assert len(read_lines(tmp_path)) == 5
    assert len({file.read_bytes() for file in files}) == 5


async def test_a_file_that_the_store_lost_or_that_is_another_is_said(
    runtime, export, add, tmp_path
):
    campaign = await add()
    lines = [file async for file in _keys(runtime, campaign)]
    await write(runtime.store, lines[0], b"rotten")
    await runtime.store.delete_async(lines[1])

    exported = await export(campaign)

    assert (exported.fetched, len(exported.broken), exported.whole) == (3, 2, False)
    assert any("was stored" in line for line in exported.broken)
    assert any("the store has lost it" in line for line in exported.broken)
    assert len(list((tmp_path / "out").iterdir())) == 4
    paths = [line["files"][0]["path"] for line in read_lines(tmp_path)]
    assert paths.count(None) == 2


async def _keys(runtime, campaign):
    async with runtime.database.begin() as session:
        rows = await session.scalars(
            text("""
                SELECT store_key FROM artifacts JOIN jobs ON jobs.id = job_id
                WHERE campaign_id = :id ORDER BY jobs.position
            """),
            {"id": campaign},
        )
    for key in rows:
        yield key


async def test_files_that_would_have_one_name_are_refused_before_anything_is_written(
    export, add, tmp_path
):
    campaign = await add(endpoints=(FLUX, OTHER), ids=False)

    with pytest.raises(SameName, match="would be a file of"):
        await export(campaign, name="{custom_id}x.{ext}")

    assert not (tmp_path / "out").exists()


async def test_one_that_runs_is_exported_as_far_as_it_is(export, add, tmp_path, execute):
    campaign = await add()
    await execute(
        "UPDATE jobs SET state = 'queued', finished_at = NULL, next_at = now() WHERE position = 4"
    )
    await execute(
        "UPDATE artifacts SET state = 'pending', sha256 = NULL, store_key = NULL WHERE job_id ="
        " (SELECT id FROM jobs WHERE position = 3)"
    )

    exported = await export(campaign)

    assert (exported.items, exported.not_ended, exported.missing) == (5, 1, 1)
    assert not exported.whole
    only = await export(campaign, states=[JobState.QUEUED], name=None)
    assert (only.items, only.fetched + only.kept) == (1, 0)
    assert [line["state"] for line in read_lines(tmp_path)] == ["queued"]


@pytest.mark.parametrize("by", ["id", "prompt and seed"])
async def test_two_campaigns_stand_side_by_side(runtime, add, by):
    first = await add(ids=by == "id")
    second = await add(jobs=7, endpoints=(OTHER,), ids=by == "id")

    told = await compare_campaigns(runtime, first, second, results=3)

    assert (told.matched_by, told.pairs, len(told.shown)) == (by, 5, 3)
    assert [side.alone for side in told.sides] == [0, 2]
    assert {one.prompt == other.prompt for one, other in told.shown} == {True}
    assert [(one.endpoint, other.endpoint) for one, other in told.shown] == [(FLUX, OTHER)] * 3
    assert [float(side.cost_usd) for side in told.sides] == [1.25, 1.75]
    assert [side.usd_per_result for side in told.sides] == [Decimal("0.25")] * 2
    page = render_comparison(told)
    assert page.count('<article class="result">') == 6
    assert "the first 3 of 5" in page
    assert told.describe()["sides"][1]["jobs"] == 7


async def test_the_endpoints_of_one_campaign_stand_side_by_side(runtime, add):
    campaign = await add(endpoints=(FLUX, OTHER))

    told = await compare_campaigns(runtime, campaign, None, results=10)

    assert [side.name for side in told.sides] == [FLUX, OTHER]
    assert (told.pairs, told.matched_by) == (5, "prompt and seed")


async def test_what_cannot_be_compared_is_said(runtime, add):
    first = await add()
    with pytest.raises(NothingToCompare, match="a second campaign was wanted"):
        await compare_campaigns(runtime, first, None, results=1)
    second = await add(prompts="an owl", ids=False)
    with pytest.raises(NothingToCompare, match="no item of one"):
        await compare_campaigns(runtime, first, second, results=1)


async def test_what_others_wrote_is_shown_as_text(runtime, add):
    first, second = await add(prompts="<script>x"), await add(prompts="<script>x")

    page = render_comparison(await compare_campaigns(runtime, first, second, results=5))

    assert "<script>" not in page
