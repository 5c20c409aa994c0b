"""Liveness, readiness and metrics over HTTP, one small server per process.

Live means that the owner's loop turns; ready means that nothing keeps the service from doing its work now. A service
that is not ready is left alone by its supervisor; one that is not live is restarted.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from consumer.metrics import Metrics
from consumer.settings import Settings
from schemas.errors import UserError

log = logging.getLogger("smsift.health")


class Health:
    """What the probes are answered from. The owner thread writes, the server's threads read."""

    def __init__(self, stall_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stall_s = stall_s
        self._clock = clock
        self._last_turn = clock()
        self._obstacles: dict[str, str] = {"start": "starting"}

    def turned(self) -> None:
        """The owner's loop has turned once more."""
        self._last_turn = self._clock()

    def blocked(self, what: str, sentence: str) -> None:
        """Not ready because of `what`, until `cleared(what)`."""
        self._obstacles[what] = sentence

    def cleared(self, what: str) -> None:
        self._obstacles.pop(what, None)

    @property
    def live(self) -> bool:
        """A service that is still starting is: loading a model or taking over a transactional id may take a minute."""
        return "start" in self._obstacles or self._clock() - self._last_turn < self._stall_s

    @property
    def obstacles(self) -> dict[str, str]:
        return dict(self._obstacles)


class HealthServer:
    """Serves /livez, /readyz and /metrics in a daemon thread until closed; `port` is the one it got."""

    def __init__(self, health: Health, metrics: Metrics, host: str, port: int) -> None:
        """Raises UserError where the address cannot be had."""
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(health, metrics))
        except OSError as error:
            raise UserError(
                f"Cannot serve health on {host}:{port}: {error.strerror}; choose another SMSIFT_HTTP_PORT."
            ) from error
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(settings: Settings, health: Health, metrics: Metrics) -> Iterator[None]:
    """Serve as long as the context lasts, if the settings ask for it. Raises UserError where the port is taken."""
    if settings.http_port is None:
        yield
        return
    server = HealthServer(health, metrics, settings.http_host, settings.http_port)
    log.info("health server listens", extra={"host": settings.http_host, "port": server.port})
    try:
        yield
    finally:
        server.close()


def _handler(health: Health, metrics: Metrics) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/livez":
                self._answer(health.live, {"live": health.live})
            elif self.path == "/readyz":
                obstacles = health.obstacles
                self._answer(not obstacles, {"ready": not obstacles, "because": obstacles})
            elif self.path == "/metrics":
                self._send(HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", metrics.exposition())
            else:
                self._send(HTTPStatus.NOT_FOUND, "text/plain", b"try /livez, /readyz or /metrics\n")

        def _answer(self, good: bool, body: dict[str, object]) -> None:
            status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
            self._send(status, "application/json", json.dumps(body).encode() + b"\n")

        def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Probes come every few seconds; they are not news."""

    return Handler
