"""The languages that programs are written in, and what each has to say for itself."""

import importlib.resources
from collections.abc import Callable
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined

from gateway.web.playground.code import literals
from gateway.web.playground.code.ai_sdk import Inexpressible, plan_call
from gateway.web.playground.code.request import Wanted

RUNSYNC_SECONDS = 90.0  # that runsync waits, unless it is told otherwise

_templates = Environment(  # noqa: S701 -- programs, not HTML
    trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined
)
_templates.filters |= {
    "python": literals.python,
    "javascript": literals.javascript,
    "field": literals.name_in_javascript,
    "json": literals.shell_json,
    "word": literals.shell_word,
}
_folder = importlib.resources.files("gateway.web.playground.code") / "templates"


@dataclass(frozen=True)
class Language:
    """Args:
    lexer: of Pygments.
    about: what one needs to know, of either mode.
    """

    id: str
    name: str
    lexer: str
    write: Callable[[Wanted], str]
    about: Callable[[Wanted], str]


def _from_template(name: str) -> Callable[[Wanted], str]:
    template = _templates.from_string((_folder / name).read_text())
    return lambda wanted: template.render(wanted=wanted)


def _write_ai_sdk(wanted: Wanted) -> str:
    """
    Raises:
        Inexpressible
    """
    return _ai_sdk.render(wanted=wanted, call=plan_call(wanted))


def _about_upstream(wanted: Wanted) -> str:
    if wanted.mode == "run":
        return "Hands the job in, and asks every 2 seconds until it has ended."
    seconds = float(wanted.endpoint.get("typical_seconds") or 0)
    if seconds < RUNSYNC_SECONDS:
        return "Waits for the result within one call."
    return (
        f"Waits for the result within one call, for {RUNSYNC_SECONDS:.0f} s at most. This model "
        f"takes about {seconds:.0f} s: use run, or the job is not done when the call is."
    )


def _about_client(wanted: Wanted) -> str:
    ends = "Returns when the job has ended" if wanted.mode == "runsync" else "Follows the job"
    return f"{ends}; the client tries again by itself, and pays for nothing twice."


def _about_celery(_wanted: Wanted) -> str:
    return (
        "Goes by Pressroom's Redis, not by the gateway: it needs no API key, and its jobs belong "
        "to none, so they are not in anybody's history."
    )


def _about_ai_sdk(wanted: Wanted) -> str:
    by = {
        "image": "Runpod's provider calls runsync, and asks again where that is not enough.",
        "speech": "Runpod's provider calls runsync.",
        "video": "Runpod's provider calls run, and asks every 5 seconds.",
        "text": "Runpod's provider calls the endpoint's OpenAI route.",
    }
    return f"{by.get(wanted.kind, '')} It is the same for run and runsync.".strip()


_ai_sdk = _templates.from_string((_folder / "ai_sdk.mjs").read_text())

LANGUAGES = (
    Language("curl", "cURL", "bash", _from_template("curl.sh"), _about_upstream),
    Language("requests", "Python", "python", _from_template("requests.py.txt"), _about_upstream),
    Language("client", "Python client", "python", _from_template("client.py.txt"), _about_client),
    Language("fetch", "JavaScript", "javascript", _from_template("fetch.mjs"), _about_upstream),
    Language("ai-sdk", "Vercel AI SDK", "javascript", _write_ai_sdk, _about_ai_sdk),
    Language("celery", "Celery", "python", _from_template("celery.py.txt"), _about_celery),
)

__all__ = ["LANGUAGES", "Inexpressible", "Language"]
