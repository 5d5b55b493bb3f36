"""Pages that commands write."""

import re
from pathlib import Path

from gateway.cli.console import out
from gateway.cli.inputs import BadInput


def write_page(html: str, path: Path | None, *, name: str, other: str) -> None:
    """Write a page, and print where it is.

    Args:
        path: as it was asked for; None: by the name.
        other: in place of a name of which nothing is left in a file's name.

    Raises:
        BadInput: it cannot be written there.
    """
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or other
    path = path or Path(f"{stem}.html")
    try:
        path.write_text(html)
    except OSError as error:
        raise BadInput(f"--output {path}: {(error.strerror or str(error)).lower()}") from error
    out.print(path, highlight=False, soft_wrap=True)
