"""What is not in our keeping yet is measured; what the store lost is found, and fetched again."""

import base64
import hashlib
import io
import json

import pytest
from PIL import Image
from sqlalchemy import text
from structlog.testing import capture_logs

from gateway.cli.verify import Fault, Problem, Remedy, WrongStore, examine, verify_store
from models.artifact import ArtifactState, NewArtifact, add_artifacts, get_artifact, list_artifacts
from models.custody import (
    Content,
    count_stored,
    list_contents,
    measure_custody,
    refetch_artifact,
    refetch_set_aside,
)
from models.job import OnUnknown
from tasks.archive import ARCHIVE
from tasks.custody import find_problems, watch_custody
from tasks.intake import Request, check_request, enqueue
from tests.integration.conftest import FLUX
from workers.lane import LaneRun
from workers.store import write


def picture(level=90):
    buffer = io.BytesIO()
    Image.effect_noise((64, 48), level).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def data_url(content):
    return "data:image/png;base64," + base64.b64encode(content).decode()


async def add_job(runtime, **columns):
    """A job with the columns as they are given, SQL each."""
    request = Request(endpoint=FLUX, input={"prompt": "a fox"})
    job = check_request(runtime.catalogue, request, on_unknown=OnUnknown.FAIL).job
    await enqueue(runtime, [job])
    sets = ", ".join(f"{name} = {value}" for name, value in columns.items())
    async with runtime.database.begin() as session:
        await session.execute(text(f"UPDATE jobs SET {sets} WHERE id = :id"), {"id": job.id})
    return job.id


async def add_in_flight(runtime, *, submitted, polled=None, **columns):
    return await add_job(
        runtime,
        state="'in_queue'",
        upstream_id="'abc'",
        submitted_at=f"now() - interval '{submitted}'",
        polled_at=f"now() - interval '{polled}'" if polled else "NULL",
        **columns,
    )


async def add_file(runtime, url, *, lives_seconds=600.0):
    job_id = await add_job(runtime, state="'completed'", finished_at="now()", next_at="NULL")
    async with runtime.database.begin() as session:
        await add_artifacts(
            session,
            [
                NewArtifact(
                    job_id=job_id,
                    position=0,
                    endpoint=FLUX,
                    field="image_url",
                    source_url=url,
                    lives_seconds=lives_seconds,
                )
            ],
        )
        [artifact] = await list_artifacts(session, job_ids=[job_id])
    return artifact.id


async def add_stored(runtime, content, **options):
    file_id = await add_file(runtime, data_url(content), **options)
    await LaneRun(runtime, ARCHIVE, FLUX).run()
    return await find_file(runtime, file_id)


async def find_file(runtime, file_id):
    async with runtime.database.begin() as session:
        return await get_artifact(session, file_id)


async def execute(runtime, statement):
    async with runtime.database.begin() as session:
        await session.execute(text(statement))


async def measure(runtime):
    async with runtime.database.begin() as session:
        return await measure_custody(session)


async def verify(runtime, *, refetch=False, all_lost=False):
    """(files looked at, problems)."""
    files = 0
    problems: list[Problem] = []
    async for page, found in verify_store(
        runtime, campaign_id=None, refetch=refetch, all_lost=all_lost
    ):
        files += sum(content.files for content in page)
        problems += found
    return files, problems


def path_in_store(runtime, key):
    return runtime.settings.data_dir / "store" / key


async def test_with_nothing_under_way_nothing_is_measured(runtime):
    custody = await measure(runtime)

    assert (custody.in_flight, custody.unread_seconds) == (0, None)
    assert (custody.to_copy, custody.uncopied_seconds, custody.url_seconds) == (0, None, None)
    assert find_problems(custody, clock=1.0) == []


async def test_a_result_counts_as_unread_since_the_upstream_last_spoke_of_its_job(runtime):
    await add_in_flight(runtime, submitted="2 hours", polled="5 seconds")
    await add_in_flight(runtime, submitted="300 seconds")
    await add_in_flight(
        runtime, submitted="1 hour", polled="400 seconds", cancel_requested_at="now()"
    )
    await add_job(runtime, next_at="now() - interval '5 hours'")  # only queued

    custody = await measure(runtime)

    assert custody.in_flight == 3
    assert custody.unread_seconds == pytest.approx(400, abs=20)


