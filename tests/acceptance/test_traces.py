"""Traces, from real processes to a collector: a job has one, from its request to its webhook."""

import asyncio
import json
import os
import subprocess
import time
from uuid import uuid4

import httpx
import pytest

from models.database import Database, empty_tables
from models.key import Scope
from tests.acceptance.collector import Collector, HttpServer
from tests.acceptance.conftest import PROGRAM
from tests.conftest import free_port, make_key
from workers.app import make_app
from workers.settings import Settings

FLUX = "black-forest-labs-flux-1-schnell"
PROMPT = "a heron that nobody may read of"
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
START_SECONDS = 60.0
END_SECONDS = 30.0


class Plant:
    """The processes of a stack, with traces on."""

    def __init__(self, services, folder, collector):
        self.receiver = HttpServer()
        self.settings = Settings(
            data_dir=folder,
            database_url=services.database_dsn,
            redis_url=services.redis_dsn,
            gateway_port=free_port(),
            emulator_port=free_port(),
            allowed_hosts=f"127.0.0.1:{self.receiver.port}",
        )
        self.key = make_key(self.settings, "traces", Scope.RUN).secret
        self.logs = folder
        variables = {
            "PRESSROOM_DATA_DIR": str(folder),
            "PRESSROOM_DATABASE_URL": services.database_dsn,
            "PRESSROOM_REDIS_URL": services.redis_dsn,
            "PRESSROOM_GATEWAY_PORT": str(self.settings.gateway_port),
            "PRESSROOM_EMULATOR_PORT": str(self.settings.emulator_port),
            "PRESSROOM_ALLOWED_HOSTS": f"127.0.0.1:{self.receiver.port}",
            "PRESSROOM_LOG_LEVEL": "debug",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        self.processes = []
        for name in ("emulator", "gateway", "worker"):
            with self.log(name).open("w") as log:
                self.processes.append(
                    subprocess.Popen(
                        [PROGRAM, "run", name],
                        env={**os.environ, **variables},
                        stdout=subprocess.DEVNULL,
                        stderr=log,
                    )
                )
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.settings.gateway_port}",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=END_SECONDS + 10,
        )

    def log(self, name):
        return self.logs / f"{name}.log"

    def wait_until_up(self):
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if self.http.get("/healthz").is_success:
                    return
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, self.log("gateway").read_text()[-3000:]
            time.sleep(0.1)

    def submit(self, traceparent, **body):
        reply = self.http.post(
            f"/v2/{FLUX}/run",
            json={"input": {"prompt": PROMPT}, **body},
            headers={"traceparent": traceparent},
        )
        assert reply.is_success, reply.text
        return reply.json()["id"]

    def wait_for_end(self, job_id):
        reply = self.http.get(f"/api/v1/jobs/{job_id}", params={"wait": END_SECONDS})
        assert reply.json()["state"] == "completed", reply.text

    def wait_for_webhooks(self, count):
        deadline = time.monotonic() + END_SECONDS
        while len(self.receiver.requests) < count:
            assert time.monotonic() < deadline, self.log("worker").read_text()[-3000:]
            time.sleep(0.05)
        return self.receiver.requests

    def events(self, name, event):
        lines = self.log(name).read_text().splitlines()
        return [line for line in map(json.loads, lines) if line["event"] == event]

    def wait_for_event(self, name, event):
        deadline = time.monotonic() + END_SECONDS
        while not self.events(name, event):
            assert time.monotonic() < deadline, self.log(name).read_text()[-3000:]
            time.sleep(0.1)

    def close(self):
        self.http.close()
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(40)
        self.receiver.close()


@pytest.fixture(scope="module")
def collector():
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def plant(services, tmp_path_factory, collector):
    async def empty():
        database = Database(services.database_dsn, name="tests")
        async with database.begin() as session:
            await empty_tables(session)
        await database.close()

    asyncio.run(empty())
    plant = Plant(services, tmp_path_factory.mktemp("plant"), collector)
    try:
        plant.wait_until_up()
        yield plant
    finally:
        plant.close()


def named(spans, *names):
    return [span for span in spans if span.name in names]


def test_a_job_is_one_trace_from_its_producers_request_to_its_webhook(plant, collector):
    plant.receiver.requests.clear()
    hook = f"http://127.0.0.1:{plant.receiver.port}/hook?token=hunter2"

    job_id = plant.submit(f"00-{TRACE_ID}-{SPAN_ID}-01", webhook=hook)

    [(headers, _)] = plant.wait_for_webhooks(1)
    collector.wait_for(lambda spans: named(spans, "webhook"))
    spans = collector.of_job(job_id)
    accept, *calls = spans
    names = [span.name for span in spans]
    assert [one for one in names if one != "poll"] == ["accept", "submit", "archive", "webhook"]
    assert names.index("submit") < names.index("poll") < names.index("archive")
    assert {span.trace_id for span in spans} == {TRACE_ID}
    assert (accept.parent_id, accept.service) == (SPAN_ID, "pressroom-gateway")
    assert accept.attributes["http.route"] == "/v2/{endpoint}/run"
    assert {span.parent_id for span in calls} == {accept.span_id}
    assert {span.service for span in calls} == {"pressroom-worker"}
    assert not [span for span in spans if span.failed]
    assert headers["traceparent"] == f"00-{TRACE_ID}-{calls[-1].span_id}-01"
    assert plant.http.get(f"/api/v1/jobs/{job_id}").json()["trace_id"] == TRACE_ID


