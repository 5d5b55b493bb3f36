"""What exported files are called: by a template, and never out of their folder."""

from pathlib import PurePosixPath

import pytest

from gateway.reports.file_names import PART_BYTES, USUAL, name_file, read_name
from models.artifact import Artifact, ArtifactState
from models.base import new_id
from models.job import Job, JobState
from tasks.campaigns.template import BadTemplate


def make_job(**changes):
    given = {"custom_id": "fox-1", "position": 4, "endpoint": "flux", **changes}
    return Job(id=new_id(), input={}, state=JobState.COMPLETED, **given)


def make_file(**changes):
    given = {"position": 0, "sha256": "a" * 64, "store_key": "sha256/aa/aaaa.png", **changes}
    return Artifact(id=new_id(), state=ArtifactState.STORED, **given)


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        (USUAL, "fox-1-0.png"),
        ("{endpoint}/{position}-{n}.{ext}", "flux/4-0.png"),
        ("{custom_id}-{state}.{ext}", "fox-1-completed.png"),
        ("by hash/{sha256}", "by hash/" + "a" * 64),
    ],
)
def test_a_template_names_them(template, wanted):
    assert name_file(read_name(template), make_job(), make_file()) == PurePosixPath(wanted)


def test_an_item_without_an_id_of_its_own_is_called_by_its_position():
    named = name_file(read_name(USUAL), make_job(custom_id=None), make_file(store_key="sha256/aa"))

    assert named == PurePosixPath("4-0.bin")


@pytest.mark.parametrize(
    ("custom_id", "wanted"),
    [
        ("../../etc/passwd", "-..-etc-passwd-0.png"),
        ("/root", "-root-0.png"),
        ('a<b>:"|?*\0c', "a-b-c-0.png"),
        ("фокс 1", "фокс 1-0.png"),
        ("a\nb", "a-b-0.png"),
    ],
)
def test_what_an_id_holds_makes_no_folder_and_nothing_that_a_disk_refuses(custom_id, wanted):
    named = name_file(read_name(USUAL), make_job(custom_id=custom_id), make_file())

    assert str(named) == wanted


def test_a_long_name_keeps_its_ending():
    named = name_file(read_name(USUAL), make_job(custom_id="ж" * 500), make_file())

    assert named.suffix == ".png"
    assert len(named.name.encode()) <= PART_BYTES


@pytest.mark.parametrize("template", ["../{item}.{ext}", "a/../{item}", "{custom_id}", "/{item}"])
def test_a_name_that_leads_out_of_the_folder_or_is_empty_is_refused(template):
    with pytest.raises(BadTemplate, match="nothing is left of it"):
        name_file(read_name(template), make_job(custom_id=""), make_file())


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{itm}.{ext}", "{itm}: no such name; did you mean 'item'?"),
        ("{endpoint}.{ext}", "{item} was wanted in it"),
        ("{item", "a lone '{'"),
    ],
)
def test_a_template_that_cannot_name_them_apart_is_refused(template, said):
    with pytest.raises(BadTemplate) as caught:
        read_name(template)

    assert said in str(caught.value)
