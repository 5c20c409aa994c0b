"""The services of the demo as processes of their own: filters of one group, and a sink."""

import contextlib
import os
import re
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consumer.settings import PREFIX, Settings, as_environment
from deploy.local.leash import Leashed
from deploy.local.ports import LOOPBACK, free_port
from schemas.errors import UserError

READY_S: Final = 120.0
POLL_S: Final = 0.1
_SAMPLE: Final = re.compile(r"^((?:smsift|process)_\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Member:
    """One service process and where it answers."""

    name: str
    process: Leashed
    port: int
    log: Path

    def raise_if_ended(self) -> None:
        """Raises UserError with the last line of its log where the process has ended by itself."""
        if self.process.exit_code is not None:
            lines = self.log.read_text(errors="replace").strip().splitlines()
            raise UserError(f"{self.name} ended by itself: {lines[-1] if lines else 'it said nothing'}")

    def ready(self) -> bool:
        return self._get("/readyz") is not None

    def owns_partitions(self) -> bool:
        return self.samples().get("smsift_assigned_partitions", 0) > 0

    def samples(self) -> dict[str, float]:
        """Its metrics, summed over labels except `outcome`: {"smsift_records_total.spam": 12, "smsift_lag": 3, …}."""
        found: dict[str, float] = {}
        for name, labels, value in _SAMPLE.findall(self._get("/metrics") or ""):
            outcome = re.search(r'outcome="(\w+)"', labels)
            key = f"{name}.{outcome[1]}" if outcome else name
            found[key] = found.get(key, 0.0) + float(value)
        return found

    def _get(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}{path}", timeout=2) as answer:
                return str(answer.read().decode())
        except OSError:  # not listening yet, or not ready
            return None


@contextlib.contextmanager
def members(settings: Settings, filters: int, folder: Path) -> Iterator[list[Member]]:
    """`filters` filters and one sink, ready; ended with SIGTERM, the sink last, when the context ends.

    Raises UserError where one of them does not start.
    """
    with contextlib.ExitStack() as ending:
        # The cores are shared between the filters, and each may use its share: more threads only get in the way.
        threads = max(1, (os.cpu_count() or 1) // filters)
        started = [ending.enter_context(_member("sink", ["sink"], settings, folder))]
        for number in range(filters):
            arguments = ["filter", "--transactional-id", f"{settings.filter_group}-demo-{number}"]
            name = f"filter-{number}"
            started.append(ending.enter_context(_member(name, arguments, settings, folder, THREADS=str(threads))))
        deadline = time.monotonic() + READY_S
        for member in started:
            _wait_until(member, member.ready, "was not ready", deadline)
        if filters <= settings.inbound_partitions:  # a join is settled when the last one has its share
            for member in started[1:]:
                _wait_until(member, member.owns_partitions, "got no partitions", deadline)
        yield started[1:] + started[:1]


def _wait_until(member: Member, condition: Callable[[], bool], failed: str, deadline: float) -> None:
    while not condition():
        member.raise_if_ended()
        if time.monotonic() > deadline:
            raise UserError(f"{member.name} {failed} within {READY_S:.0f} s; see {member.log}.")
        time.sleep(POLL_S)


@contextlib.contextmanager
def _member(name: str, arguments: list[str], settings: Settings, folder: Path, **more: str) -> Iterator[Member]:
    port = free_port()
    environment = {
        **as_environment(settings),
        PREFIX + "HTTP_PORT": str(port),
        **{PREFIX + key: value for key, value in more.items()},
        # Threads that wait for work by spinning take the cores from the other members.
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    log = folder / f"{name}.log"
    process = Leashed([sys.executable, "-m", "smsift", *arguments], log=log, environment=environment)
    try:
        yield Member(name, process, port, log)
    finally:
        process.stop()
