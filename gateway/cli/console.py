"""How commands print: results to stdout, notes and errors to stderr, money and sizes in words."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, NoReturn, TypeVar
from uuid import UUID

import typer
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from endpoints.catalogue import Basis, Catalogue, Estimate
from gateway.budget_facts import BadBudget
from gateway.cli.inputs import BadInput
from gateway.words import say_usd
from models.errors import PressroomError
from tasks.campaigns.prompt_file import PromptFileError
from tasks.intake import InvalidRequest, say_suggestions
from tasks.schedules import InvalidSchedule
from workers import telemetry
from workers.app import make_app
from workers.runtime import Runtime, open_runtime
from workers.settings import Settings
from workers.tracing import COMMAND, TracingMisconfigured, find_protocol

T = TypeVar("T")

FAILED, USAGE, INTERRUPTED = 1, 2, 130
ASK_ABOVE_USD = Decimal(1)
LAST_WIDTH = 16
PIPED_WIDTH = 200  # of tables that no terminal bounds

# What is not ours to say (prompts, errors, paths) is to be escaped: `[/x]` is no markup.
out = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, emoji=False)
notes = Console(stderr=True, highlight=False, emoji=False)


def fail(message: object, *, code: int = FAILED) -> NoReturn:
    """One clear line, no traceback."""
    line = " ".join(str(message).split())
    notes.print(f"[red]error:[/red] {escape(line)}", soft_wrap=True)
    raise typer.Exit(code)


def print_json(value: Any) -> None:  # noqa: ANN401 -- any JSON
    """Nothing but the JSON, and nothing folded or coloured where it is piped."""
    if out.is_terminal:
        out.print_json(json.dumps(value, default=str))
    else:
        sys.stdout.write(json.dumps(value, default=str, ensure_ascii=False) + "\n")


def make_table(*columns: str) -> Table:
    """A plain table, one line a row: what is too wide is cut, in the last column folded.

    A column that begins with `>` is set to the right.
    """
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for number, column in enumerate(columns, start=1):
        last = number == len(columns)
        table.add_column(
            column.removeprefix(">"),
            justify="right" if column.startswith(">") else "left",
            no_wrap=not last,
            overflow="fold" if last else "ellipsis",
            min_width=LAST_WIDTH if last else None,
        )
    return table


def run(body: Callable[[Runtime], Awaitable[T]]) -> T:
    """Run a command's body on an open runtime; what goes wrong is said, not traced."""

    async def bounded() -> T:
        async with open_cli_runtime(read_settings()) as runtime:
            return await body(runtime)

    try:
        return asyncio.run(bounded())
    except (BadBudget, BadInput, InvalidRequest, InvalidSchedule, PromptFileError) as error:
        fail(error, code=USAGE)
    except PressroomError as error:
        fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


@asynccontextmanager
async def open_cli_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    telemetry.set_up_command(settings)
    async with open_runtime(settings, make_app(settings), name=COMMAND) as runtime:
        yield runtime


def read_settings() -> Settings:
    try:
        find_protocol()
        return Settings()
    except TracingMisconfigured as error:
        fail(error, code=USAGE)
    except ValidationError as error:
        said = [_say_setting(one) for one in error.errors(include_url=False)]
        fail("; ".join(said), code=USAGE)


def note_unlisted(catalogue: Catalogue, endpoint: str) -> None:
    hint = say_suggestions(catalogue, endpoint)
    said = f"{endpoint} is not in the catalogue: no check, no price{hint}"
    notes.print(escape(said), soft_wrap=True)


def confirm(question: str, *, yes: bool) -> None:
    """Go on if it was agreed to, by `--yes` or now; where nobody can be asked, only by `--yes`."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"{question} Say --yes: there is no terminal to ask on", code=USAGE)
    # The event loop's handler would let the question stand until a second Ctrl-C.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        typer.confirm(question, abort=True, err=True)
    finally:
        signal.signal(signal.SIGINT, handler)


def _say_setting(error: ErrorDetails) -> str:
    """What is wrong with a setting; what came is shown unless it may hold a secret."""
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return message
    name = str(error["loc"][0])
    secret = "SecretStr" in str(Settings.model_fields[name].annotation)
    came = "" if secret else f" (came {error['input']!r})"
    return f"PRESSROOM_{name.upper()}: {message}{came}"


def say_estimate(estimate: Estimate) -> str:
    if estimate.usd is None:
        return "no price is known"
    words = {
        Basis.EXACT: f"{say_usd(estimate.usd)} (exact)",
        Basis.CEILING: f"at most {say_usd(estimate.usd)}",
        Basis.MEDIA: f"about {say_usd(estimate.usd)} (a supplied file decides)",
        Basis.AFTER: f"about {say_usd(estimate.usd)} (the result decides)",
    }
    return words[estimate.basis]


def say_id(value: UUID | str) -> str:
    """The end of an id, which tells jobs made together apart, and which commands take."""
    return str(value)[-12:]


def shorten(value: str, length: int) -> str:
    line = " ".join(value.split())
    return line if len(line) <= length else line[: length - 1] + "…"
