"""`scripts/screenshots [NAME ...]`: pictures of those pages, or of all."""

from pathlib import Path
from typing import Annotated

import typer

from scripts.benches.own_stack import run_own_stack, say
from scripts.views.fill import fill, make_operator
from scripts.views.shots import run_chromium, take
from scripts.views.views import VIEWS

FOLDER = Path(__file__).parents[2] / "docs" / "web"
FAILED = 1


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help="Of which; all if none is named.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where they go.")] = FOLDER,
) -> None:
    """Take them; fails if axe-core finds anything serious, or a page shows nothing."""
    views = [view for view in VIEWS if not names or view.name in names]
    if not views:
        known = ", ".join(view.name for view in VIEWS)
        raise typer.BadParameter(f"{', '.join(names or ())} came; of {known} some were wanted")
    folder.mkdir(parents=True, exist_ok=True)
    found = 0
    with run_own_stack() as settings:
        say("filling it")
        filled = fill(settings, make_operator(settings))
        base = f"http://127.0.0.1:{settings.gateway_port}"
        with run_chromium() as browser:
            for shot in take(browser, base, views, filled, folder):
                size = f"{shot.size_bytes / 1000:.0f} kB"
                typer.echo(f"{shot.name:32} {shot.shown_seconds:5.2f} s {size:>8}")
                for finding in shot.findings:
                    typer.echo(f"    {finding}")
                found += len(shot.findings)
    if found:
        raise typer.Exit(FAILED)


typer.run(main)