async def test_files_are_measured_by_their_age_and_the_life_of_their_urls(runtime):
    await add_file(runtime, "https://files.test/a.png", lives_seconds=5000.0)
    await add_file(runtime, "https://files.test/b.png", lives_seconds=9000.0)
    await execute(
        runtime,
        "UPDATE artifacts SET created_at = now() - interval '100 seconds' "
        "WHERE source_url LIKE '%b.png'",
    )

    custody = await measure(runtime)

    assert (custody.to_copy, custody.lost) == (2, 0)
    assert custody.uncopied_seconds == pytest.approx(100, abs=20)
    assert custody.url_seconds == pytest.approx(5000, abs=20)


@pytest.mark.parametrize(
    ("columns", "given_up", "set_aside"),
    [
        ("state = 'expired', next_at = now() - interval '1 hour'", 1, 0),
        ("state = 'expired', next_at = now() - interval '25 hours'", 0, 0),
        ("state = 'failed', next_at = now() - interval '25 hours'", 0, 1),
    ],
)
async def test_files_given_up_count_for_a_day_and_files_set_aside_until_they_are_tried(
    runtime, columns, given_up, set_aside
):
    await add_file(runtime, "https://files.test/a.png")
    await execute(runtime, f"UPDATE artifacts SET {columns}")

    custody = await measure(runtime)

    assert (custody.given_up, custody.set_aside) == (given_up, set_aside)
    assert len(find_problems(custody, clock=1.0)) == given_up + set_aside


@pytest.mark.parametrize(
    ("clock", "submitted", "problem"),
    [
        (1.0, "590 seconds", False),
        (1.0, "610 seconds", True),
        (20.0, "25 seconds", False),
        (20.0, "35 seconds", True),
    ],
)
async def test_a_third_of_the_upstreams_half_hour_is_a_problem_on_its_clock(
    runtime, clock, submitted, problem
):
    await add_in_flight(runtime, submitted=submitted)

    problems = find_problems(await measure(runtime), clock=clock)

    assert len(problems) == problem
    assert all("unread" in one for one in problems)


@pytest.mark.parametrize(
    ("age", "lives_seconds", "words"),
    [
        ("23 hours", 100_000.0, []),
        ("25 hours", 100_000.0, ["has not been copied"]),
        ("1 hour", 80_000.0, ["dies upstream"]),
        ("25 hours", 80_000.0, ["has not been copied", "dies upstream"]),
    ],
)
async def test_a_file_uncopied_for_a_day_or_a_day_before_its_urls_end_is_a_problem(
    runtime, age, lives_seconds, words
):
    await add_file(runtime, "https://files.test/a.png", lives_seconds=lives_seconds)
    await execute(runtime, f"UPDATE artifacts SET created_at = now() - interval '{age}'")

    problems = find_problems(await measure(runtime), clock=1.0)

    assert len(problems) == len(words)
    assert all(word in problem for word, problem in zip(words, problems, strict=True))


async def test_the_alarm_is_raised_once_in_a_while_and_not_by_every_sweep(runtime):
    await add_in_flight(runtime, submitted="1 hour")

    with capture_logs() as logs:
        first = await watch_custody(runtime)
        second = await watch_custody(runtime)
        await runtime.redis.flushall()
        third = await watch_custody(runtime)

    assert (len(first), len(second), len(third)) == (1, 0, 1)
    assert [entry["event"] for entry in logs] == ["custody_endangered", "custody_endangered"]
    assert logs[0]["unread_seconds"] == pytest.approx(3600, abs=20)


@pytest.mark.parametrize(
    ("there", "all_lost", "refused"), [(0, False, True), (1, False, False), (0, True, False)]
)
async def test_a_store_in_which_nothing_is_found_is_taken_for_another(
    runtime, monkeypatch, there, all_lost, refused
):
    monkeypatch.setattr("gateway.cli.verify.PROBED", 3)
    files = [await add_stored(runtime, picture(level)) for level in (10, 50, 90)]
    for file in files[there:]:
        path_in_store(runtime, file.store_key).unlink()

    if refused:
        with pytest.raises(WrongStore, match="nothing was changed"):
            await verify(runtime, refetch=True)
    else:
        await verify(runtime, refetch=True, all_lost=all_lost)

    states = [(await find_file(runtime, file.id)).state for file in files]
    assert states.count(ArtifactState.PENDING) == (0 if refused else 3 - there)


