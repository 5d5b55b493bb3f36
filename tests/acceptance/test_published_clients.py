"""Whoever calls the upstream today calls us by changing a base URL and a key, and nothing else.

The programs in `clients/` are what users of the published clients write; here they run, each in a
process of its own, and what came back to them is looked at. The clients are installed once, below
.cache, and again when a version in `clients/` changes.
"""

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import av
import httpx
import pytest
from PIL import Image

pytestmark = pytest.mark.timeout(900)  # the first test waits while everything is installed

CLIENTS = Path(__file__).parent / "clients"
CACHE = Path(__file__).parents[2] / ".cache" / "clients"
PYTHON_PROGRAMS = ("runpod_blocking", "runpod_asyncio", "openai_sdk", "guide_requests")
NODE_PROGRAMS = ("runpod_sdk", "ai_sdk", "guide_fetch")
SECONDS = 120.0  # a program that takes longer hangs
FLUX = "black-forest-labs-flux-1-dev"
QWEN = "Qwen/Qwen3-32B-AWQ"
UPSTREAM_FAILURE = (
    'request failed with 400, {"code": 400, "message": "the image could not be fetched"}'
)
FAILURE = "request failed with 400: the image could not be fetched"  # the same, read
USD_A_PIXEL = 0.0024 / 1e6  # of Flux Schnell
SYNC_BODY = """{
    "input": {
      "prompt": "A serene mountain landscape at sunset",
      "width": 1024,
      "height": 1024,
      "num_inference_steps": 20,
      "guidance": 7.5
    }
  }"""
ASYNC_BODY = """{
    "input": {
      "prompt": "A futuristic cityscape with flying cars",
      "width": 1024,
      "height": 1024,
      "num_inference_steps": 50,
      "guidance": 8.0
    }
  }"""


@dataclass(frozen=True)
class Report:
    """How each scenario of one program ended."""

    ends: Mapping[str, Mapping[str, Any]]

    def result(self, scenario: str) -> Any:
        """What it returned."""
        end = self.ends[scenario]
        assert "raised" not in end, end["trace"]
        return end["result"]

    def raised(self, scenario: str) -> str:
        """What it raised, in words."""
        end = self.ends[scenario]
        assert "raised" in end, end["result"]
        return str(end["raised"])


RunPrograms: TypeAlias = Callable[[Sequence[str | Path], Iterable[str]], dict[str, Report]]


@pytest.fixture(scope="module")
def client_base(stack, gateway_key) -> tuple[str, str]:
    """What a user changes: the base URL and the key."""
    return f"http://127.0.0.1:{stack.gateway_port}/v2", gateway_key


@pytest.fixture(scope="module", autouse=True)
def _endpoints_of_ones_own(stack) -> None:
    """Serverless endpoints behind the gateway that behave as the scenarios need."""
    with httpx.Client(base_url=f"http://127.0.0.1:{stack.emulator_port}/admin") as admin:
        for custom in (
            {"endpoint": "echo", "execution_seconds": 1},
            {"endpoint": "always-fails", "execution_seconds": 1},
            {"endpoint": "never-ends", "execution_seconds": 1e6},
            *(
                {"endpoint": f"one-worker-{program}", "execution_seconds": 1e6, "workers": 1}
                for program in PYTHON_PROGRAMS + NODE_PROGRAMS
            ),
        ):
            assert admin.post("/custom", json=custom).is_success
        fault = {"kind": "fail_job", "endpoint": "always-fails", "body": UPSTREAM_FAILURE}
        assert admin.post("/faults", json=fault).is_success


@pytest.fixture(scope="module")
def run_programs(client_base, tmp_path_factory) -> RunPrograms:
    """Run programs side by side, each to its end."""
    base_url, key = client_base
    home = tmp_path_factory.mktemp("home")

    def run_program(command: Sequence[str | Path], program: str) -> Report:
        done = subprocess.run(
            [*command, program],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),  # no credentials of whoever runs the tests
                "PYTHONDONTWRITEBYTECODE": "1",
                "RUNPOD_ENDPOINT_BASE_URL": base_url,
                "RUNPOD_API_KEY": key,
                "ONE_WORKER": f"one-worker-{program}",
            },
            capture_output=True,
            check=False,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stderr.decode()
        lines = [line for line in done.stdout.splitlines() if line.startswith(b'{"scenario"')]
        return Report({end["scenario"]: end for end in map(json.loads, lines)})

    def run(command: Sequence[str | Path], programs: Iterable[str]) -> dict[str, Report]:
        programs = list(programs)
        with ThreadPoolExecutor(len(programs)) as pool:
            reports = pool.map(lambda program: run_program(command, program), programs)
        return dict(zip(programs, reports, strict=True))

    return run


