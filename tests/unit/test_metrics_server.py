"""A worker's `/metrics` is a port of its own, or none: for want of it no worker stays away."""

import http.client
import threading

import pytest
from pydantic import SecretStr

from tests.conftest import free_port
from workers.metrics_server import serve_metrics
from workers.settings import Settings

TOKEN = "a-token-for-prometheus"


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path, metrics_token=SecretStr(TOKEN))


@pytest.fixture
def served(settings):
    port = free_port()
    server = serve_metrics(settings, port=port)
    assert server is not None
    yield port
    server.shutdown()
    server.server_close()


def ask(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def test_without_a_token_nothing_is_served(tmp_path):
    assert serve_metrics(Settings(data_dir=tmp_path), port=free_port()) is None


def test_a_port_that_is_taken_ends_no_worker(settings, served):
    assert serve_metrics(settings, port=served) is None
    assert ask(served)[0] == 200


def test_one_who_says_nothing_keeps_nobody_from_being_answered(served):
    silent = http.client.HTTPConnection("127.0.0.1", served, timeout=10)
    silent.connect()
    answers = []
    asking = [threading.Thread(target=lambda: answers.append(ask(served))) for _ in range(3)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(4)
    silent.close()

    assert [status for status, _ in answers] == [200, 200, 200]
    assert "pressroom_loop_lag_seconds" in answers[0][1]