async def test_files_that_are_still_to_be_fetched_again_are_a_problem(runtime):
    file = await add_stored(runtime, picture())
    path_in_store(runtime, file.store_key).unlink()
    await verify(runtime, refetch=True)

    problems = find_problems(await measure(runtime), clock=1.0)

    assert [one for one in problems if one.startswith("1 files that the store lost")]


async def test_a_store_that_is_as_it_was_has_no_problems(runtime):
    await add_stored(runtime, picture())

    assert await verify(runtime) == (1, [])


@pytest.mark.parametrize("fault", [Fault.MISSING, Fault.CHANGED])
async def test_a_file_missing_or_changed_is_said_and_fetched_again(runtime, fault):
    file = await add_stored(runtime, picture())
    path = path_in_store(runtime, file.store_key)
    path.unlink() if fault is Fault.MISSING else path.write_bytes(b"other bytes")

    files, [said] = await verify(runtime)
    _, [mended] = await verify(runtime, refetch=True)
    pending = await find_file(runtime, file.id)
    await LaneRun(runtime, ARCHIVE, FLUX).run()
    stored = await find_file(runtime, file.id)

    assert files == 1
    assert (said.fault, said.of, said.remedy) == (fault, "file", None)
    assert [artifact for artifact, _ in said.files] == [file.id]
    assert mended.remedy is Remedy.REFETCHED
    assert (pending.state, pending.sha256, pending.lost_sha256) == (
        ArtifactState.PENDING,
        None,
        file.sha256,
    )
    assert (stored.state, stored.sha256, stored.lost_sha256, stored.error) == (
        ArtifactState.STORED,
        file.sha256,
        None,
        None,
    )
    assert await verify(runtime) == (1, [])


async def test_nothing_is_touched_where_no_url_lives(runtime):
    file = await add_stored(runtime, picture())
    await execute(
        runtime,
        "UPDATE artifacts SET expires_at = now(), source_url = 'https://files.test/gone.png'",
    )
    path_in_store(runtime, file.store_key).unlink()

    _, problems = await verify(runtime, refetch=True)

    assert {problem.remedy for problem in problems} == {Remedy.NONE}
    assert (await find_file(runtime, file.id)).state is ArtifactState.STORED


async def test_bytes_that_files_share_are_fetched_once_by_one_whose_url_lives(runtime):
    content = picture()
    dead = await add_stored(runtime, content)
    await execute(
        runtime, "UPDATE artifacts SET expires_at = now(), source_url = 'https://files.test/gone'"
    )
    alive = await add_stored(runtime, content)
    path_in_store(runtime, dead.store_key).unlink()

    _, [problem] = await verify(runtime, refetch=True)
    _, [again] = await verify(runtime, refetch=True)  # before it has come
    states = [(await find_file(runtime, one.id)).state for one in (dead, alive)]
    await LaneRun(runtime, ARCHIVE, FLUX).run()

    assert {artifact for artifact, _ in problem.files} == {dead.id, alive.id}
    assert (problem.remedy, again.remedy) == (Remedy.REFETCHED, Remedy.UNDER_WAY)
    assert states == [ArtifactState.STORED, ArtifactState.PENDING]
    assert await verify(runtime) == (2, [])


async def test_other_bytes_than_were_lost_are_stored_and_said_to_be_others(runtime):
    file = await add_stored(runtime, picture())
    path_in_store(runtime, file.store_key).unlink()
    await verify(runtime, refetch=True)
    others = picture(50)
    await execute(runtime, f"UPDATE artifacts SET source_url = '{data_url(others)}'")

    await LaneRun(runtime, ARCHIVE, FLUX).run()

    stored = await find_file(runtime, file.id)
    assert stored.sha256 == hashlib.sha256(others).hexdigest()
    assert stored.lost_sha256 == file.sha256
    assert "other bytes" in stored.error


async def test_a_lost_file_that_fails_to_come_keeps_what_is_known_of_it(runtime):
    file = await add_stored(runtime, picture())
    path_in_store(runtime, file.store_key).unlink()
    await verify(runtime, refetch=True)
    await execute(runtime, "UPDATE artifacts SET source_url = 'http://127.0.0.1:1/fox.png'")

    await LaneRun(runtime, ARCHIVE, FLUX).run()

    failed = await find_file(runtime, file.id)
    assert failed.state is ArtifactState.PENDING
    assert (failed.lost_sha256, failed.size_bytes, failed.width) == (
        file.sha256,
        file.size_bytes,
        64,
    )
    custody = await measure(runtime)
    assert (custody.to_copy, custody.lost, custody.uncopied_seconds) == (1, 1, None)


