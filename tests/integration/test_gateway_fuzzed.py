"""`/v2`: arbitrary bytes and arbitrary JSON: never an error of ours, nothing kept of a refusal."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tests.integration.conftest import FLUX

PATHS = ["run", "runsync?wait=1000"]
REFUSALS = {400, 413, 415, 422}
LIMITED = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

texts = st.text(st.characters(codec=None), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | texts
    | st.sampled_from(["https://example.com/", "\x00", "\ud800", "http://127.0.0.1/"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
inputs = st.dictionaries(texts | st.sampled_from(["prompt", "seed", "width"]), values, max_size=5)
policies = st.dictionaries(
    st.sampled_from(["ttl", "executionTimeout", "lowPriority"]) | texts, values, max_size=3
)
bodies = values | st.fixed_dictionaries(
    {"input": inputs | values},
    optional={
        "webhook": values,
        "policy": policies | values,
        "s3Config": st.dictionaries(st.sampled_from(["accessId", "bucketName"]), values),
        "unheard": values,
    },
)


async def count_jobs(database):
    async with database.begin() as session:
        return await session.scalar(text("SELECT count(*) FROM jobs"))


async def assert_decided(client, database, content, *, endpoint, path):
    """Taken and recorded, or refused and not: nothing between."""
    before = await count_jobs(database)

    response = await client.post(
        f"/v2/{endpoint}/{path}", content=content, headers={"Content-Type": "application/json"}
    )

    recorded = await count_jobs(database) - before
    body = response.json()
    if response.status_code == 200:
        assert body["status"] == "IN_QUEUE"
        assert recorded in {0, 1}  # 0: it joined one with its seed
    else:
        assert response.status_code in REFUSALS
        assert (body["status"], recorded) == ("FAILED", 0)
        assert body["error"]


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch):
    """A runsync that is taken waits for nobody here."""
    monkeypatch.setattr("gateway.upstream_api.jobs._read_wait", lambda _request: 0.0)


@pytest.mark.parametrize("path", PATHS)
@LIMITED
@given(content=st.binary(max_size=200))
async def test_arbitrary_bytes_are_decided(client, database, path, content):
    await assert_decided(client, database, content, endpoint=FLUX, path=path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("endpoint", [FLUX, "my-own"])
@LIMITED
@given(body=bodies, ascii_only=st.booleans())
async def test_arbitrary_json_is_decided(  # noqa: PLR0917 -- fixtures and what is drawn
    client, database, path, endpoint, body, ascii_only
):
    content = json.dumps(body, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    await assert_decided(client, database, content, endpoint=endpoint, path=path)


@LIMITED
@given(head=st.binary(max_size=12), cut=st.integers(0, 60), flipped=st.integers(0, 59))
async def test_a_body_that_was_damaged_on_the_way_is_decided(client, database, head, cut, flipped):
    whole = bytearray(b'{"input": {"prompt": "a fox", "seed": 7, "width": 1024}}    ')
    whole[flipped] ^= 1 << (cut % 8)

    await assert_decided(client, database, head + whole[:cut], endpoint=FLUX, path="run")
