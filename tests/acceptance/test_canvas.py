"""Canvas over generations: chains, groups, chords and what hangs on them, by plain Celery calls.

The stack is real, and so is the project whose tasks are linked to its generations: a Celery worker
of its own, which imports nothing of ours.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis
from celery import Celery, canvas
from celery.exceptions import ChordError, TaskRevokedError
from psycopg.rows import dict_row

from workers.stack.supervisor import Supervisor

# Their results have more than their stubs know.
chain: Any = canvas.chain
chord: Any = canvas.chord
group: Any = canvas.group
xmap: Any = canvas.xmap
xstarmap: Any = canvas.xstarmap

PROJECTS = Path(__file__).parent / "projects"
PREFIXED = {"global_keyprefix": "pressroom:"}
FLUX = "black-forest-labs-flux-1-schnell"
QUICK, STEADY, SLOW = "quick", "steady", "slow"  # endpoints of somebody's own
THOUSAND = 1000
SECONDS = 30
UNACKED = "pressroom:unacked"

# Celery's, of a default that it is to change.
pytestmark = pytest.mark.filterwarnings("ignore:task_allow_error_cb_on_chord_header")


def admin(stack, path, body=None):
    """Ask the emulator, or tell it."""
    address = f"http://127.0.0.1:{stack.emulator_port}/admin/{path}"
    answer = httpx.get(address) if body is None else httpx.post(address, json=body)
    assert answer.is_success, answer.text
    return answer.json()


@pytest.fixture(scope="module", autouse=True)
def pace(stack):
    """Endpoints: of which one takes a moment, one some seconds, and one minutes."""
    for name, seconds, workers in ((QUICK, 1, 50), (STEADY, 40, 150), (SLOW, 6000, 50)):
        custom = {"endpoint": name, "execution_seconds": seconds, "workers": workers, "spread": 0}
        admin(stack, "custom", custom)


@pytest.fixture(scope="module")
def app(stack):
    """The project's app, as its own code would send by it."""
    app: Any = Celery(broker=stack.broker_dsn, backend=stack.broker_dsn, set_as_current=False)
    app.conf.update(
        broker_transport_options=PREFIXED,
        result_backend_transport_options=PREFIXED,
        task_routes={"pressroom.*": {"queue": "generate"}},
    )
    yield app
    app.backend.result_consumer.subscribed_to.clear()  # results that go later want no Redis
    app.close()


@pytest.fixture(scope="module", autouse=True)
def project(stack):
    """The project's worker."""
    command = "celery -A shop worker -P threads -c 4 --without-gossip --without-mingle -l warning"
    process = subprocess.Popen(
        [sys.executable, "-m", *command.split()],
        cwd=PROJECTS,
        env={"REDIS_URL": stack.broker_dsn, "PATH": os.environ["PATH"]},
    )
    yield
    process.terminate()
    process.wait(30)


@pytest.fixture
def noted(stack):
    """What the project's tasks left under a key; waits until so many are there."""
    connection = redis.Redis.from_url(stack.redis_dsn, decode_responses=True)

    def read(key, count=1):
        wait_until(lambda: connection.llen(key) >= count)
        return connection.lrange(key, 0, -1)

    yield read
    connection.close()