@pytest.fixture(scope="module")
def python_reports(run_programs: RunPrograms) -> dict[str, Report]:
    def install(folder: Path) -> None:
        call(sys.executable, "-m", "venv", folder)
        call(folder / "bin/python", "-m", "pip", "install", "-q", "-r", requirements)

    requirements = CLIENTS / "requirements.txt"
    version = ".".join(map(str, sys.version_info[:2]))
    folder = installed(f"python{version}", requirements, install)
    return run_programs([folder / "bin/python", CLIENTS / "run_scenarios.py"], PYTHON_PROGRAMS)


@pytest.fixture(scope="module")
def node_reports(run_programs: RunPrograms, tmp_path_factory) -> dict[str, Report]:
    def install(folder: Path) -> None:
        for file in ("package.json", "package-lock.json"):
            shutil.copy(CLIENTS / file, folder)
        call("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder)

    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        go_without("node and npm are not installed")
    # Node looks for packages beside the file that imports them, through links.
    programs = tmp_path_factory.mktemp("node")
    for program in CLIENTS.glob("*.mjs"):
        shutil.copy(program, programs)
    folder = installed("node", CLIENTS / "package-lock.json", install)
    (programs / "node_modules").symlink_to(folder / "node_modules")
    return run_programs([node, programs / "run_scenarios.mjs"], NODE_PROGRAMS)


@pytest.fixture
def report(request) -> Report:
    """Of the program that a test names."""
    reports = "node_reports" if request.param in NODE_PROGRAMS else "python_reports"
    found: dict[str, Report] = request.getfixturevalue(reports)
    return found[request.param]


def installed(name: str, lock: Path, install: Callable[[Path], None]) -> Path:
    """A folder of the cache that `install` has filled; a new one whenever `lock` is another."""
    folder = CACHE / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not (folder / ".installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        install(folder)
        (folder / ".installed").touch()
    return folder


def call(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        words = " ".join(map(str, command))
        go_without(f"{words}: {(done.stdout + done.stderr).decode()[-2000:]}")


def go_without(reason: str) -> NoReturn:
    """Skip at home; in CI, where nothing may be missing, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def of(*programs: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("report", programs, indirect=True)


def text_of(output: Any) -> str:
    """The words of a text model's output, or of a piece of it."""
    match output:
        case str():
            return output
        case [reply] | reply:
            return "".join(reply["choices"][0]["tokens"])


def curl(*words: str) -> Any:
    if not shutil.which("curl"):
        go_without("curl is not installed")
    return json.loads(
        subprocess.run(["curl", "-sS", *words], check=True, capture_output=True).stdout
    )


def picture_at(url: str) -> Image.Image:
    """The picture that a URL gives to somebody without a key."""
    return Image.open(io.BytesIO(httpx.get(url, follow_redirects=True).raise_for_status().content))


@of("runpod_blocking", "runpod_asyncio", "runpod_sdk")
def test_a_job_is_submitted_and_followed_to_its_output(report):
    ran = report.result("run")

    # RUNNING, which the upstream knows, too, is refused by the AI SDK's image models.
    assert ran["first"] in {"IN_QUEUE", "IN_PROGRESS", "COMPLETED"}
    assert ran["output"] == {"echo": {"prompt": "a heron"}}
    assert ran["last"] == "COMPLETED"


@of("runpod_blocking", "runpod_sdk")
def test_a_synchronous_call_returns_the_output(report):
    assert report.result("run_sync") == {"echo": {"prompt": "a heron"}}


@of("runpod_blocking", "runpod_asyncio", "runpod_sdk")
def test_a_stream_gives_each_piece_once_and_ends(report):
    streamed = report.result("stream")

    said = " ".join(map(text_of, streamed["pieces"]))
    assert said.split() == text_of(streamed["output"]).split() != []


@of("runpod_blocking", "runpod_asyncio", "runpod_sdk")
def test_a_cancelled_job_is_answered_at_once_and_stays_cancelled(report):
    cancelled = report.result("cancel")

    assert cancelled["reply"]["status"] == "CANCELLED"
    assert cancelled["reply"]["id"]
    assert cancelled["status"] == "CANCELLED"


@of("runpod_blocking", "runpod_asyncio", "runpod_sdk")
def test_a_purge_cancels_what_is_queued_and_counts_it(report):
    purged = report.result("purge_queue")

    removed = purged["statuses"].count("CANCELLED")
    assert purged["reply"] == {"removed": removed, "status": "completed"}
    assert removed >= 2  # of three jobs for one worker


@of("runpod_blocking", "runpod_asyncio", "runpod_sdk")
def test_health_counts_jobs_and_workers(report):
    health = report.result("health")

    assert health["jobs"]["completed"] >= 1
    assert health["jobs"].keys() >= {"completed", "failed", "inProgress", "inQueue", "retried"}
    assert health["workers"].keys() >= {"idle", "initializing", "ready", "running", "throttled"}
    assert {type(count) for counts in health.values() for count in counts.values()} == {int}


@of("runpod_blocking", "runpod_asyncio", "runpod_sdk")
def test_a_failed_job_is_told_as_failed(report):
    failed = report.result("failed")

    assert (failed["status"], failed["output"]) == ("FAILED", None)
    assert failed.get("error", FAILURE) == FAILURE  # the Python classes do not hand it out


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ("runpod_blocking", "401 Unauthorized"),
        ("runpod_asyncio", "KeyError: 'id'"),  # it looks at no HTTP status
        ("runpod_sdk", " 401: "),
        ("ai_sdk", " 401: "),
        ("openai_sdk", "AuthenticationError: Error code: 401"),
    ],
    indirect=["report"],
)
def test_a_wrong_key_is_refused(report, words):
    assert words in report.raised("wrong_key")


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ("runpod_blocking", "HTTPError: 400 "),
        ("runpod_sdk", " 400: "),
        ("ai_sdk", " 400: "),
    ],
    indirect=["report"],
)
def test_a_wrong_input_is_refused(report, words):
    assert words in report.raised("wrong_input")


