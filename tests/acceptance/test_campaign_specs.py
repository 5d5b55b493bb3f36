"""Campaigns of a specification, as people run them: the real program, on a real stack."""

import json

import httpx
import jsonschema
import pytest
import yaml

FLUX, P_IMAGE = "black-forest-labs-flux-1-schnell", "p-image-t2i"
SHOOT = f"""
name: NAME
endpoints: [{FLUX}, {P_IMAGE}]
prompts: {{file: subjects.csv}}
prompt: "a {{what}} in {{style}}"
matrix:
  style: [oil, ink]
  seed: [1, 2]
  exclude: [{{style: ink, seed: 2}}]
id: "{{row}}-{{endpoint}}-{{style}}-{{seed}}"
"""
SUBJECTS = "what,Note\nfox,x\nowl,y\n"
JOBS = 2 * 2 * 3


@pytest.fixture
def write(tmp_path):
    """Writes a specification with its file; returns its path."""

    def write(name, *, spec=SHOOT, subjects=SUBJECTS):
        (tmp_path / "subjects.csv").write_text(subjects)
        path = tmp_path / "shoot.yaml"
        path.write_text(spec.replace("NAME", name))
        return str(path)

    return write


def test_a_plan_tells_what_it_comes_to_and_keeps_nothing(pressroom, write):
    path = write("planned")

    plan = pressroom.read("campaign", "plan", path)
    shown = pressroom.call("campaign", "plan", path)

    assert plan["jobs"] == JOBS
    assert plan["per_endpoint"] == {FLUX: JOBS // 2, P_IMAGE: JOBS // 2}
    assert (plan["bound"], plan["unpriced"], plan["repeated"], plan["stored"]) == (True, 0, 0, 0)
    assert plan["unused_columns"] == ["Note"]
    said = " ".join(shown.stdout.decode().split())
    for words in ("12 jobs, ", "subjects.csv:2", "a fox in oil", "a owl in ink", "not used Note"):
        assert words in said
    names = {one["name"] for one in pressroom.read("campaign", "list")}
    assert "planned" not in names


def test_a_campaign_is_planned_expanded_by_workers_and_followed_to_its_end(pressroom, write):
    path = write("shoot")

    summary = pressroom.read("campaign", "start", path, "--yes")

    assert (summary["jobs"], summary["completed"], summary["failed"]) == (JOBS, JOBS, 0)
    assert summary["artifacts"] == JOBS
    jobs = pressroom.read("jobs", "list", "--campaign", summary["campaign_id"])
    assert len(jobs) == JOBS
    again = pressroom.call("campaign", "start", path, "--yes")
    assert again.returncode == 1
    assert "'shoot' is there already" in again.stderr.decode()
    spec = write("shoot-again", spec=SHOOT + "reuse: true\n")
    assert pressroom.read("campaign", "plan", spec)["stored"] == JOBS
    reused = pressroom.read("campaign", "start", spec, "--yes")
    assert (reused["completed"], reused["cost_usd"]) == (JOBS, 0)


@pytest.mark.parametrize(
    ("spec", "subjects", "said"),
    [
        (SHOOT + "budgets: 3\n", SUBJECTS, "shoot.yaml:11: budgets: no such field"),
        (SHOOT, "what\n", "subjects.csv:1: file: came no row; wanted rows"),
        (SHOOT, "waht\nfox\n", "subjects.csv:2: {what}: no such column; did you mean 'waht'?"),
        (SHOOT.replace(FLUX, "flux-dev-gone-away?"), SUBJECTS, "an endpoint's id is letters"),
        (SHOOT + "max_jobs: 11\n", SUBJECTS, "12 jobs came, at most 11 were wanted"),
        (SHOOT.replace("seed: [1, 2]", "seed: [1, x]"), SUBJECTS, "subjects.csv:2: seed: "),
        (SHOOT.replace('"{row}-', '"'), SUBJECTS, "is another item's, too"),
        (SHOOT.replace("subjects.csv", "none.csv"), SUBJECTS, "came no such file or directory"),
        (SHOOT, SUBJECTS + "fox" + "x" * 10_000_001 + ",z\n", "subjects.csv:4: "),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_enqueued(pressroom, write, spec, subjects, said):
    path = write("wrong", spec=spec, subjects=subjects)

    refused = pressroom.call("campaign", "start", path, "--yes")

    assert refused.returncode == 2
    assert said in " ".join(refused.stderr.decode().split())
    assert "nothing was enqueued" in " ".join(refused.stderr.decode().split())
    assert "wrong" not in {one["name"] for one in pressroom.read("campaign", "list")}


def test_its_schema_takes_what_the_program_takes(pressroom):
    printed = pressroom.call("campaign", "schema")

    schema = json.loads(printed.stdout)
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(yaml.safe_load(SHOOT))) == []


def test_what_failed_is_run_again_by_its_cause(stack, pressroom, write):
    endpoint = "z-image-turbo"
    fault = {"kind": "fail_job", "endpoint": endpoint, "count": 2}
    base = f"http://{stack.emulator_host}:{stack.emulator_port}"
    httpx.post(f"{base}/admin/faults", json=fault).raise_for_status()
    path = write(
        "failing", spec=f"name: NAME\nendpoint: {endpoint}\nprompts: [a fox, an owl, a hare]"
    )
    done = pressroom.call("campaign", "start", path, "--yes", "--json")
    summary = json.loads(done.stdout)
    campaign_id = summary["campaign_id"]
    assert (done.returncode, summary["completed"], summary["failed"]) == (1, 1, 2)
    [cause] = {one["reason"] for one in summary["failures"]}

    counted = pressroom.read("campaign", "retry", campaign_id, "--dry-run", "--cause", cause)
    other = pressroom.read("campaign", "retry", campaign_id, "--only", "lost")
    again = pressroom.read("campaign", "retry", campaign_id, "--only", "failed", "--yes")

    assert (counted["found"], counted["queued"]) == (2, 0)
    assert other["found"] == 0
    assert (again["found"], again["queued"]) == (2, 2)
    last = pressroom.read("campaign", "watch", campaign_id)
    assert (last["completed"], last["failed"]) == (3, 0)


def test_its_report_is_one_file_with_its_pictures(pressroom, write, tmp_path):
    spec = f"name: NAME\nendpoint: {FLUX}\nprompts: [a fox, an owl]\ninput: {{width: 256}}"
    summary = pressroom.read("campaign", "start", write("reported", spec=spec), "--yes")
    page = tmp_path / "report.html"

    written = pressroom.call("campaign", "report", summary["campaign_id"], "-o", str(page))
    told = pressroom.read("campaign", "report", summary["campaign_id"], "--results", "1")

    assert written.returncode == 0, written.stderr.decode()
    assert page.read_text().count("data:image/webp") == 2
    assert (told["jobs"], told["settled"], len(told["results"])) == (2, True, 1)
    nowhere = str(tmp_path / "none" / "report.html")
    refused = pressroom.call("campaign", "report", summary["campaign_id"], "-o", nowhere)
    assert refused.returncode == 2
    assert "no such file or directory" in refused.stderr.decode()


def test_a_campaign_is_paused_and_goes_on(pressroom, write):
    spec = f"name: NAME\nendpoint: {FLUX}\nprompts: [a, b, c, d]\npace: {{over: 6s}}"
    started = pressroom.read("campaign", "start", write("slow", spec=spec), "--yes", "--detach")
    campaign_id = started["campaign_id"]

    paused = pressroom.call("campaign", "pause", campaign_id)
    shown = pressroom.read("campaign", "show", campaign_id)
    resumed = pressroom.call("campaign", "resume", campaign_id)

    assert b"paused: " in paused.stderr
    assert shown["paused"]
    assert b"it goes on: " in resumed.stderr
    summary = pressroom.read("campaign", "watch", campaign_id)
    assert (summary["completed"], summary["paused"]) == (4, False)
