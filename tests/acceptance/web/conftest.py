"""The pages in a real browser, on one running stack for all of them."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from models.key import Scope
from tests.conftest import make_key, running_stack
from workers.settings import Settings

CHROMIUM = shutil.which("chromium")
FADED_SECONDS = 5.0
SECONDS = 20.0  # that something may take to be seen; the machine may be busy
ALL = frozenset({Scope.RUN, Scope.OPERATE})
WIDE, NARROW = (1440, 900), (390, 844)
DIALOG = ".q-dialog"
SERIOUS = {"serious", "critical"}

expect.set_options(timeout=SECONDS * 1000)


@dataclass(frozen=True)
class Site:
    """Args:
    keys: by the scopes that each has.
    """

    settings: Settings
    base: str
    keys: Mapping[frozenset[Scope], str]

    def key_of(self, *scopes: Scope) -> str:
        """A key with just these; with everything, if none is named."""
        return self.keys[frozenset(scopes) or ALL]

    def client(self, *scopes: Scope) -> httpx.Client:
        """Of the API, as such a key."""
        headers = {"Authorization": f"Bearer {self.key_of(*scopes)}"}
        return httpx.Client(base_url=self.base, headers=headers, timeout=SECONDS)


@pytest.fixture(scope="session")
def site(data_root: Path) -> Iterator[Site]:
    with running_stack(data_root) as settings:
        keys = {
            scopes: make_key(settings, "-".join(sorted(scopes)), *scopes).secret
            for scopes in (ALL, frozenset({Scope.RUN}), frozenset({Scope.READ}))
        }
        yield Site(settings, f"http://127.0.0.1:{settings.gateway_port}", keys)


@pytest.fixture(scope="session")
def api(site: Site) -> Iterator[httpx.Client]:
    """The API, as who may do everything."""
    with site.client() as client:
        yield client


# One a file: while it is there asyncio cannot run, which other files want, and the stack's start.
@pytest.fixture(scope="module")
def chromium(site: Site) -> Iterator[Browser]:  # noqa: ARG001 -- started before it
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    quiet = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield browser
        browser.close()


Visit = Callable[..., Page]


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What browsers complain of: it fails the test, unless the test clears it."""
    said: list[str] = []
    yield said
    assert said == []


@pytest.fixture
def visit(site: Site, chromium: Browser, complaints: list[str]) -> Iterator[Visit]:
    """Opens pages: `visit("/jobs", Scope.READ, size=NARROW, theme="dark")` signs in as such a key,
    one with everything if no scope is named.
    """
    contexts = []

    def listen(said: ConsoleMessage) -> None:
        if said.type == "error":
            complaints.append(said.text)

    def open_page(
        path: str,
        *scopes: Scope,
        key: str | None = None,
        size: tuple[int, int] = WIDE,
        theme: str = "light",
    ) -> Page:
        context = chromium.new_context(
            base_url=site.base,
            viewport={"width": size[0], "height": size[1]},
            color_scheme=theme,  # type: ignore[arg-type]
            accept_downloads=True,
        )
        contexts.append(context)
        context.set_default_timeout(SECONDS * 1000)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", listen)
        sign_in(page, key or site.key_of(*scopes), path)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(visit: Visit) -> Page:
    """The playground, as who may do everything."""
    return visit("/")


@contextmanager
def at_fault(site: Site, fault: Mapping[str, object]) -> Iterator[None]:
    """The emulator does so to whoever asks it."""
    base = f"http://127.0.0.1:{site.settings.emulator_port}"
    with httpx.Client(base_url=base) as emulator:
        emulator.post("/admin/faults", json=fault).raise_for_status()
        try:
            yield
        finally:
            emulator.delete("/admin/faults").raise_for_status()


def sign_in(page: Page, key: str, path: str = "/") -> None:
    page.goto(f"/web{path}")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.locator("main h1").wait_for()


def check_axe(page: Page, *, within: str | None = None) -> None:
    """axe-core finds nothing serious on the page as it stands: what fades in is looked at again.

    Args:
        within: a selector: DIALOG while one is open, for what it dims nobody reads.
    """
    deadline = time.monotonic() + FADED_SECONDS
    while (serious := _find_serious(page, within)) and time.monotonic() < deadline:
        page.wait_for_timeout(200)
    assert serious == []


def _find_serious(page: Page, within: str | None) -> list[str]:
    return [
        f"{one['id']}: {one['help']}: {[_say_node(node) for node in one['nodes'][:3]]}"
        for one in Axe().run(page, within).response["violations"]
        if one["impact"] in SERIOUS
    ]


def _say_node(node: Mapping[str, Any]) -> str:
    return f"{node['html'][:200]} {[one['message'] for one in node['any']]}"
