"""`python -m endpoints.emulator`: the emulator as a process."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from endpoints.emulator.app import serve
from endpoints.emulator.config import DEFAULT_KEY, EmulatorConfig
from endpoints.emulator.jobs import State

KEY_VARIABLE = "PRESSROOM_UPSTREAM_KEY"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and the keys, and serve until a signal comes."""
    options = _parser().parse_args(arguments)
    keys = os.environ.get(KEY_VARIABLE, "") or DEFAULT_KEY
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        config = EmulatorConfig(
            host=options.host,
            port=options.port,
            clock_factor=options.clock,
            seed=options.seed,
            keys=frozenset(key.strip() for key in keys.split(",") if key.strip()),
            public_url=options.public_url,
            workers=options.workers,
            execution_seconds=options.execution_seconds,
            spread=options.spread,
            limits=dict(options.limit),
            custom=tuple(options.custom),
            overrun_state=State(options.overrun),
            bill_cancelled=not options.cancelled_free,
            webhook_on_failure=options.webhook_on_failure,
        )
        asyncio.run(serve(config))
    except (OSError, ValueError) as error:
        sys.exit(f"emulator: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m endpoints.emulator",
        description="A stand-in for the upstream. Nothing it makes is real, and nothing costs.",
        epilog=f"API keys come from {KEY_VARIABLE}, comma separated; {DEFAULT_KEY} without it.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=8900)
    add("--clock", type=float, default=1.0, help="emulated seconds to a real one; 0 freezes it")
    add("--seed", type=int, default=1, help="of execution times, faults and other draws")
    add("--public-url", help="what links to files start with; default: the caller's own host")
    add("--workers", type=int, help="of each endpoint; default: without limit")
    add("--execution-seconds", type=float, help="median of every endpoint; default: catalogue's")
    add("--spread", type=float, default=1.0, help="of execution times; 0: all the median")
    add(
        "--limit",
        type=_limit,
        action="append",
        default=[],
        metavar="OPERATION=REQUESTS/CONCURRENT",
        help="in place of the catalogue's, e.g. run=100/20; a 0 lifts a limit; may be repeated",
    )
    add("--custom", action="append", default=[], metavar="ENDPOINT", help="serve one that echoes")
    add("--overrun", choices=["TIMED_OUT", "FAILED"], default="TIMED_OUT")
    add("--cancelled-free", action="store_true", help="do not bill jobs cancelled while running")
    add("--webhook-on-failure", action="store_true", help="send webhooks for failures, too")
    return parser


def _limit(text: str) -> tuple[str, tuple[int | None, int | None]]:
    operation, _, figures = text.partition("=")
    requests, _, concurrent = figures.partition("/")
    return operation, (int(requests) or None, int(concurrent) or None)


if __name__ == "__main__":
    main()
