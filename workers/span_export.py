"""Where spans go. It never holds up a job: they are sent by a thread of its own, from a bounded
queue (OTEL_BSP_*), and are dropped while nobody takes them, which is said once.
"""

import importlib
import logging
from collections.abc import Sequence

import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter, SpanExportResult

from workers.tracing import CONSOLE, GRPC

log = structlog.get_logger()


def make_exporter(protocol: str) -> SpanExporter:
    """
    Args:
        protocol: http/protobuf, grpc or console; one that `find_protocol` took.
    """
    # They say the same of each batch, and of each try to send it: what matters, we say once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    if protocol == CONSOLE:
        return ConsoleSpanExporter()
    name = "grpc" if protocol == GRPC else "http"
    module = importlib.import_module(f"opentelemetry.exporter.otlp.proto.{name}.trace_exporter")
    return QuietExporter(module.OTLPSpanExporter())


class QuietExporter(SpanExporter):
    """Says once that spans are dropped, and once that they get through again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._dropped = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            if not self._dropped:
                log.warning("spans_dropped", spans=len(spans))
            self._dropped += len(spans)
        elif self._dropped:
            log.info("spans_taken_again", dropped=self._dropped)
            self._dropped = 0
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()
