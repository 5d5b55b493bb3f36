"""A worker's `/metrics`: on a port and a thread of its own, so that a loop that is stuck shows.

Whoever asks sends the token. Without one in the settings nothing is served.
"""

import hmac
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import structlog
from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from workers.metrics import REGISTRY
from workers.settings import Settings

READ_SECONDS = 5.0  # that a client may take to say what it wants

log = structlog.get_logger()


def opens(settings: Settings, authorization: str) -> bool:
    """Whether a request with this header may read metrics by the token of the settings."""
    if settings.metrics_token is None:
        return False
    wanted = f"Bearer {settings.metrics_token.get_secret_value()}"
    return hmac.compare_digest(authorization.encode(), wanted.encode())


def serve_metrics(settings: Settings, *, port: int) -> ThreadingWSGIServer | None:
    """Begin to serve; None if nothing is served: a worker works without, too."""
    if settings.metrics_token is None:
        return None
    show = make_wsgi_app(REGISTRY)

    def guarded(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if not opens(settings, environ.get("HTTP_AUTHORIZATION", "")):
            start("401 Unauthorized", [("WWW-Authenticate", "Bearer")])
            return [b"the token of PRESSROOM_METRICS_TOKEN was wanted: Authorization: Bearer ...\n"]
        if environ.get("PATH_INFO") != "/metrics":
            start("404 Not Found", [])
            return [b"/metrics was wanted\n"]
        answer: Iterable[bytes] = show(environ, start)
        return answer

    try:
        server = make_server(
            settings.metrics_host, port, guarded, ThreadingWSGIServer, handler_class=_Handler
        )
    except OSError as error:
        log.warning("metrics_not_served", port=port, error=str(error))
        return None
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


class _Handler(WSGIRequestHandler):
    timeout = READ_SECONDS

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 -- its interface
        """Say nothing: who scrapes does so four times a minute."""