@of("runpod_blocking", "runpod_sdk")
def test_an_unknown_job_is_not_found(report):
    assert "404" in report.raised("unknown_job")


@of("ai_sdk")
def test_the_ai_sdk_generates_a_text(report):
    generated = report.result("generate_text")

    assert generated["said"].split()
    assert generated["finishReason"] in {"stop", "length"}
    assert generated["usage"]["inputTokens"] > 0
    assert 0 < generated["usage"]["outputTokens"] <= 60


@of("ai_sdk")
def test_the_ai_sdk_streams_a_text(report):
    streamed = report.result("stream_text")

    assert len(streamed["pieces"]) > 1
    assert "".join(streamed["pieces"]).split()
    assert streamed["finishReason"] in {"stop", "length"}
    assert 0 < streamed["usage"]["outputTokens"] <= 60


@of("ai_sdk")
def test_the_ai_sdk_generates_a_picture(report):
    generated = report.result("generate_image")

    content = base64.b64decode(generated["base64"])
    assert generated["mediaType"] == "image/png"
    assert Image.open(io.BytesIO(content)).size == (512, 768)
    assert httpx.get(generated["url"], follow_redirects=True).content == content
    assert generated["cost"] == pytest.approx(USD_A_PIXEL * 512 * 768, rel=1e-3)


@of("ai_sdk")
def test_the_ai_sdk_generates_speech(report):
    generated = report.result("generate_speech")

    assert generated["mediaType"] == "audio/wav"
    with wave.open(io.BytesIO(base64.b64decode(generated["base64"]))) as recording:
        assert recording.getnframes() > recording.getframerate()  # more than a second


@of("ai_sdk")
def test_the_ai_sdk_generates_a_video(report):
    generated = report.result("generate_video")

    assert generated["mediaType"] == "video/mp4"
    with av.open(io.BytesIO(base64.b64decode(generated["base64"])), "r") as clip:
        frame = next(clip.decode(video=0))
        assert frame.width == frame.height > 0
        assert clip.duration == pytest.approx(av.time_base, rel=0.1)


@of("ai_sdk")
def test_the_ai_sdk_hands_a_recording_in_and_follows_the_job(report):
    transcribed = report.result("transcribe_with_an_endpoint_of_ones_own")

    recording = base64.b64encode(b"RIFF    WAVE").decode()
    assert transcribed["said"] == "No transcript generated."
    assert transcribed["job"]["status"] == "COMPLETED"
    assert transcribed["job"]["output"] == {"echo": {"audio_base64": recording}}


