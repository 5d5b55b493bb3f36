"""What dashboard and alerts ask for is there, on a stack of real processes that is scraped."""

import json
import os
import signal
import socket
import time
from pathlib import Path

import httpx
import promql_parser as promql
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gateway.fact_families import make_families
from tests.conftest import free_port
from workers.metrics import REGISTRY
from workers.stack.supervisor import Supervisor

ROOT = Path(__file__).parents[2]
FLUX = "black-forest-labs-flux-1-schnell"
TOKEN = "a-token-for-prometheus"
SECONDS = 30.0
OF_PROMETHEUS = {"up": {"job", "instance"}}
ADDED = {"job", "instance", "le"}  # by Prometheus, and to histograms


def two_free_ports():
    while True:
        first = free_port()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", first + 1))
            except OSError:
                continue
        return first


@pytest.fixture(scope="module", autouse=True)
def first_port():
    """Workers of the stack serve from this port on."""
    first = two_free_ports()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PRESSROOM_METRICS_TOKEN", TOKEN)
        environment.setenv("PRESSROOM_METRICS_PORT", str(first))
        environment.setenv("PRESSROOM_WORKERS", "2")
        yield first


def scrape(port):
    """A process's samples, by name and labels."""
    response = httpx.get(
        f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10
    )
    assert response.status_code == 200, response.text
    return list(text_string_to_metric_families(response.text))


def find(families, name, **labels):
    """The sum of the samples that have these labels."""
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def wait_until(holds, *, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.2)


def read_anew(port):
    """A gateway's samples, with facts that it has read since: they are kept for some seconds."""
    kept = find(scrape(port), "pressroom_facts_seconds")
    wait_until(lambda: find(scrape(port), "pressroom_facts_seconds") != kept)
    return scrape(port)


def run_jobs(stack, key, count):
    """Hand in so many jobs, and wait for their ends."""
    with httpx.Client(
        base_url=f"http://127.0.0.1:{stack.gateway_port}",
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
    ) as client:
        jobs = [{"endpoint": FLUX, "input": {"prompt": f"fox {number}"}} for number in range(count)]
        answer = client.post("/api/v1/jobs/bulk", json={"jobs": jobs})
        ids = [job["id"] for job in answer.json()["items"]]
        for job_id in ids:
            wait_until(
                lambda job_id=job_id: (
                    client.get(f"/api/v1/jobs/{job_id}").json()["state"] == "completed"
                )
            )


def expressions():
    """Of every alert and every panel; what Grafana fills in is filled in."""
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "pressroom.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            expr = target["expr"].replace("$__rate_interval", "1m").replace("$endpoint", ".*")
            yield panel["title"], expr


def walk(expression):
    """Each part of an expression, with the labels that it groups by."""
    yield expression
    inner = [getattr(expression, name, None) for name in ("lhs", "rhs", "expr", "vector_selector")]
    for part in (*inner, *getattr(expression, "args", ())):
        if isinstance(part, promql.Expr):
            yield from walk(part)


def labels_of_code():
    """Each name that a sample may have, and the labels that it has in the code."""
    known = {
        f"{name}_total" if family.counter else name: set(family.labels)
        for name, family in make_families().items()
    }
    for collector in REGISTRY._collector_to_names:  # noqa: SLF001 -- nothing else tells labels
        for name in REGISTRY._collector_to_names[collector]:  # noqa: SLF001
            known[name] = set(getattr(collector, "_labelnames", ()))
    return known


def test_dashboard_and_alerts_ask_for_nothing_that_is_not_told(stack, gateway_key, first_port):
    run_jobs(stack, gateway_key, 3)
    wait_until(lambda: find(scrape(first_port), "pressroom_claims_total"))
    told, labels = set(), dict(OF_PROMETHEUS)
    for families in (scrape(stack.gateway_port), scrape(first_port), scrape(first_port + 1)):
        for family in families:
            ending = "_total" if family.type == "counter" else ""
            told.add(f"{family.name}{ending}")
            if family.type == "histogram":
                told |= {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
            for sample in family.samples:
                labels.setdefault(sample.name, set()).update(sample.labels)
    for name, of_code in labels_of_code().items():
        labels.setdefault(name, set()).update(of_code)

    asked = set()
    for where, text in expressions():
        parts = list(walk(promql.parse(text)))
        selectors = [part for part in parts if isinstance(part, promql.VectorSelector)]
        assert selectors, where
        for selector in selectors:
            assert selector.name
            asked.add(selector.name)
            assert selector.name in told | set(OF_PROMETHEUS), where
            matched = {matcher.name for matcher in selector.matchers.matchers}
            assert matched <= labels[selector.name] | ADDED, (where, selector.name)
        grouped = {
            label
            for part in parts
            if isinstance(part, promql.AggregateExpr) and part.modifier
            for label in part.modifier.labels
        }
        of_all = set.union(*(labels[str(selector.name)] for selector in selectors))
        assert grouped <= of_all | ADDED, where
    assert {"up", "pressroom_jobs", "pressroom_upstream_calls_total"} <= asked


def test_a_worker_that_was_killed_leaves_no_figures_and_no_end_uncounted(
    stack, gateway_key, first_port
):
    done = {"end": "completed", "endpoint": FLUX}
    run_jobs(stack, gateway_key, 3)
    before = find(read_anew(stack.gateway_port), "pressroom_jobs_ended_total", **done)
    old = {state.name: state.pid for state in Supervisor(stack).states()}["worker-1"]
    began = find(scrape(first_port), "process_start_time_seconds")
    assert old is not None
    os.kill(old, signal.SIGKILL)

    run_jobs(stack, gateway_key, 8)

    def is_anew():
        try:
            return find(scrape(first_port), "process_start_time_seconds") > began
        except httpx.TransportError:
            return False

    wait_until(is_anew)
    after = find(read_anew(stack.gateway_port), "pressroom_jobs_ended_total", **done)
    assert after == before + 8
    runs = {"operation": "run", "endpoint": FLUX}
    calls = [
        find(scrape(port), "pressroom_upstream_calls_total", **runs)
        for port in (first_port, first_port + 1)
    ]
    assert calls[0] <= 8  # it has forgotten what it did before
    assert sum(calls) >= 1


def test_a_worker_tells_strangers_nothing(stack, first_port):
    address = f"http://127.0.0.1:{first_port}"
    right = {"Authorization": f"Bearer {TOKEN}"}

    assert httpx.get(f"{address}/metrics").status_code == 401
    assert httpx.get(f"{address}/metrics", headers={"Authorization": "Bearer x"}).status_code == 401
    assert httpx.get(f"{address}/", headers=right).status_code == 404
    assert stack.metrics_host == "127.0.0.1"
