"""The chDB server as a process of its own."""

import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local.leash import Leashed
from deploy.local.ports import LOOPBACK, free_port, require_free
from deploy.local.waiting import wait_until
from schemas.errors import UserError

START_TIMEOUT_S: Final = 60.0  # under a second; the first start after an install reads 400 MB of engine from disk
_ATTEMPTS: Final = 3  # another program may take a free port between our look and the server's bind


@dataclass(frozen=True, slots=True)
class ClickHouse:
    """A ClickHouse that answers."""

    process: Leashed
    url: str


def start_chdb(data: Path, port: int | None = None) -> ClickHouse:
    """Start the server over the folder `data / "store"`, and return when it answers. Raises UserError with the reason."""
    data.mkdir(parents=True, exist_ok=True)
    for _ in range(_ATTEMPTS):
        started = _attempt(data, require_free(port, "ClickHouse") if port else free_port())
        if isinstance(started, ClickHouse):
            return started
        if port or not started.startswith("Port "):
            break
    raise UserError(f"The local ClickHouse did not start. {started}")


def _attempt(data: Path, port: int) -> ClickHouse | str:
    """One start: the server, or the sentence that it ended with."""
    log = data / "server.out"
    log.unlink(missing_ok=True)  # so that a reason read from it belongs to this start
    server = [sys.executable, "-m", "deploy.local.chdb_server", "--path", str(data / "store"), "--port", str(port)]
    process = Leashed(server, log=log)
    url = f"http://{LOOPBACK}:{port}"
    try:
        if wait_until(lambda: answers(url), START_TIMEOUT_S, unless=lambda: process.exit_code is not None):
            return ClickHouse(process, url)
    except BaseException:
        process.stop()
        raise
    process.stop()
    said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return said[-1] if said else "It gave no reason."


def answers(url: str, timeout_s: float = 1.0) -> bool:
    """Whether a ClickHouse answers /ping there."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/ping", timeout=timeout_s) as answer:  # noqa: S310 - http(s) by the settings
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
