"""Logs: one line for each event, a fixed past-tense name with fields; JSON or for a person's eyes.

Endpoint, stage and lease are bound where a lane begins, job and attempt where one job is meant.
Keys, prompts and results are never logged.
"""

import logging
import sys

import structlog

from workers.settings import Settings

# They say at `info` what we say ourselves, or what nobody asked.
QUIET = (
    "httpx",
    "httpcore",
    "kombu",
    "celery.worker.strategy",
    "celery.app.trace",
    "celery.beat",
    "alembic",
    "tornado.access",
)


def set_up(settings: Settings) -> None:
    """Send everything, ours and the libraries', to stderr in one form."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    as_json = settings.log_format == "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([structlog.processors.format_exc_info] if as_json else []),
                structlog.processors.JSONRenderer(default=str)
                if as_json
                # Rich's would show what variables hold: prompts, and secrets.
                else structlog.dev.ConsoleRenderer(
                    exception_formatter=structlog.dev.plain_traceback
                ),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
