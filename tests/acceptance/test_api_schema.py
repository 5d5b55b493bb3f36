"""The API is what its OpenAPI document says: read, and tried with generated requests.

A gateway listens on a port of its own, in a thread; no worker runs. What is generated keeps to the
document, or breaks it on purpose: whatever comes, no answer may be a 500, or another than the
document tells of.
"""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck
from hypothesis import settings as examples
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.app import GatewayServer, make_gateway
from models.database import Database, empty_tables
from models.key import Scope
from tests.conftest import make_key
from workers.settings import Settings

EXAMPLES = 25  # an operation
TURNS = itertools.count()
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
FLUX = "black-forest-labs-flux-1-schnell"


def load_api() -> BaseSchema:
    """The document without the endless stream, which test_api_events.py has, and without
    maintenance, in which all else may be refused: test_maintenance.py has it.
    """
    document = make_gateway(Settings(data_dir=Path("unused"))).openapi()
    schema = schemathesis.openapi.from_dict(document)
    return schema.include(path_regex="^/(api/v1|healthz|readyz)").exclude(
        path=["/api/v1/events", "/api/v1/maintenance"]
    )


API = load_api()


@pytest.fixture(scope="module")
def served(services: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway on a port of its own: its address."""

    async def empty() -> None:
        database = Database(services.database_dsn, name="tests")
        async with database.begin() as session:
            await empty_tables(session)
        await database.close()

    asyncio.run(empty())
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("gateway"),
        database_url=services.database_dsn,
        redis_url=services.redis_dsn,
    )
    app = make_gateway(settings)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False)
    server = GatewayServer(config, app)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    pause = threading.Event()
    for _ in range(600):
        if server.started:
            break
        pause.wait(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def key(served: str, services: Settings) -> str:
    assert served  # the tables were emptied before
    return make_key(services, "fuzz", Scope.OPERATE).secret


@pytest.fixture(scope="module")
def known(served: str, key: str) -> dict[str, str]:
    """Ids of what is there, for paths that name one."""
    with httpx.Client(base_url=served, headers={"Authorization": f"Bearer {key}"}) as client:
        body = {
            "endpoint": FLUX,
            "input": {"prompt": "a fox"},
            "webhook": "https://example.com/hook",
        }
        job_id = client.post("/api/v1/jobs", json=body).raise_for_status().json()["id"]
        deliveries = client.get("/api/v1/deliveries").json()["deliveries"]
        key_id = client.post("/api/v1/keys", json={"name": "other"}).json()["id"]
        hourly = {
            "name": "a",
            "endpoint": FLUX,
            "prompts": ["a fox"],
            "schedule": {"cron": "0 * * * *"},
        }
        made = client.post("/api/v1/schedules", json={"specification": hourly})
    return {
        "job_id": job_id,
        "delivery_id": deliveries[0]["id"],
        "key_id": key_id,
        "schedule_id": made.raise_for_status().json()["id"],
        "endpoint": FLUX,
        "stage": "submit",
    }


@pytest.fixture(scope="module")
def document(served: str, key: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    read: dict[str, Any] = httpx.get(
        f"{served}/api/v1/openapi.json", headers=headers, timeout=30
    ).json()
    return read


@API.parametrize()
@examples(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_whatever_comes_the_answer_is_one_that_the_document_tells_of(
    case: schemathesis.Case[Any], served: str, key: str, known: dict[str, str]
) -> None:
    if next(TURNS) % 2:  # half of them ask for what is there
        case.path_parameters.update(
            {name: known[name] for name in case.path_parameters if name in known}
        )
    if "wait" in (case.query or {}):
        case.query["wait"] = 0
    if isinstance(case.body, dict) and "wait" in case.body:
        case.body["wait"] = 0

    case.call_and_validate(
        base_url=served, headers={"Authorization": f"Bearer {key}"}, checks=CHECKS, timeout=20
    )


def list_operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


def test_every_operation_says_what_it_is_and_what_it_answers(document):
    for name, operation in list_operations(document):
        assert operation.get("summary"), name
        good = {"200", "201", "202"} & set(operation["responses"])
        assert good, name
        if "/api/v1/" not in name:
            continue
        assert operation["security"], name
        for code, response in operation["responses"].items():
            if code[0] in "45":
                assert list(response["content"]) == ["application/problem+json"], (name, code)
            elif code in good:
                [content] = response["content"].values()
                assert content or name.endswith(("/content", "/events")), name
        for code in ("401", "403", "429", "503"):
            assert code in operation["responses"], (name, code)


def test_every_body_has_an_example_that_its_own_form_takes(document, served, key):
    bodies = [
        (name, taken["application/json"]["schema"]["$ref"])
        for name, operation in list_operations(document)
        if "/api/v1/" in name
        and "application/json" in (taken := operation.get("requestBody", {}).get("content", {}))
    ]
    assert len(bodies) >= 10
    with httpx.Client(base_url=served, headers={"Authorization": f"Bearer {key}"}) as client:
        for kind in ("schedules", "budgets"):  # of the examples' names
            for one in client.get(f"/api/v1/{kind}").json()[kind]:
                client.delete(f"/api/v1/{kind}/{one['id']}").raise_for_status()
    for name, reference in bodies:
        form = document["components"]["schemas"][reference.rpartition("/")[2]]
        [example] = form["examples"]
        method, _, path = name.partition(" ")
        if "{" in path and "{endpoint}" not in path:
            continue  # of what is not there: the form is not looked at
        path = path.replace("{endpoint}", FLUX).replace("{stage}", "submit")
        response = httpx.request(
            method,
            served + path,
            json={**example, "wait": 0} if "wait" in example else example,
            headers={"Authorization": f"Bearer {key}"},
        )
        assert response.is_success, (name, response.text)


def test_every_reference_of_the_document_leads_somewhere(document):
    schemas = document["components"]["schemas"]

    def walk(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(reference := value.get("$ref"), str):
                yield reference.rpartition("/")[2]
            for one in value.values():
                yield from walk(one)
        elif isinstance(value, list):
            for one in value:
                yield from walk(one)

    assert set(walk(document)) <= set(schemas)
