"""What a generation takes of the result before it."""

import datetime as dt

import pytest

from tasks.intake import InvalidRequest
from tasks.previous import fill_input

NOW = dt.datetime(2026, 11, 28, 12, tzinfo=dt.UTC)
OURS, THEIRS = "https://press.example/files/1/s/image.png", "https://upstream.example/1.png"


def make_result(*, source=THEIRS, url=OURS, hours=24.0, **output):
    file = {
        "source_url": source,
        "url": url,
        "expires_at": (NOW + dt.timedelta(hours=hours)).isoformat(),
        "field": "image_url",
    }
    return {"id": "job", "artifacts": [file], "output": {"image_url": url, **output}}


def fill(wanted, previous, given=None, *, reachable=True):
    return fill_input("e", given or {}, wanted, previous, reachable=reachable, now=NOW)


def test_a_path_goes_by_names_and_numbers_and_each_item_of_a_list():
    results = [make_result(words=["a", "b"]), make_result(words=["c", "d"])]

    filled = fill({"first": "0.output.words.1", "all": "*.output.words.0", "whole": ""}, results)

    assert (filled["first"], filled["all"]) == ("b", ["a", "c"])
    assert len(filled["whole"]) == 2


def test_places_are_made_in_objects_and_must_be_there_in_lists():
    given = {"messages": [{"role": "user"}]}

    filled = fill({"messages.0.content": "", "image.url": ""}, "said", given)

    assert filled == {
        "messages": [{"role": "user", "content": "said"}],
        "image": {"url": "said"},
    }
    assert given == {"messages": [{"role": "user"}]}
    with pytest.raises(InvalidRequest, match=r"input\.messages is a list of 1"):
        fill({"messages.1.content": ""}, "said", given)


@pytest.mark.parametrize("path", ["artifacts.0", "artifacts.0.url", "output.image_url"])
def test_a_file_is_the_upstreams_own_address_while_that_lives(path):
    assert fill({"image": path}, make_result()) == {"image": THEIRS}
    assert fill({"image": path}, make_result(hours=0.5)) == {"image": OURS}


def test_a_file_that_is_not_stored_yet_has_the_upstreams_address():
    assert fill({"image": "artifacts.0"}, make_result(url=None)) == {"image": THEIRS}


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"hours": 0.5}, "the upstream's copy goes at 2026-11-28 12:30 UTC"),
        ({"source": "data:..."}, "the upstream keeps no copy"),
    ],
)
def test_a_file_that_the_upstream_cannot_fetch_is_said_so(facts, why):
    with pytest.raises(InvalidRequest, match=why) as raised:
        fill({"image": "artifacts.0"}, make_result(**facts), reachable=False)

    assert "PRESSROOM_PUBLIC_URL" in str(raised.value)


def test_all_paths_that_lead_nowhere_are_told_and_nothing_of_what_is_there():
    with pytest.raises(InvalidRequest) as raised:
        fill({"a": "output.words.7", "b": "nothing"}, make_result(words=["secret"]))

    assert [problem.partition(": ")[2] for problem in raised.value.problems] == [
        "'output.words.7' was wanted; output.words is a list of 1",
        "'nothing' was wanted; the result before it is an object of id, artifacts, output",
    ]


def test_what_looks_like_a_path_in_an_input_is_left_alone():
    given = {"prompt": "artifacts.0", "other": {"$from": "id", "x": "{previous}"}}

    assert fill({"id": "id"}, make_result(), given) == {**given, "id": "job"}
