"""An OTLP/HTTP receiver in this process, and a server that webhooks are sent to."""

import gzip
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class Seen:
    """A span, as it came over the wire."""

    name: str
    service: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    began_ns: int
    attributes: Mapping[str, Any]
    links: tuple[tuple[str, str], ...]
    failed: bool

    @property
    def place(self) -> tuple[str, str]:
        return self.trace_id, self.span_id


class HttpServer:
    """A server on a thread of its own, and what it was sent: headers and bodies."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[tuple[Mapping[str, str], bytes]] = []
        self.refusal = ""  # once, to the next request
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                owner.take(headers, body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(500 if owner.refusal else 200)
                answer, owner.refusal = owner.refusal.encode() or answer, ""
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_words: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, headers: Mapping[str, str], body: bytes) -> None:
        self.requests.append((headers, body))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Collector(HttpServer):
    """A collector of traces."""

    def __init__(self, port: int = 0) -> None:
        self.spans: list[Seen] = []
        self.raw = b""
        super().__init__(port)

    def take(self, headers: Mapping[str, str], body: bytes) -> None:
        plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        self.raw += plain
        for resource in ExportTraceServiceRequest.FromString(plain).resource_spans:
            service = _read(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_see(span, service) for span in scope.spans]

    def wait_for(self, wanted: Callable[[list[Seen]], Any]) -> Any:
        """What `wanted` makes of the spans, once that is something."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not (found := wanted(list(self.spans))):
            seen = [(span.name, span.trace_id, dict(span.attributes)) for span in self.spans]
            assert time.monotonic() < deadline, seen
            time.sleep(0.05)
        return found

    def of_job(self, job_id: str) -> list[Seen]:
        """The spans of a job, as they began."""
        mine = [span for span in self.spans if span.attributes.get("pressroom.job.id") == job_id]
        return sorted(mine, key=lambda span: span.began_ns)


def _see(span: Any, service: str) -> Seen:
    return Seen(
        name=span.name,
        service=service,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=span.kind,
        began_ns=span.start_time_unix_nano,
        attributes=_read(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
    )


def _read(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