def wait_until(reached, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not (found := reached()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.fixture
def generation(app):
    """A signature of a generation, as anybody may write it."""

    def sign(prompt="a fox", endpoint=QUICK, **kwargs):
        asked = {"endpoint": endpoint, "input": {"prompt": prompt}, **kwargs}
        return app.signature("pressroom.generate", kwargs=asked)

    return sign


@pytest.fixture
def one_will_fail(stack):
    """The next generation that is sent fails at the upstream."""
    admin(stack, "faults", {"kind": "fail_job", "endpoint": QUICK, "count": 1})


@pytest.fixture
def shop(app):
    """A signature of one of the project's tasks."""
    return lambda name, *args, **kwargs: app.signature(f"shop.{name}", args=args, kwargs=kwargs)


def test_a_generation_and_a_task_of_ones_own_follow_one_another(generation, shop):
    sent = chain(
        generation("a heron"),
        shop("prompt_of"),
        generation(from_previous={"prompt": ""}),
        shop("prompt_of"),
        shop("add", " at dawn"),
    ).apply_async()

    assert sent.get(timeout=SECONDS) == "a heron at dawn"
    first = sent.parent.parent.parent.parent
    assert [child.id for child in first.children] == [sent.parent.parent.parent.id]


def test_a_chain_in_a_chain_is_one_chain(generation, shop):
    inner = chain(generation(from_previous={"prompt": "input.prompt"}), shop("prompt_of"))

    sent = chain(generation("an owl"), inner, shop("add", "!")).apply_async()

    assert sent.get(timeout=SECONDS) == "an owl!"


def test_the_results_of_a_group_come_in_its_order(generation):
    prompts = [f"fox {number}" for number in range(5)]

    sent = group(generation(prompt) for prompt in prompts).apply_async()

    results = sent.get(timeout=SECONDS)
    assert [result["input"]["prompt"] for result in results] == prompts
    assert [result["id"] for result in results] == [child.id for child in sent.children]


def test_a_group_in_a_chain_is_given_what_came_before_and_gives_a_list(generation, shop):
    twice = group(generation(from_previous={"prompt": "input.prompt"}) for _ in range(2))

    sent = chain(generation("a wren"), twice, shop("ids")).apply_async()

    found = sent.get(timeout=SECONDS)
    assert found == [child.id for child in sent.parent.children]


def test_a_chord_whose_body_generates_is_given_the_list_of_its_header(generation):
    header = [generation(prompt) for prompt in ("a bear", "a boar")]
    body = generation("both", from_previous={"prompts": "*.input.prompt", "first": "0.id"})

    sent = chord(header)(body)

    given = sent.get(timeout=SECONDS)["input"]
    first = sent.parent.children[0].id
    assert given == {"prompt": "both", "prompts": ["a bear", "a boar"], "first": first}


def test_an_image_becomes_the_first_frame_of_a_video_by_the_upstreams_own_address(generation):
    image = generation("waves at dusk", FLUX)
    video = generation(endpoint="p-video", from_previous={"image": "artifacts.0"})

    sent = chain(image, video).apply_async()

    shown, film = sent.parent.get(timeout=SECONDS), sent.get(timeout=SECONDS)
    assert film["input"]["image"] == shown["artifacts"][0]["source_url"]
    assert film["artifacts"][0]["media_type"] == "video/mp4"


@pytest.mark.parametrize("size", [0, 1])
def test_a_chord_of_none_or_one_calls_its_body(generation, shop, size):
    sent = chord([generation() for _ in range(size)])(shop("ids"))

    assert len(sent.get(timeout=SECONDS)) == size


def test_a_chord_of_chains_waits_for_the_last_link_of_each(generation, shop):
    header = [
        chain(generation(f"{n}"), generation(from_previous={"prompt": "input.prompt"}))
        for n in range(3)
    ]

    sent = chord(header)(shop("ids"))

    assert sent.get(timeout=SECONDS) == [child.id for child in sent.parent.children]


def test_chords_and_groups_stand_in_one_another(generation, shop):
    inner = chord([generation("a"), generation("b")], shop("ids"))
    pair = group(generation("d"), generation("e"))
    outer = chord([inner, generation("c") | shop("prompt_of"), pair])

    found = outer(shop("add", ["end"])).get(timeout=SECONDS)

    [inner_ids, prompt, first, second, end] = found  # Celery's header is flat
    assert (len(inner_ids), prompt, end) == (2, "c", "end")
    assert {one["input"]["prompt"] for one in (first, second)} == {"d", "e"}


def test_a_chord_in_the_midst_of_a_chain_hands_its_bodys_result_on(generation, shop):
    sent = chain(
        generation("a stoat"),
        chord([generation(from_previous={"prompt": "input.prompt"})] * 2, shop("ids")),
        shop("add", ["end"]),
    ).apply_async()

    assert len(sent.get(timeout=SECONDS)) == 3


def test_what_is_linked_to_a_generation_is_called_with_its_result(generation, shop, noted):
    key = uuid.uuid4().hex
    links = [shop("prompt_of") | shop("note", key), group(shop("prompt_of") | shop("note", key))]

    generation("a lynx").apply_async(link=links).get(timeout=SECONDS)

    assert noted(key, 2) == ["a lynx", "a lynx"]


def test_map_and_starmap_give_a_list_of_results_in_the_order_of_the_items(generation, app):
    of_prompts = generation(from_previous={"prompt": ""})
    of_pairs = generation(from_previous={"prompt": "0", "style": "1.name"})

    mapped = xmap(of_prompts, ["a vole", "a mole"], app=app).apply_async(queue="generate")
    pairs = [["a hen", {"name": "ink"}], ["a hare", {"name": "oil"}]]
    starred = xstarmap(of_pairs, pairs, app=app).apply_async(queue="generate")
    none = xmap(of_prompts, [], app=app).apply_async(queue="generate")

    found = [result["input"]["prompt"] for result in mapped.get(timeout=SECONDS)]
    assert found == ["a vole", "a mole"]
    assert [result["input"] for result in starred.get(timeout=SECONDS)] == [
        {"prompt": "a hen", "style": "ink"},
        {"prompt": "a hare", "style": "oil"},
    ]
    assert none.get(timeout=SECONDS) == []


def test_a_map_of_which_a_second_copy_comes_generates_once(generation, app, stack):
    items = xmap(generation(from_previous={"prompt": ""}), ["one vole", "two"], app=app)
    task_id = str(uuid.uuid4())

    sent = [items.apply_async(queue="generate", task_id=task_id) for _ in range(2)]

    found = sent[0].get(timeout=SECONDS)
    assert [result["input"]["prompt"] for result in found] == ["one vole", "two"]
    prompts = [entry["prompt"] for entry in admin(stack, "ledger?entries=1")["entries"]]
    assert prompts.count("one vole") == 1


@pytest.mark.usefixtures("one_will_fail")
def test_a_failure_is_raised_where_it_is_waited_for_with_all_that_is_known(generation):
    sent = generation().apply_async()

    with pytest.raises(Exception, match="upstream_failed") as raised:
        sent.get(timeout=SECONDS)

    assert type(raised.value).__name__ == "GenerationFailed"
    job_id, state, reason, error, endpoint = raised.value.args
    assert (job_id, state, reason, endpoint) == (sent.id, "failed", "upstream_failed", QUICK)
    assert error
    assert sent.state == "FAILURE"


@pytest.mark.usefixtures("one_will_fail")
def test_a_failure_ends_what_follows_it_and_nothing_more_is_sent(stack, generation, shop, noted):
    key = uuid.uuid4().hex
    work = chain(generation(), generation("never"), shop("note", key))
    sent = work.apply_async(link_error=shop("note_failure", key))

    with pytest.raises(Exception, match="upstream_failed"):
        sent.get(timeout=SECONDS)

    first = sent.parent.parent.id
    assert [word.split()[:2] for word in noted(key)] == [[first, "FAILURE"]]
    assert "upstream_failed" in noted(key)[0]
    prompts = [entry["prompt"] for entry in admin(stack, "ledger?entries=1")["entries"]]
    assert "never" not in prompts


@pytest.mark.usefixtures("one_will_fail")
def test_a_chord_whose_header_fails_fails_by_its_bodys_name(generation, shop, noted):
    key = uuid.uuid4().hex
    body = shop("ids").on_error(shop("note_failure", key))

    sent = chord([generation() for _ in range(3)])(body)

    with pytest.raises(Exception, match="upstream_failed"):
        sent.get(timeout=SECONDS)
    # Celery sends a chord's errback before it writes that the body failed: it may be the first.
    assert [word.split()[0] for word in noted(key)] == [sent.id]
    assert isinstance(sent.result, ChordError)


@pytest.mark.usefixtures("one_will_fail")
def test_an_errback_of_a_chain_that_ends_in_a_chord_is_called(generation, shop, noted):
    key = uuid.uuid4().hex
    work = chain(generation(), group(generation(), generation()), shop("ids"))

    sent = work.on_error(shop("note_failure", key)).apply_async()

    with pytest.raises(Exception, match="upstream_failed"):
        sent.get(timeout=SECONDS)
    assert noted(key)


def test_a_request_that_will_never_run_fails_by_name_before_anything_is_sent(generation, app):
    wanted = {"image": "artifacts.7", "video": "nothing.here"}
    sent = chain(generation(), generation(from_previous=wanted)).apply_async()
    bad = app.send_task("pressroom.generate", kwargs={"endpoint": FLUX, "input": {"width": 256}})

    with pytest.raises(Exception, match="artifacts") as raised:
        sent.get(timeout=SECONDS)
    assert type(raised.value).__name__ == "InvalidRequest"
    with pytest.raises(Exception, match="prompt"):
        bad.get(timeout=SECONDS)


def test_a_link_that_is_no_request_at_all_fails_and_holds_up_nobody(generation, app):
    sent = chain(generation(), app.signature("pressroom.generate")).apply_async()

    with pytest.raises(TypeError, match="endpoint"):
        sent.get(timeout=SECONDS)


@pytest.mark.usefixtures("one_will_fail")
def test_nothing_is_kept_of_a_result_that_is_to_be_ignored_but_its_callbacks_run(
    generation, shop, noted, app
):
    key = uuid.uuid4().hex
    failed = generation().apply_async(ignore_result=True, link_error=shop("note", key))
    assert noted(key, 1) == [failed.id]
    callback = shop("prompt_of") | shop("note", key)

    done = generation("a newt").apply_async(ignore_result=True, link=callback)

    assert noted(key, 2) == [failed.id, "a newt"]
    assert {app.AsyncResult(sent.id).state for sent in (done, failed)} == {"PENDING"}


def test_a_countdown_is_kept_by_the_job_and_not_by_a_message(generation, stack):
    started = time.monotonic()
    sent = generation().apply_async(countdown=4)

    with redis.Redis.from_url(stack.redis_dsn, decode_responses=True) as connection:
        wait_until(lambda: read_job(stack, sent.id))
        wait_until(lambda: not any(sent.id in one for one in connection.hvals(UNACKED)), seconds=2)
    sent.get(timeout=SECONDS)

    assert time.monotonic() - started >= 4


def test_what_is_written_down_is_started_and_says_where(generation, stack):
    sent = generation().apply_async(countdown=3)
    wait_until(lambda: read_job(stack, sent.id))

    assert (sent.state, sent.info) == ("STARTED", {"endpoint": QUICK})
    sent.get(timeout=SECONDS)
    assert sent.state == "SUCCESS"


def test_what_has_not_begun_when_it_expires_is_revoked_as_expired(generation):
    sent = generation().apply_async(countdown=60, expires=2)

    with pytest.raises(TaskRevokedError, match="expired"):
        sent.get(timeout=SECONDS)


def test_celerys_priority_is_the_jobs_unless_the_request_says_its_own(generation, stack):
    asked = [{}, {"priority": 9}, {"priority": 3}, {"priority": 9, "own": 8}]

    found = []
    for options in asked:
        own = {"priority": options.pop("own")} if "own" in options else {}
        sent = generation(**own).apply_async(**options)
        wait_until(lambda sent=sent: read_job(stack, sent.id))
        found.append(read_job(stack, sent.id)["priority"])

    assert found == [5, 0, 3, 8]


def test_to_revoke_what_runs_cancels_it_at_the_upstream_and_ends_what_was_to_follow(
    generation, stack, shop
):
    before = admin(stack, "stats")["jobs"]["cancelled"]
    sent = chain(generation(endpoint=SLOW), shop("ids")).apply_async()
    running = sent.parent
    wait_until(lambda: (read_job(stack, running.id) or {}).get("state") == "in_progress")

    running.revoke(terminate=True)

    with pytest.raises(TaskRevokedError):
        running.get(timeout=SECONDS)
    wait_until(lambda: sent.state == "REVOKED")
    assert read_job(stack, running.id)["state"] == "cancelled"
    assert admin(stack, "stats")["jobs"]["cancelled"] == before + 1


def test_to_revoke_a_group_revokes_the_chord_that_it_is_the_header_of(generation, stack, shop):
    sent = chord([generation(endpoint=SLOW) for _ in range(3)])(shop("ids"))
    wait_until(lambda: all(read_job(stack, one.id) for one in sent.parent.children))

    sent.parent.revoke()

    with pytest.raises(Exception, match="revoked"):
        sent.get(timeout=SECONDS)
    for one in sent.parent.children:
        wait_until(lambda one=one: read_job(stack, one.id)["state"] == "cancelled")


def test_a_link_that_was_revoked_before_its_turn_is_not_taken_in(generation, stack):
    sent = chain(generation("first"), generation("too late")).apply_async(countdown=1)

    sent.revoke()

    with pytest.raises(TaskRevokedError):
        sent.get(timeout=SECONDS, disable_sync_subtasks=False)
    sent.parent.get(timeout=SECONDS)
    time.sleep(0.5)
    assert read_job(stack, sent.id) is None


def test_what_is_linked_is_paid_for_once_however_often_its_request_comes(generation, stack, app):
    animal = uuid.uuid4().hex
    linked = generation(animal)
    sent = generation().apply_async(link=linked, task_id=str(uuid.uuid4()))
    sent.get(timeout=SECONDS)
    [first] = wait_until(lambda: find_jobs(stack, animal))
    before = wait_until(lambda: find_told(stack, sent.id))

    generation().apply_async(link=linked, task_id=sent.id)

    wait_until(lambda: (find_told(stack, sent.id) or "") > before)  # once more
    app.AsyncResult(str(first["id"])).get(timeout=SECONDS)
    assert len(find_jobs(stack, animal)) == 1


def test_what_was_revoked_before_any_worker_of_now_began_is_not_taken_in(generation, stack, app):
    task_id = str(uuid.uuid4())
    meta: dict[str, Any] = {"task_id": task_id, "status": "REVOKED", "result": None, "children": []}
    with redis.Redis.from_url(stack.redis_dsn) as connection:
        connection.set(f"pressroom:celery-task-meta-{task_id}", json.dumps(meta))

    generation().apply_async(task_id=task_id)

    follower = generation().apply_async()  # so that the other was looked at
    follower.get(timeout=SECONDS)
    assert read_job(stack, task_id) is None
    assert app.AsyncResult(task_id).state == "REVOKED"


def test_to_revoke_a_map_cancels_its_generations(generation, stack, app):
    of_prompts = generation(endpoint=SLOW, from_previous={"prompt": ""})
    animals = [uuid.uuid4().hex for _ in range(3)]
    mapped = xmap(of_prompts, animals, app=app).apply_async(queue="generate")
    wait_until(lambda: all(find_jobs(stack, animal) for animal in animals))

    app.control.revoke(mapped.id)

    wait_until(
        lambda: all(job["state"] == "cancelled" for one in animals for job in find_jobs(stack, one))
    )


def test_to_revoke_what_has_ended_changes_nothing(generation, app, stack):
    sent = generation().apply_async()
    result = sent.get(timeout=SECONDS)
    waits = generation().apply_async(countdown=60)
    wait_until(lambda: read_job(stack, waits.id))

    app.control.revoke([sent.id, waits.id])
    with pytest.raises(TaskRevokedError):  # so it was heard
        waits.get(timeout=SECONDS)

    again = app.AsyncResult(sent.id)
    assert (again.state, again.get(timeout=SECONDS)) == ("SUCCESS", result)


def find_jobs(stack, prompt):
    dsn = stack.database_dsn.replace("+psycopg", "")
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        asked = "SELECT * FROM jobs WHERE input ->> 'prompt' = %s"
        return connection.execute(asked, (prompt,)).fetchall()


def find_told(stack, job_id):
    """When its end was to be told, of one that was; nothing before."""
    dsn = stack.database_dsn.replace("+psycopg", "")
    with psycopg.connect(dsn) as connection:
        asked = "SELECT pending_at FROM deliveries WHERE job_id = %s AND state = 'delivered'"
        found = connection.execute(asked, (job_id,)).fetchone()
        return found and found[0].isoformat()


def read_job(stack, job_id):
    """What the database says of a job; None if it is not there."""
    dsn = stack.database_dsn.replace("+psycopg", "")
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute("SELECT * FROM jobs WHERE id = %s", (job_id,)).fetchone()


def test_a_thousand_generations_and_a_film_come_through_although_a_worker_is_killed(stack):
    """Half of the thousand are under way when it dies: it takes what it holds down with it."""
    command = [sys.executable, "thousand.py", str(THOUSAND), STEADY]
    program = subprocess.Popen(
        command, cwd=PROJECTS, env={"REDIS_URL": stack.broker_dsn}, stdout=subprocess.PIPE
    )
    wait_until(lambda: count_jobs(stack, "TRUE") == THOUSAND, seconds=200)
    wait_until(lambda: count_jobs(stack, "finished_at IS NOT NULL") > 100, seconds=100)
    [victim] = [one for one in Supervisor(stack).states() if one.name == "worker-1"]
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    assert count_jobs(stack, "finished_at IS NULL") > 100

    output, _ = program.communicate(timeout=300)

    found = json.loads(output)
    assert found["sheet"] == found["sent"]
    assert len(set(found["sent"])) == THOUSAND
    assert found["video"]["input"]["image"] == found["image"]["artifacts"][0]["source_url"]
    entries = admin(stack, "ledger?entries=1")["entries"]
    billed = [entry["prompt"] for entry in entries if entry["endpoint"] == STEADY]
    assert sorted(billed) == sorted(f"picture {number}" for number in range(THOUSAND))


def count_jobs(stack, where):
    """Of the endpoint STEADY."""
    dsn = stack.database_dsn.replace("+psycopg", "")
    with psycopg.connect(dsn) as connection:
        query = f"SELECT count(*) FROM jobs WHERE endpoint = '{STEADY}' AND {where}"
        return connection.execute(query).fetchall()[0][0]


def test_the_examples_of_the_documentation_run(stack):
    page = (Path(__file__).parents[2] / "docs" / "celery.md").read_text()
    program = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))

    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={"REDIS_URL": stack.broker_dsn},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert "InvalidRequest ('black-forest-labs-flux-1-schnell', ['prompt" in ran.stdout
    assert "{'prompt': 'a hare'}" in ran.stdout
