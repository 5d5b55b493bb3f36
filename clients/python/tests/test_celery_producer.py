"""The messages that are sent to Celery; `test_readme.py` sends one to real workers."""

import json
import pickle
import uuid

import pytest

from pressroom import GenerationFailed, InvalidRequest, configure_celery, enqueue

celery = pytest.importorskip("celery")
INPUT = {"prompt": "a fox"}


@pytest.fixture
def app():
    app = celery.Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.broker_transport_options = {"visibility_timeout": 60}
    configure_celery(app)
    yield app
    app.close()


def read_message(app):
    with app.connection_for_read() as connection:
        message = connection.default_channel.basic_get("generate", no_ack=True)
        [args, kwargs, _] = json.loads(message.body)
        return message.headers, args, kwargs


def test_the_message_is_as_the_task_takes_it(app):
    sent = enqueue(app, "flux", INPUT)

    headers, args, kwargs = read_message(app)
    assert (headers["task"], headers["id"]) == ("pressroom.generate", sent.id)
    assert (args, kwargs) == ([], {"endpoint": "flux", "input": INPUT})
    assert str(uuid.UUID(sent.id)) == sent.id


def test_the_task_id_is_the_job_id(app):
    job_id = uuid.uuid4()

    sent = enqueue(app, "flux", INPUT, job_id=job_id, on_unknown="fail", priority=3)

    headers, _, kwargs = read_message(app)
    assert headers["id"] == sent.id == str(job_id)
    assert (kwargs["on_unknown"], kwargs["priority"]) == ("fail", 3)


def test_an_id_that_is_no_uuid_is_refused(app):
    with pytest.raises(ValueError, match="UUID"):
        enqueue(app, "flux", INPUT, job_id="order-17")


def test_the_prefixes_are_set_and_the_rest_is_kept(app):
    assert app.conf.broker_transport_options == {
        "visibility_timeout": 60,
        "global_keyprefix": "pressroom:",
    }
    assert app.conf.result_backend_transport_options == {"global_keyprefix": "pressroom:"}


def test_an_app_whose_messages_nobody_would_read_is_refused():
    app = celery.Celery(broker="memory://", set_as_current=False)

    with pytest.raises(ValueError, match="configure_celery"):
        enqueue(app, "flux", INPUT)


def test_an_error_that_a_worker_stored_is_the_one_that_this_package_has(app):
    failed = ["0192", "failed", "upstream_failed", "out of memory", "flux"]
    stored = [
        {"exc_module": "pressroom.errors", "exc_type": "GenerationFailed", "exc_message": failed},
        {
            "exc_module": "pressroom.errors",
            "exc_type": "InvalidRequest",
            "exc_message": ["flux", ["prompt: it is wanted"]],
        },
    ]

    errors = [app.backend.exception_to_python(one) for one in stored]

    assert [type(error) for error in errors] == [GenerationFailed, InvalidRequest]
    assert (errors[0].reason, errors[0].endpoint) == ("upstream_failed", "flux")
    assert errors[1].problems == ["prompt: it is wanted"]
    assert [str(pickle.loads(pickle.dumps(error))) for error in errors] == list(map(str, errors))