@of("ai_sdk")
def test_the_ai_sdk_says_why_in_our_words(report):
    assert "the image could not be fetched" in report.raised("failed")
    assert "widht: unknown field" in report.raised("wrong_input")
    withdrawn = report.raised("transcribe_with_a_withdrawn_endpoint")
    assert withdrawn.startswith(("AI_APICallError 404: ", "AI_APICallError 400: "))
    assert not withdrawn.endswith((": Not Found", ": Bad Request"))  # the client's own words


@of("openai_sdk")
def test_openai_lists_the_models(report):
    assert report.result("models") == [QWEN]


@of("openai_sdk")
def test_openai_chats(report):
    reply = report.result("chat")

    assert reply["role"] == "assistant"
    assert reply["said"].split()
    check_usage(reply["usage"], reply["finish_reason"])


@of("openai_sdk")
def test_openai_streams_a_chat(report):
    reply = report.result("streamed_chat")

    [finish_reason] = reply["finish_reasons"]
    assert len(reply["pieces"]) > 1
    assert "".join(reply["pieces"]).split()
    check_usage(reply["usage"], finish_reason)


@of("openai_sdk")
def test_openai_completes_a_text(report):
    reply = report.result("completion")

    assert reply["said"].split()
    check_usage(reply["usage"], reply["finish_reason"])


def check_usage(usage, finish_reason):
    """Every token is counted, and the text ends early just if it used up all that it may."""
    assert usage["prompt_tokens"] > 0
    assert 0 < usage["completion_tokens"] <= 60
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert finish_reason == ("length" if usage["completion_tokens"] == 60 else "stop")


@of("openai_sdk")
def test_openai_is_told_what_is_wrong_in_its_own_form(report):
    refusal = report.raised("wrong_model")

    assert refusal.startswith(("NotFoundError", "BadRequestError"))
    assert "no-such-model" in refusal
    assert "{" not in refusal  # an error in any other form is shown as JSON


@of("guide_requests", "guide_fetch")
def test_the_guide_s_code_gets_its_pictures(report):
    for scenario in ("synchronous", "asynchronous"):
        assert picture_at(report.result(scenario)).size == (1024, 1024)


def test_the_guide_s_synchronous_curl_gets_its_picture(client_base):
    base_url, key = client_base

    result = curl(
        *("-X", "POST", f"{base_url}/{FLUX}/runsync"),
        *("-H", f"Authorization: Bearer {key}"),
        *("-H", "Content-Type: application/json"),
        *("-d", SYNC_BODY),
    )

    assert result["status"] == "COMPLETED"
    assert result["id"]
    assert {type(result[field]) for field in ("delayTime", "executionTime")} == {int}
    assert result["output"]["cost"] == pytest.approx(0.02 * 1024 * 1024 / 1e6, rel=1e-3)
    assert picture_at(result["output"]["image_url"]).size == (1024, 1024)


def test_the_guide_s_asynchronous_curl_gets_its_picture(client_base):
    base_url, key = client_base

    submitted = curl(
        *("-X", "POST", f"{base_url}/{FLUX}/run"),
        *("-H", f"Authorization: Bearer {key}"),
        *("-H", "Content-Type: application/json"),
        *("-d", ASYNC_BODY),
    )
    result = submitted
    deadline = time.monotonic() + SECONDS
    while result["status"] in {"IN_QUEUE", "IN_PROGRESS", "RUNNING"}:
        assert time.monotonic() < deadline, result
        time.sleep(0.1)
        result = curl(
            *("-X", "GET", f"{base_url}/{FLUX}/status/{submitted['id']}"),
            *("-H", f"Authorization: Bearer {key}"),
        )

    assert submitted == {"id": submitted["id"], "status": "IN_QUEUE"}
    assert result["status"] == "COMPLETED"
    assert picture_at(result["output"]["image_url"]).size == (1024, 1024)


def test_the_reference_s_curl_sends_the_bare_key(client_base):
    base_url, key = client_base
    bare = ("-H", f"authorization: {key}", "-H", "content-type: application/json")

    failed = curl(
        *("--request", "POST", f"{base_url}/always-fails/runsync", *bare),
        *("-d", '{"input": {"prompt": "a heron"}}'),
    )
    retried = curl("--request", "POST", f"{base_url}/always-fails/retry/{failed['id']}", *bare)
    again = curl("--request", "GET", f"{base_url}/always-fails/status-sync/{failed['id']}", *bare)

    assert (failed["status"], failed["error"]) == ("FAILED", FAILURE)
    assert retried == {"id": failed["id"], "status": "IN_QUEUE"}
    assert (again["id"], again["status"]) == (failed["id"], "FAILED")
