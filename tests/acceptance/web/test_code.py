"""The code that a form becomes: every program runs as pasted, and asks for what the form says."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import expect

from gateway.web.playground.code.languages import LANGUAGES, Language
from gateway.web.playground.code.request import Mode, Wanted
from models.key import Scope
from tests.acceptance.test_published_clients import CLIENTS, call, go_without, installed
from tests.acceptance.web.conftest import NARROW, check_axe

pytestmark = pytest.mark.timeout(900)  # the first test waits for what npm installs

ROOT = Path(__file__).parents[3]
FLUX = "black-forest-labs-flux-1-schnell"
PROMPT = (
    "it's a \"heron\" \\ at \\n dusk, $HOME `ls` $(id) ${x} %s {{ y }} \u2028 </script> ''' "
    "\U0001f98a\nsecond line: 100%!"
)
MODES: tuple[Mode, ...] = ("run", "runsync")
SECONDS = 120.0
SDK_INPUTS: dict[
    str, dict[str, object]
] = {  # of kinds other than images, what the AI SDK is asked for
    "qwen3-32b-awq": {"prompt": PROMPT, "max_tokens": 24, "temperature": 0.5, "top_k": 3},
    "p-video": {"prompt": PROMPT, "duration": 1, "seed": 7},
    "chatterbox-turbo": {"prompt": PROMPT.replace("\n", " "), "voice": "lucy"},
}
RUNNERS = {"curl": ("bash", ".sh"), "fetch": ("node", ".mjs"), "ai-sdk": ("node", ".mjs")}


@pytest.fixture(scope="module")
def node_modules() -> Path:
    def install(folder: Path) -> None:
        for file in ("package.json", "package-lock.json"):
            shutil.copy(CLIENTS / file, folder)
        call("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder)

    if not shutil.which("node") or not shutil.which("npm"):
        go_without("node and npm are not installed")
    return installed("node", CLIENTS / "package-lock.json", install) / "node_modules"


@pytest.fixture(scope="module")
def endpoints(api):
    names = (FLUX, *SDK_INPUTS)
    return {name: api.get(f"/api/v1/endpoints/{name}").json() for name in names}


@pytest.fixture(scope="module")
def runs(site, endpoints, node_modules, tmp_path_factory):
    """Each program, run to its end side by side: its exit, what it said, its folder, its input."""
    programs = tmp_path_factory.mktemp("programs")
    wanted: dict[tuple[str, str], tuple[Language, str, dict[str, object], Mode]] = {}
    for seed, (language, mode) in enumerate(
        (language, mode) for language in LANGUAGES for mode in MODES
    ):
        values = {"prompt": PROMPT, "width": 512, "height": 768, "seed": 1000 + seed}
        wanted[language.id, mode] = (language, FLUX, values, mode)
    sdk = next(one for one in LANGUAGES if one.id == "ai-sdk")
    wanted |= {("ai-sdk", name): (sdk, name, values, "run") for name, values in SDK_INPUTS.items()}

    def run(key):
        language, endpoint, values, mode = wanted[key]
        asked = Wanted(endpoint=endpoints[endpoint], input=values, mode=mode, base=site.base)
        folder = programs / "-".join(key)
        folder.mkdir()
        program, suffix = RUNNERS.get(language.id, (sys.executable, ".py"))
        file = folder / f"program{suffix}"
        file.write_text(language.write(asked))
        if suffix == ".mjs":
            (folder / "node_modules").symlink_to(node_modules)
        done = subprocess.run(
            [program, file],
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "PRESSROOM_KEY": site.key_of(Scope.RUN),
                "REDIS_URL": site.settings.broker_dsn,
                "PYTHONPATH": str(ROOT / "clients/python/src"),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        return done, folder, values

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(wanted, pool.map(run, wanted), strict=True))


def find_job(api, endpoint, **values):
    """The one whose input has these values."""
    listed = api.get("/api/v1/jobs", params={"endpoint": endpoint}).json()["jobs"]
    whole = [api.get(f"/api/v1/jobs/{one['id']}").json() for one in listed]
    [job] = [one for one in whole if values.items() <= one["input"].items()]
    return job


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("language", [one.id for one in LANGUAGES])
def test_every_program_runs_the_job_that_the_form_says(api, runs, language, mode):
    if language == "curl" and not (shutil.which("curl") and shutil.which("jq")):
        go_without("curl and jq are not installed")
    done, folder, values = runs[language, mode]
    assert done.returncode == 0, done.stderr
    job = find_job(api, FLUX, seed=values["seed"])
    assert job["input"] == values
    assert job["state"] == "completed"
    if language == "ai-sdk" or (mode == "run" and language != "celery"):
        [saved] = [one for one in folder.iterdir() if _is_picture(one)]
        assert saved.stat().st_size == job["artifacts"][0]["size_bytes"]
    else:
        assert "image_url" in done.stdout


def _is_picture(path):
    if path.is_dir() or path.is_symlink():
        return False
    return path.read_bytes()[:3] in {b"\x89PN", b"\xff\xd8\xff"}


def test_the_ai_sdk_generates_text_video_and_speech(api, runs):
    for endpoint, kind in (("p-video", "mp4"), ("chatterbox-turbo", "wav")):
        done, folder, values = runs["ai-sdk", endpoint]
        assert done.returncode == 0, done.stderr
        job = find_job(api, endpoint, prompt=values["prompt"])
        assert job["input"] == values
        assert (folder / f"result.{kind}").stat().st_size == job["artifacts"][0]["size_bytes"]


def test_the_ai_sdk_asks_a_text_model_by_its_openai_route(api, runs):
    done, _, values = runs["ai-sdk", "qwen3-32b-awq"]
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 3
    asked = find_job(api, "qwen3-32b-awq", max_tokens=24)["input"]
    assert asked["messages"] == [{"role": "user", "content": PROMPT}]
    assert (asked["temperature"], asked["top_k"]) == (values["temperature"], values["top_k"])


# The dialog


@pytest.fixture(scope="module")
def past_job(site):
    with site.client() as client:
        made = client.post(
            "/api/v1/jobs", json={"endpoint": FLUX, "input": {"prompt": PROMPT, "seed": 5}}
        ).json()
        client.get(f"/api/v1/jobs/{made['id']}", params={"wait": 20}).raise_for_status()
    return made["id"]


def open_dialog(visit, past_job, *scopes, **options):
    page = visit(f"/runs/{past_job}", *scopes, **options)
    page.get_by_role("button", name="Code").click()
    dialog = page.get_by_role("dialog", name="Code")
    expect(dialog).to_be_visible()
    return page, dialog


def test_each_language_is_shown_and_copied_as_it_is_shown(visit, past_job):
    page, dialog = open_dialog(visit, past_job)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for language in LANGUAGES:
        dialog.get_by_role("button", name=language.name, exact=True).click()
        for mode in MODES:
            dialog.get_by_role("button", name=mode, exact=True).click()
            name = f"Code in {language.name}, {mode}"
            code = dialog.get_by_role("region", name=name, exact=True)
            expect(code).to_contain_text("second line: 100%!")
            dialog.get_by_role("button", name="Copy the code").click()
            page.wait_for_function(
                "async (shown) => (await navigator.clipboard.readText()).trim() === shown.trim()",
                arg=code.inner_text(),
            )


def test_what_the_ai_sdk_cannot_do_is_said_in_words(visit, api):
    made = api.post("/api/v1/jobs", json={"endpoint": "my-own", "input": {"prompt": "x"}}).json()
    page = visit(f"/runs/{made['id']}")
    page.get_by_role("button", name="Code").click()
    dialog = page.get_by_role("dialog", name="Code")
    dialog.get_by_role("button", name="Vercel AI SDK").click()
    expect(dialog).to_contain_text("No code: The AI SDK knows models of images, video")
    expect(dialog.get_by_role("button", name="Copy the code")).to_be_hidden()
    dialog.get_by_role("button", name="Python", exact=True).click()
    expect(dialog.get_by_role("region")).to_contain_text("/v2/my-own")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_its_colours_can_be_told_apart_by_everybody(visit, past_job, theme):
    page, dialog = open_dialog(visit, past_job, theme=theme, size=NARROW)
    dialog.get_by_role("button", name="Python", exact=True).click()
    expect(dialog.locator(".pr-code-string").first).to_be_visible()
    check_axe(page)