@pytest.mark.parametrize("how", ["missing", "broken"])
async def test_a_thumbnail_is_made_again_from_its_file(runtime, how):
    file = await add_stored(runtime, picture())
    path = path_in_store(runtime, file.thumbnail_key)
    path.unlink() if how == "missing" else path.write_bytes(path.read_bytes()[:40])

    _, [said] = await verify(runtime)
    _, [mended] = await verify(runtime, refetch=True)

    assert (said.of, said.fault) == (
        "thumbnail",
        Fault.MISSING if how == "missing" else Fault.UNREADABLE,
    )
    assert mended.remedy is Remedy.REMADE
    assert await verify(runtime) == (1, [])


async def test_a_file_that_is_there_at_the_second_look_was_being_written(runtime, monkeypatch):
    content = picture()
    file = await add_stored(runtime, content)
    path_in_store(runtime, file.store_key).unlink()

    async def list_late(session, **options):
        """The write ends between the two looks."""
        await write(runtime.store, file.store_key, content)
        return await list_contents(session, **options)

    monkeypatch.setattr("gateway.cli.verify.list_contents", list_late)

    known = Content(file.sha256, file.store_key, file.thumbnail_key, 1)
    assert await examine(runtime, known, refetch=True) == []
    assert (await find_file(runtime, file.id)).state is ArtifactState.STORED


async def test_a_file_that_has_gone_to_be_fetched_again_is_no_problem(runtime):
    file = await add_stored(runtime, picture())
    path_in_store(runtime, file.store_key).unlink()
    known = Content(file.sha256, file.store_key, file.thumbnail_key, 1)
    await examine(runtime, known, refetch=True)

    assert await examine(runtime, known, refetch=True) == []


async def test_every_page_is_read_and_shared_bytes_once(runtime, monkeypatch):
    monkeypatch.setattr("gateway.cli.verify.PAGE", 2)
    contents = [picture(level) for level in range(50, 55)]
    for content in [*contents, contents[0]]:
        await add_stored(runtime, content)

    pages = [page async for page, _ in verify_store(runtime, campaign_id=None, refetch=False)]

    assert [len(page) for page in pages] == [2, 2, 1]
    assert sum(content.files for page in pages for content in page) == 6
    async with runtime.database.begin() as session:
        assert await count_stored(session) == 6


async def test_a_file_that_was_set_aside_or_given_up_starts_anew(runtime):
    aside = await add_file(runtime, data_url(picture()))
    dead = await add_file(runtime, data_url(picture(70)))
    await execute(
        runtime,
        f"UPDATE artifacts SET deaths = 3, tries = 7, state = CASE WHEN id = '{aside}' "
        "THEN 'failed' ELSE 'expired' END",
    )

    async with runtime.database.begin() as session:
        [tried] = await refetch_set_aside(session, why="asked for")
        again = await refetch_artifact(session, dead, why="asked for")
    reset = await find_file(runtime, aside)
    await LaneRun(runtime, ARCHIVE, FLUX).run()

    assert again is not None
    assert (tried.id, again.id) == (aside, dead)
    assert (reset.state, reset.deaths, reset.tries) == (ArtifactState.PENDING, 0, 0)
    for file_id in (aside, dead):
        assert (await find_file(runtime, file_id)).state is ArtifactState.STORED


@pytest.mark.parametrize("state", [ArtifactState.STORED, ArtifactState.PENDING])
async def test_a_file_that_is_stored_or_awaited_is_left_as_it_is(runtime, state):
    file_id = await add_file(runtime, data_url(picture()))
    if state is ArtifactState.STORED:
        await LaneRun(runtime, ARCHIVE, FLUX).run()

    async with runtime.database.begin() as session:
        assert await refetch_artifact(session, file_id, why="asked for") is None

    assert (await find_file(runtime, file_id)).state is state


async def test_a_problem_can_be_told_as_json(runtime):
    file = await add_stored(runtime, picture())
    path_in_store(runtime, file.store_key).unlink()

    _, [problem] = await verify(runtime, refetch=True)

    told = json.loads(json.dumps(problem.describe()))
    assert told["fault"] == "missing"
    assert told["remedy"] == "fetched again"
    assert told["artifacts"] == [str(file.id)]
    assert told["jobs"] == [str(file.job_id)]
