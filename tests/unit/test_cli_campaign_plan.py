"""What a campaign's file comes to, and which of its lines are refused, before one is enqueued."""

from decimal import Decimal
from pathlib import Path

import psutil
import pytest

from endpoints.catalogue import load_catalogue
from gateway.cli.enqueue import Source, add_lines
from gateway.cli.plan_view import say_plan
from models.base import new_id
from models.job import OnUnknown
from tasks.campaigns.plan import PROBLEMS_KEPT, Plan

FLUX = "black-forest-labs-flux-1-schnell"
CATALOGUE = load_catalogue()


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def make_source(path: Path, *, endpoint: str = FLUX, **options) -> Source:
    given = {"sets": {}, "on_unknown": OnUnknown.RESUBMIT, **options}
    return Source(path=path, endpoint=endpoint, **given)


def make_plan(source: Source) -> Plan:
    plan = Plan()
    add_lines(plan, CATALOGUE, source, source.lines())
    return plan


def refuse(source: Source) -> list[str]:
    """The problems of a file that is not to be enqueued, without its folder."""
    plan = make_plan(source)
    assert plan.problem_count >= len(plan.problems) > 0
    return [problem.removeprefix(f"{source.path.parent}/") for problem in plan.problems]


def test_a_good_file_is_counted_and_priced_to_the_cent(tmp_path):
    path = write(
        tmp_path / "a.tsv",
        "prompt\tinput.width\tinput.height\nan owl\t1024\t1024\na fox\t512\t512\n",
    )

    plan = make_plan(make_source(path))

    pixels = 1024 * 1024 + 512 * 512
    assert (plan.jobs, plan.problems) == (2, [])
    assert plan.usd == Decimal("0.0024") * pixels / 1_000_000
    assert say_plan(plan) == "2 jobs, $0.003146 (exact)"
    assert plan.describe() == {
        "jobs": 2,
        "per_endpoint": {FLUX: 2},
        "estimate_usd": float(plan.usd),
        "exact": True,
        "bound": True,
        "unpriced": 0,
        "repeated": 0,
        "problems": [],
        "problem_count": 0,
    }


def test_a_file_for_an_endpoint_without_a_price_says_so(tmp_path):
    plan = make_plan(make_source(write(tmp_path / "a.txt", "an owl\n"), endpoint="my-own"))

    assert say_plan(plan) == "1 job, no price is known"
    assert plan.describe()["estimate_usd"] is None


def test_what_is_set_for_every_line_stands_over_the_line(tmp_path):
    path = write(
        tmp_path / "a.jsonl", '{"prompt": "an owl", "width": 512, "voice": {"speed": 1}}\n'
    )
    source = make_source(path, endpoint="my-own", sets={"width": 768, "voice": {"name": "ann"}})
    campaign_id = new_id()

    [line] = source.lines()
    job = source.check(CATALOGUE, line, campaign_id=campaign_id).job

    assert job.input == {"prompt": "an owl", "width": 768, "voice": {"speed": 1, "name": "ann"}}
    assert (job.campaign_id, job.position) == (campaign_id, 1)


def test_a_prompt_for_a_chat_endpoint_becomes_its_message(tmp_path):
    chat = next(
        endpoint.id
        for endpoint in CATALOGUE
        if "messages" in endpoint.schema["properties"]
        and "prompt" not in endpoint.schema["properties"]
    )
    source = make_source(write(tmp_path / "a.txt", "hello\n"), endpoint=chat)

    [line] = source.lines()

    assert source.check(CATALOGUE, line).job.input == {
        "messages": [{"role": "user", "content": "hello"}]
    }


def test_a_value_out_of_range_is_named_with_its_file_and_line(tmp_path):
    path = write(
        tmp_path / "a.tsv",
        "prompt\tinput.width\nan owl\t512\na fox\t1000\na jay\t99999\nan elk\twide\n",
    )

    assert refuse(make_source(path)) == [
        "a.tsv:3: width: 1000 is not a multiple of 64",
        "a.tsv:4: width: 99999 is not between 256 and 2048",
        "a.tsv:5: width: 'wide' is not an integer",
    ]


def test_a_column_that_is_no_field_is_refused_with_the_field_that_was_meant(tmp_path):
    path = write(tmp_path / "a.csv", "prompt,input.widht\nan owl,512\n")

    assert refuse(make_source(path)) == ["a.csv:2: widht: unknown field, did you mean 'width'?"]


def test_a_file_without_a_prompt_column_is_refused_with_the_columns_it_has(tmp_path):
    path = write(tmp_path / "a.csv", "id,prompts\n1,an owl\n")

    [problem] = refuse(make_source(path))

    assert problem.startswith("a.csv:1: header: came 'id', 'prompts'; wanted a column 'prompt'")
    assert "--prompt-column 'prompts'" in problem


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"prompt\nan owl\ncaf\xe9\n", "a.tsv:3: encoding: came byte 0xe9 at offset 17, not UTF-8"),
        ("prompt\nan owl\n".encode("utf-16"), "a.tsv:1: encoding: came UTF-16"),
        (b"", "a.tsv:1: file: came an empty file; wanted prompts"),
        (b"prompt\n\n\n", "a.tsv:3: file: came no prompt below a header; wanted prompts"),
    ],
)
def test_a_file_that_holds_no_readable_prompts_is_refused_with_its_line(tmp_path, content, said):
    [problem] = refuse(make_source(write(tmp_path / "a.tsv", content)))

    assert problem.startswith(said)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    [problem] = refuse(make_source(tmp_path / "absent.tsv"))

    assert problem.startswith("absent.tsv: file: came no such file or directory")


def test_lines_before_the_one_that_cannot_be_read_are_checked_too(tmp_path):
    path = write(tmp_path / "a.tsv", b"prompt\tinput.width\na fox\t1000\ncaf\xe9\t512\nan owl\t1\n")

    problems = refuse(make_source(path))

    assert [problem.split(" ")[0] for problem in problems] == ["a.tsv:2:", "a.tsv:3:"]


def test_of_many_bad_lines_the_first_are_shown_and_all_are_counted(tmp_path):
    rows = "".join(f"owl {number}\t1000\n" for number in range(300))
    path = write(tmp_path / "a.tsv", f"prompt\tinput.width\n{rows}")

    plan = make_plan(make_source(path))

    assert (plan.problem_count, plan.jobs) == (300, 0)
    assert [problem.split(":")[1] for problem in plan.problems] == [
        str(line) for line in range(2, PROBLEMS_KEPT + 2)
    ]


def test_planning_a_long_file_holds_none_of_it(tmp_path):
    lines, rows = 300_000, "painting {} of an owl in the snow\n"
    path = tmp_path / "long.txt"
    with path.open("w") as file:
        file.writelines(map(rows.format, range(lines)))
    # It is not in the catalogue, so that its lines are checked in a third of the time.
    source = make_source(path, endpoint="my-own")
    process = psutil.Process()
    grown = -process.memory_info().rss

    def measure_at_the_end():
        nonlocal grown
        yield from source.lines()
        grown += process.memory_info().rss

    plan = Plan()
    add_lines(plan, CATALOGUE, source, measure_at_the_end())

    assert (plan.jobs, plan.problem_count) == (lines, 0)
    assert grown < path.stat().st_size / 2