def test_each_call_and_the_run_that_made_it_link_to_each_other(plant, collector):
    job_id = plant.submit(f"00-{uuid4().hex}-{SPAN_ID}-01")

    collector.wait_for(lambda _: named(collector.of_job(job_id), "archive"))
    [accept, *calls] = collector.of_job(job_id)
    runs = collector.wait_for(
        lambda spans: (
            found := {span.place: span for span in named(spans, "lane")},
            all(set(call.links) <= set(found) for call in calls) and found,
        )[-1]
    )
    for call in calls:
        [place] = call.links
        assert runs[place].attributes["pressroom.stage"] == call.name
        assert accept.place in runs[place].links
        assert runs[place].parent_id == ""


def test_jobs_of_one_request_have_a_trace_each_and_the_runs_link_to_them_all(plant, collector):
    jobs = [{"endpoint": FLUX, "input": {"prompt": f"{PROMPT}, {n}"}} for n in range(3)]
    sent = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}

    reply = plant.http.post("/api/v1/jobs/bulk", json={"jobs": jobs}, headers=sent).json()

    ids = [item["id"] for item in reply["items"]]
    collector.wait_for(lambda _: all(named(collector.of_job(one), "archive") for one in ids))
    accepted = [named(collector.of_job(one), "accept")[0] for one in ids]
    assert len({span.trace_id for span in accepted} - {TRACE_ID}) == 3
    assert [(span.parent_id, span.links) for span in accepted] == [("", ((TRACE_ID, SPAN_ID),))] * 3

    def find_links(spans):
        runs = [span for span in named(spans, "lane") if "submit" in span.attributes.values()]
        links = {place for run in runs for place in run.links}
        return links >= {span.place for span in accepted}

    collector.wait_for(find_links)


def test_a_celery_task_goes_on_in_its_trace_and_so_does_what_is_linked_to_it(plant, collector):
    trace_id, job_id = uuid4().hex, str(uuid4())
    app = make_app(plant.settings)

    app.send_task(
        "pressroom.generate",
        kwargs={"endpoint": FLUX, "input": {"prompt": PROMPT}},
        task_id=job_id,
        headers={"traceparent": f"00-{trace_id}-{SPAN_ID}-01"},
        link=app.signature("shop.done", queue="shop"),
    )

    with app.connection() as connection:
        queue = connection.SimpleQueue("shop")
        message = queue.get(timeout=END_SECONDS)
        message.ack()
        queue.close()
    app.close()
    [notify] = collector.wait_for(lambda _: named(collector.of_job(job_id), "notify"))
    spans = collector.of_job(job_id)
    assert {span.trace_id for span in spans} == {trace_id}
    assert spans[0].name == "accept"
    assert spans[0].parent_id == SPAN_ID
    assert message.headers["traceparent"] == f"00-{trace_id}-{notify.span_id}-01"


def test_what_a_producer_does_not_want_recorded_is_not_and_its_webhook_still_bears_the_trace(
    plant, collector
):
    plant.receiver.requests.clear()
    trace_id = uuid4().hex

    plant.submit(
        f"00-{trace_id}-{SPAN_ID}-00", webhook=f"http://127.0.0.1:{plant.receiver.port}/hook"
    )

    [(headers, _)] = plant.wait_for_webhooks(1)
    assert headers["traceparent"].startswith(f"00-{trace_id}-")
    assert headers["traceparent"].endswith("-00")
    assert trace_id not in {span.trace_id for span in collector.spans}


def test_no_prompt_key_or_address_with_a_token_is_in_a_span_or_a_line_of_the_log(plant, collector):
    plant.receiver.refusal = f"cannot take {PROMPT}"
    storage = {
        "accessId": "seeded-id",
        "accessSecret": "seeded-secret",
        "bucketName": "shop",
        "endpointUrl": "https://s3.example",
    }
    hook = f"http://127.0.0.1:{plant.receiver.port}/hook?token=hunter2"
    plant.submit(f"00-{TRACE_ID}-{SPAN_ID}-01", webhook=hook, s3Config=storage)
    app = make_app(plant.settings)
    wrong = {"prompt": PROMPT, "steps": f"as many as {PROMPT}"}
    for given in (wrong, {"prompt": [PROMPT]}):
        app.send_task("pressroom.generate", kwargs={"endpoint": FLUX, "input": given})
    app.close()

    plant.wait_for_event("worker", "webhook_failed")

    logs = [plant.log(name).read_text() for name in ("gateway", "worker")]
    assert collector.raw.count(FLUX.encode()) > 5
    assert "debug" in logs[1]
    seeded = [PROMPT, plant.key, plant.settings.upstream_secret, "hunter2", "seeded-"]
    shown = [secret for secret in seeded for log in logs if secret in log]
    traced = [secret for secret in [*seeded, "/hook"] if secret.encode() in collector.raw]
    assert (shown, traced) == ([], [])


def test_a_line_of_the_log_bears_the_ids_of_the_span_that_it_was_written_in(plant, collector):
    [line] = plant.events("worker", "webhook_failed")

    collector.wait_for(
        lambda spans: (line["trace_id"], line["span_id"]) in {one.place for one in spans}
    )


def test_without_a_collector_jobs_go_on_and_each_process_says_once_that_spans_are_dropped(
    plant, collector
):
    collector.close()
    for _ in range(3):
        plant.wait_for_end(plant.submit(f"00-{uuid4().hex}-{SPAN_ID}-01"))
        time.sleep(1.5)  # longer than one try to send takes
    back = Collector(collector.port)
    try:
        job_id = plant.submit(f"00-{TRACE_ID}-{SPAN_ID}-01")

        back.wait_for(lambda _: named(back.of_job(job_id), "archive"))

        for name in ("gateway", "worker"):
            assert len(plant.events(name, "spans_dropped")) == 1, plant.log(name).read_text()
            assert "opentelemetry" not in plant.log(name).read_text()
    finally:
        back.close()
