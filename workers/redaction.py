"""What is kept out of the log, whoever writes it: secrets always, prompts unless a setting shows
them.

    secrets   keys, tokens, logins in URLs, queries of URLs (they are signed), signed paths of ours
    prompts   inputs, results, and words of others (`said`), who may quote them; what an error says,
              but for those that speak of machines and code

Fields are known by their names, and what stands in a text by what surrounds it. Where an error
arose is shown in any case: its traceback has lines of code and no values.
"""

import re
import sys
import traceback
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog
from pydantic import SecretStr
from redis.exceptions import RedisError

from models.errors import DatabaseUnavailable, NotFound
from workers.settings import Settings

HIDDEN = "***"
SECRET_FIELDS = re.compile(
    r"(?i).*(authorization|password|passwd|secret|token|api_?key|cookie|signature|sealed"
    r"|access_?id|credential).*"
)
PROMPT_FIELDS = frozenset(
    (
        *("prompt", "prompts", "negative_prompt", "input", "inputs", "messages", "text", "said"),
        *("output", "outputs", "result", "content", "body"),
        *("args", "argsrepr", "kwargs", "kwargsrepr"),  # of Celery's messages
    )
)
# They speak of machines and of code, and quote no values.
SPEAKING = (
    *(OSError, LookupError, AttributeError, TypeError, NameError, ImportError, AssertionError),
    *(RedisError, DatabaseUnavailable, NotFound),
)
SHORTEST_SECRET = 6  # of those that are known by their value: less would be found anywhere

_SECRETS = (
    (re.compile(r"\b(rpa_|prk_|whsec_|AKIA|ASIA)[A-Za-z0-9+/=_-]{4,}"), r"\1" + HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}"), r"\1 " + HIDDEN),
    (re.compile(r"(?<=://)[^/\s@'\"]+@"), HIDDEN + "@"),
    (re.compile(r"(://[^\s?'\"<>]+)\?[^\s'\"<>]+"), r"\1?" + HIDDEN),
    (
        re.compile(r"(/(?:files|thumbnails|hints)/[0-9a-f-]{32,36}/(?:[0-9a-f-]{32,36}/)?)[\w-]+"),
        r"\1" + HIDDEN,
    ),
    (
        re.compile(
            r"(?i)(\b(?:authorization|password|passwd|\w*secret\w*|\w*token|api_?key|access_?id"
            r"|cookie|x-amz-\w+|signature)[\"']?\s*[:=]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&)}\]]+)"
        ),
        r"\1" + HIDDEN,
    ),
)
# To the end of the line: where a value ends that nobody wrote for us, nobody can say.
_PROMPTS = re.compile(
    r"(?i)([\"'\\](?:" + "|".join(sorted(PROMPT_FIELDS)) + r")\\?[\"']\s*:\s*|\bprompt\s*[:=]\s*).*"
)


class Redactor:
    """A processor of structlog, the last before what renders."""

    def __init__(self, settings: Settings) -> None:
        self._shows_prompts = settings.log_prompts
        known = sorted(_list_secrets(settings), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(
        self, _logger: object, _method: str, event_dict: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        error = _find_error(event_dict.pop("exc_info", None))
        shown: dict[str, Any] = {
            name: self._show(name, value) for name, value in event_dict.items()
        }
        if error is not None:
            said, hidden = str(error), self._say(error)
            event = str(event_dict["event"])
            for words in filter(None, (repr(error), said)):  # as libraries write into their own
                event = event.replace(words, hidden)
            shown["event"] = self._clean(event)
            shown["exception"] = self._clean_lines(self._tell(error))
        return shown

    def _show(self, name: str, value: Any) -> Any:  # noqa: ANN401 -- any value that is logged
        if value is None or isinstance(value, bool | int | float):
            return value
        if SECRET_FIELDS.fullmatch(name):
            return HIDDEN
        if name in PROMPT_FIELDS and not self._shows_prompts:
            return f"[{len(str(value))} characters]"
        if isinstance(value, Mapping):
            return {key: self._show(str(key), one) for key, one in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._show("", one) for one in value]
        return self._clean_lines(str(value))

    def _clean_lines(self, text: str) -> str:
        return "\n".join(map(self._clean, text.split("\n")))

    def _clean(self, text: str) -> str:
        if not self._shows_prompts:
            text = _PROMPTS.sub(r"\1" + HIDDEN, text)
        for pattern, shown in _SECRETS:
            text = pattern.sub(shown, text)
        return self._known.sub(HIDDEN, text) if self._known else text

    def _say(self, error: BaseException) -> str:
        said = str(error)
        if self._shows_prompts or isinstance(error, SPEAKING) or not said:
            return said
        return f"[{len(said)} characters]"

    def _tell(self, error: BaseException, told: set[int] | None = None) -> str:
        """As Python does, with the causes first.

        Args:
            told: the ids of the errors so far, each told once: a group can be the context of what
                it holds, round and round.
        """
        told = set() if told is None else told
        told.add(id(error))
        parts = []
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is not None and id(cause) not in told:
            parts += [self._tell(cause, told), "which led to"]
        parts += ["".join(traceback.format_tb(error.__traceback__)).rstrip()]
        parts += [f"{type(error).__name__}: {self._say(error)}"]
        if isinstance(error, BaseExceptionGroup):
            parts += [self._tell(one, told) for one in error.exceptions if id(one) not in told]
        return "\n".join(filter(None, parts))


def _find_error(exc_info: object) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1] if isinstance(exc_info[1], BaseException) else None
    return sys.exc_info()[1] if exc_info else None


def _list_secrets(settings: Settings) -> set[str]:
    """Those that the settings hold, and the passwords of their URLs."""
    found = set()
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if not isinstance(value, SecretStr):
            continue
        secret = value.get_secret_value()
        found |= _list_passwords(secret) if name.endswith("_url") else {secret}
    return {one for one in found if len(one) >= SHORTEST_SECRET}


def _list_passwords(url: str) -> set[str]:
    """As they are written, and as they are meant; those of options, too."""
    parts = urlsplit(url)
    written = {parts.password or ""}
    for option in parts.query.split("&"):
        name, _, value = option.partition("=")
        if SECRET_FIELDS.fullmatch(name):
            written.add(value)
    return written | set(map(unquote, written))
