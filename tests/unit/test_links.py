"""Links to stored files: who can make one, for how long it opens, what it takes the place of."""

import itertools
import time
from uuid import UUID

import pytest

from models.artifact import Artifact, ArtifactState
from models.base import new_id
from workers.links import Links
from workers.secret import Secret

LINKS = Links(Secret("a secret of sixteen"), "http://gateway.test")
SOURCE = "https://upstream.example/out/1.png"


def make_artifact(**options: object) -> Artifact:
    facts: dict[str, object] = {
        "id": new_id(),
        "state": ArtifactState.STORED,
        "field": "output.image_url",
        "store_key": "ab/cd.png",
        "source_url": SOURCE,
        "thumbnail_key": None,
        **options,
    }
    return Artifact(**facts)


def read_link(link: str | None) -> tuple[UUID, str, int | None]:
    assert link is not None
    _, _, path = link.partition("/files/")
    path, _, query = path.partition("?until=")
    artifact_id, signature, _ = path.split("/")
    return UUID(artifact_id), signature, int(query) if query else None


def test_a_link_that_was_made_opens_its_file_and_names_its_kind():
    artifact = make_artifact()

    link = LINKS.link(artifact)

    assert link is not None
    assert link.endswith("/image.png")
    assert LINKS.check(*read_link(link))


def test_a_link_that_runs_out_says_until_when():
    artifact_id, signature, until = read_link(LINKS.link(make_artifact(), live_seconds=60))

    assert until is not None
    assert until == pytest.approx(time.time() + 60, abs=5)
    assert LINKS.check(artifact_id, signature, until)


@pytest.mark.parametrize("other", [None, 0, 1, 2**40])
def test_the_end_of_a_link_cannot_be_changed(other):
    artifact_id, signature, _ = read_link(LINKS.link(make_artifact(), live_seconds=60))

    assert not LINKS.check(artifact_id, signature, other)


@pytest.mark.parametrize("until", [0, 1])
def test_a_link_for_good_is_none_with_an_end(until):
    artifact_id, signature, _ = read_link(LINKS.link(make_artifact()))

    assert not LINKS.check(artifact_id, signature, until)


@pytest.mark.parametrize("signature", ["", "x", "ü", "A" * 24, "A" * 10_000])
def test_a_signature_that_is_none_of_ours_opens_nothing(signature):
    assert not LINKS.check(new_id(), signature, None)


def test_a_link_opens_no_other_file_no_other_part_and_none_of_another_installation():
    artifact = make_artifact(thumbnail_key="ab/cd.webp")
    artifact_id, signature, _ = read_link(LINKS.link(artifact))
    others = Links(Secret("another secret of more"), LINKS.base)

    assert not LINKS.check(new_id(), signature, None)
    assert not LINKS.check(artifact_id, signature, None, part="thumbnail")
    assert not others.check(artifact_id, signature, None)


def test_every_bit_of_a_signature_counts():
    artifact_id, signature, _ = read_link(LINKS.link(make_artifact()))

    for place, letter in itertools.product(range(len(signature)), "Aa"):
        changed = signature[:place] + letter + signature[place + 1 :]
        assert LINKS.check(artifact_id, changed, None) == (changed == signature)


@pytest.mark.parametrize(
    "options",
    [
        {"state": ArtifactState.PENDING, "store_key": None},
        {"state": ArtifactState.EXPIRED, "store_key": None},
        {"store_key": None},
    ],
)
def test_what_is_not_stored_has_no_link_and_keeps_its_source(options):
    artifact = make_artifact(**options)

    assert LINKS.link(artifact) is None
    assert LINKS.rewrite({"image_url": SOURCE}, [artifact]) == {"image_url": SOURCE}


def test_every_address_of_a_stored_file_in_an_output_is_ours_and_the_rest_is_as_it_was():
    artifact = make_artifact()
    link = LINKS.link(artifact)
    output = {
        "image_url": SOURCE,
        "all": [SOURCE, {"deep": SOURCE}],
        "n": 1,
        "text": f"at {SOURCE}",
    }

    rewritten = LINKS.rewrite(output, [artifact])

    assert rewritten == {
        "image_url": link,
        "all": [link, {"deep": link}],
        "n": 1,
        "text": f"at {SOURCE}",
    }
    assert output["image_url"] == SOURCE


def test_a_field_of_any_name_makes_a_path_of_plain_letters():
    artifact = make_artifact(field="output.../../%2e?#ü\n[0]", store_key="ab/cd")

    link = LINKS.link(artifact)

    assert link is not None
    _, _, name = link.rpartition("/")
    assert name.isascii()
    assert all(letter.isalnum() or letter == "_" for letter in name)


def test_a_small_picture_has_a_link_only_if_there_is_one():
    with_picture = make_artifact(thumbnail_key="ab/cd.webp")

    link = LINKS.thumbnail(with_picture)

    assert link is not None
    signature = link.split("/")[-2]
    assert LINKS.check(with_picture.id, signature, None, part="thumbnail")
    assert LINKS.thumbnail(make_artifact()) is None
