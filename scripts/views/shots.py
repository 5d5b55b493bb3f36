"""Pictures of pages in headless Chromium."""

import io
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from scripts.views.fill import Filled
from scripts.views.views import NOBODY, View

THEMES = ("light", "dark")
WIDTHS = {"wide": (1440, 900), "narrow": (390, 844)}
COLOURS = (256, 128, 64)  # of a palette: as many as keep the file small enough
MOST_BYTES = 150_000
SECONDS = 60.0
SERIOUS = {"serious", "critical"}
SETTLED_MS = 700  # bars grow to their length
QUIET = ("--no-sandbox", "--disable-background-networking", "--disable-component-update")


@dataclass(frozen=True)
class Shot:
    """
    Attributes:
        shown_seconds: until the page showed what it is for.
        findings: serious ones of axe-core, and what the browser complained of.
    """

    name: str
    shown_seconds: float
    size_bytes: int
    findings: Sequence[str]


@contextmanager
def run_chromium() -> Iterator[Browser]:
    """
    Raises:
        RuntimeError: there is none.
    """
    found = shutil.which("chromium")
    if found is None:
        raise RuntimeError("chromium was wanted on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(QUIET))
        yield browser
        browser.close()


def take(
    browser: Browser, base: str, views: Sequence[View], filled: Filled, folder: Path
) -> Iterator[Shot]:
    """Each view in both themes and widths, as FOLDER/NAME-THEME-WIDTH.png."""
    for who in dict.fromkeys(view.who for view in views):
        for theme in THEMES:
            for width, (x, y) in WIDTHS.items():
                context = browser.new_context(
                    base_url=base,
                    viewport={"width": x, "height": y},
                    color_scheme=theme,  # type: ignore[arg-type]
                )
                context.set_default_timeout(SECONDS * 1000)
                page = context.new_page()
                if who != NOBODY:
                    sign_in(page, filled.secrets[who])
                for view in views:
                    if view.who == who:
                        name = f"{view.name}-{theme}-{width}"
                        yield _take_one(page, view, filled, folder / f"{name}.png")
                context.close()


def sign_in(page: Page, key: str) -> None:
    """At a page that is in no picture."""
    page.goto("/web/login?next=/web/keys")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.locator("main h1").wait_for()


def _take_one(page: Page, view: View, filled: Filled, path: Path) -> Shot:
    findings: list[str] = []

    def complain(said: object) -> None:
        findings.append(str(said))

    page.on("pageerror", complain)
    started = time.monotonic()
    page.goto(f"/web{view.path(filled)}")
    page.locator(view.wait_for).wait_for()
    shown = time.monotonic() - started
    page.wait_for_timeout(SETTLED_MS)
    findings += _run_axe(page)
    _save(page.screenshot(full_page=view.whole), path)
    page.remove_listener("pageerror", complain)
    return Shot(path.stem, shown, path.stat().st_size, findings)


def _run_axe(page: Page) -> list[str]:
    return [
        f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:160]}"
        for one in Axe().run(page).response["violations"]
        if one["impact"] in SERIOUS
    ]


def _save(png: bytes, path: Path) -> None:
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in COLOURS:
        picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            return
