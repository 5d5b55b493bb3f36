"""What the autoscaler of deploy/kubernetes asks the database, by the database's own word."""

from pathlib import Path

import pytest
import yaml
from sqlalchemy import text

from models.job import OnUnknown
from models.lane import StageName, set_paused
from tasks.intake import Request, check_request, enqueue
from workers.maintenance import begin_maintenance

FILE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "examples" / "autoscaling.yaml"
FLUX = "black-forest-labs-flux-1-schnell"


@pytest.fixture
def ask(database):
    """How much the autoscaler finds waiting."""
    [query] = [
        trigger["metadata"]["query"]
        for document in yaml.safe_load_all(FILE.read_text())
        for trigger in document["spec"].get("triggers", ())
    ]

    async def ask():
        async with database.begin() as session:
            return await session.scalar(text(query))

    return ask


async def test_what_is_due_counts_and_what_a_limit_holds_back_does_so_but_for_ten_seconds_of_it(
    runtime, database, ask
):
    assert await ask() == 0
    request = Request(endpoint=FLUX, input={"prompt": "a fox"})
    jobs = [
        check_request(runtime.catalogue, request, on_unknown=OnUnknown.RESUBMIT).job
        for _ in range(1_200)
    ]
    await enqueue(runtime, jobs)

    assert await ask() == 1_000
    async with database.begin() as session:
        await session.execute(
            text("UPDATE jobs SET next_at = now() + interval '1 hour' WHERE id <> ALL (:ids)"),
            {"ids": [job.id for job in jobs[:7]]},
        )
    assert await ask() == 7


async def test_polls_count_once_they_are_late_and_a_paused_lane_does_not(runtime, database, ask):
    request = Request(endpoint=FLUX, input={"prompt": "a fox"})
    jobs = [
        check_request(runtime.catalogue, request, on_unknown=OnUnknown.RESUBMIT).job
        for _ in range(5)
    ]
    await enqueue(runtime, jobs)
    async with database.begin() as session:
        await set_paused(session, StageName.SUBMIT, FLUX, paused=True)
    assert await ask() == 0
    async with database.begin() as session:
        await set_paused(session, StageName.SUBMIT, FLUX, paused=False)
        await begin_maintenance(session, reason="", refuse=False)
    assert await ask() == 0
    async with database.begin() as session:
        for seconds, job in zip((0, 1, 3, 60), jobs, strict=False):
            await session.execute(
                text(
                    "UPDATE jobs SET state = 'in_queue', upstream_id = 'u', attempt = 1, "
                    "next_at = now() - make_interval(secs => :seconds) WHERE id = :id"
                ),
                {"seconds": seconds, "id": job.id},
            )

    assert await ask() == 2
