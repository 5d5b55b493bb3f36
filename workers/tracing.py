"""Traces: off, unless OpenTelemetry's own variables say where they are to go.

    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT    to a collector
    OTEL_TRACES_EXPORTER                  otlp, console; none: off, whatever else is set
    OTEL_EXPORTER_OTLP_PROTOCOL, ..._TRACES_PROTOCOL    http/protobuf; grpc, with the extra for it
    OTEL_SDK_DISABLED                     true: off

All the others (service name, sampler, headers, batches) are read by the SDK itself. While it is off
nothing of the SDK's traces is imported: `workers/tracer.py` is, once it is on.
"""

import importlib.util
import os
from typing import TYPE_CHECKING

from models.errors import PressroomError

if TYPE_CHECKING:
    from workers.tracer import Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
OTLP, CONSOLE, NONE = "otlp", "console", "none"
HTTP, GRPC = "http/protobuf", "grpc"
COMMAND = "cli"  # the process that a command is
EXPORTERS = "opentelemetry.exporter.otlp.proto"


class TracingMisconfigured(PressroomError):
    """A variable of OpenTelemetry says what cannot be done here."""


def is_tracing_on() -> bool:
    """Whether this process's environment asks for traces."""
    exporter = _read("OTEL_TRACES_EXPORTER")
    if exporter == NONE or _read("OTEL_SDK_DISABLED") == "true":
        return False
    return bool(exporter or any(_read(name) for name in ENDPOINTS))


def find_protocol() -> str | None:
    """How spans are sent: http/protobuf, grpc or console; None: traces are off.

    Raises:
        TracingMisconfigured: by an exporter or a protocol that there is not.
    """
    if not is_tracing_on():
        return None
    exporter = _read("OTEL_TRACES_EXPORTER") or OTLP
    if exporter not in {OTLP, CONSOLE}:
        raise TracingMisconfigured(
            f"OTEL_TRACES_EXPORTER={exporter} came; {OTLP}, {CONSOLE} or {NONE} was wanted"
        )
    if exporter == CONSOLE:
        return CONSOLE
    protocol = next((said for name in PROTOCOLS if (said := _read(name))), HTTP)
    if protocol not in {HTTP, GRPC}:
        raise TracingMisconfigured(f"{PROTOCOLS[1]}={protocol} came; {HTTP} or {GRPC} was wanted")
    if protocol == GRPC and importlib.util.find_spec(f"{EXPORTERS}.{GRPC}") is None:
        raise TracingMisconfigured(
            f"{PROTOCOLS[1]}={GRPC} needs `pip install 'pressroom[otlp-grpc]'`; "
            f"{HTTP} needs nothing more"
        )
    return protocol


def open_tracer(process: str) -> "Tracer | None":
    """What records this process's spans; None while traces are off.

    Args:
        process: what it is: gateway, worker, cli. Its service is called `pressroom-<process>`,
            unless OTEL_SERVICE_NAME says otherwise.

    Raises:
        TracingMisconfigured: as of `find_protocol`.
    """
    protocol = find_protocol()
    if protocol is None:
        return None
    from workers.tracer import make_tracer  # noqa: PLC0415 -- imported once traces are on

    return make_tracer(process, protocol)


def _read(name: str) -> str:
    return os.environ.get(name, "").strip().lower()
