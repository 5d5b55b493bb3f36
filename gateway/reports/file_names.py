"""What the files of a campaign are called when they are exported: a template, and what is allowed.

`shots/{item}-{n}.{ext}`: a folder for each part before the last. What no file system takes is
replaced, and none leads out of the folder that is exported to.
"""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath

from models.artifact import Artifact
from models.job import Job
from tasks.campaigns.template import BadTemplate, Template, read_template, suggest

USUAL = "{item}-{n}.{ext}"
NAMES = frozenset(
    {"item", "custom_id", "position", "id", "endpoint", "state", "n", "ext", "sha256"}
)
PART_BYTES = 200  # file systems take 255; a name grows by an ending while it is written
_REFUSED = re.compile(r"[^\w.\- ]+")


def read_name(text: str) -> Template:
    """
    Raises:
        BadTemplate: it cannot be read, names what there is not, or is the same for every file.
    """
    template = read_template(text)
    for name in sorted(template.names - NAMES):
        raise BadTemplate(f"{{{name}}}: no such name; {suggest(name, NAMES)}")
    if not template.names & {"item", "custom_id", "position", "id", "sha256"}:
        raise BadTemplate(f"{text!r}: every file would have one name; {{item}} was wanted in it")
    return template


def name_file(template: Template, job: Job, file: Artifact) -> PurePosixPath:
    """
    Args:
        file: one that is stored.

    Raises:
        BadTemplate: nothing is left of the name, or a part of it.
    """
    values = describe(job, file)
    said = str(template.fill({name: _say(values[name]) for name in values}))
    parts = [clean(part) for part in said.split("/")]
    if not all(parts):
        raise BadTemplate(f"{said!r}: a name was wanted, and nothing is left of it")
    return PurePosixPath(*parts)


def describe(job: Job, file: Artifact) -> Mapping[str, object]:
    """What the names of a template are."""
    extension = PurePosixPath(file.store_key or "").suffix.removeprefix(".")
    position = "" if job.position is None else job.position
    return {
        "item": job.custom_id or (position if position != "" else job.id),
        "custom_id": job.custom_id or "",
        "position": position,
        "id": job.id,
        "endpoint": job.endpoint,
        "state": job.state.value,
        "n": file.position,
        "ext": extension or "bin",
        "sha256": file.sha256 or "",
    }


def _say(value: object) -> str:
    """Within a name: what a value holds makes no folder."""
    return str(value).replace("/", "-")


def clean(part: str) -> str:
    """A part of a path that every file system takes; "" if nothing is left."""
    kept = _REFUSED.sub("-", unicodedata.normalize("NFC", part)).strip(" .")
    stem, dot, ending = kept.rpartition(".")
    if not dot:
        stem, ending = kept, ""
    room = PART_BYTES - len((dot + ending).encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + ending
