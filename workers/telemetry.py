"""Logs: one line for each event, a fixed past-tense name with fields; JSON or for a person's eyes.

Endpoint, stage and lease are bound where a lane begins, job and attempt where one job is meant;
while traces are on, the trace and the span that are under way. `redaction.py` says what is hidden;
docs/telemetry.md has every event.
"""

import logging
import sys

import structlog

from workers.redaction import Redactor
from workers.settings import Settings
from workers.tracing import is_tracing_on

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
    "urllib3",
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
    if is_tracing_on():
        shared.append(bind_span)
    as_json = settings.log_format == "json"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                Redactor(settings),
                structlog.processors.JSONRenderer(default=str)
                if as_json
                else structlog.dev.ConsoleRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
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


def set_up_command(settings: Settings) -> None:
    """Of a command, warnings to stderr: stdout is for what was asked for."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            Redactor(settings),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_names: structlog.PrintLogger(sys.stderr),
    )


def bind_span(
    _logger: object, _method: str, event_dict: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Whose line it is: the call's of a job, or the lane's."""
    from opentelemetry import trace  # noqa: PLC0415 -- imported once traces are on

    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event_dict["trace_id"] = trace.format_trace_id(context.trace_id)
        event_dict["span_id"] = trace.format_span_id(context.span_id)
    return event_dict
