"""The process that owns a stack which stays: `python -m deploy.local.keeper FOLDER WANTED`, started by `stack.up`."""

import contextlib
import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

import psutil

from consumer.settings import PREFIX, Settings
from deploy.local.parts import Parts, StackAddresses, Wanted, started
from schemas.errors import UserError

_LOOK_S: Final = 0.5  # between looks at whether the parts still run
_SAME_START_S: Final = 2.0  # a process's start time is known to the clock tick, and shifts when the clock is set


@dataclass(frozen=True, slots=True)
class Kept:
    """A stack that stays: who keeps it and where it is, as written to keeper.json."""

    pid: int
    started_at: float
    addresses: StackAddresses

    @classmethod
    def by_this_process(cls, addresses: StackAddresses) -> Self:
        return cls(os.getpid(), psutil.Process().create_time(), addresses)

    def publish(self, folder: Path) -> None:
        """Write keeper.json and stack.env, each whole or not at all."""
        addresses = {
            "BOOTSTRAP_SERVERS": self.addresses.bootstrap_servers,
            "CLICKHOUSE_URL": self.addresses.clickhouse_url,
        }
        _write(folder / "keeper.json", json.dumps(asdict(self)))
        _write(folder / Settings.stack_env, "".join(f"{PREFIX}{name}={value}\n" for name, value in addresses.items()))

    @staticmethod
    def remove(folder: Path) -> None:
        for name in (Settings.stack_env, "keeper.json"):
            (folder / name).unlink(missing_ok=True)


def read_kept(folder: Path) -> Kept | None:
    """The stack kept in `folder`, or None where its keeper is gone. Another process with its old id is not it."""
    try:
        written = json.loads((folder / "keeper.json").read_text())
        kept = Kept(written["pid"], written["started_at"], StackAddresses(**written["addresses"]))
        process = psutil.Process(kept.pid)
        same = abs(process.create_time() - kept.started_at) < _SAME_START_S
        return kept if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, KeyError, TypeError, psutil.NoSuchProcess):
        return None


def hold(
    folder: Path, wanted: Wanted, say: Callable[[str], None], ready: Callable[[StackAddresses], None]
) -> StackAddresses:
    """Start a stack, publish it, call `ready`, and hold it until SIGTERM, Ctrl-C, or the end of one of its parts.

    Raises UserError where a part cannot start, where it ends by itself, or where another keeper has the folder.
    """
    asked = threading.Event()
    with (folder / "keeper.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"A stack is already starting or stopping in {folder}: wait a moment.") from None
        previous = signal.signal(signal.SIGTERM, _end_start)
        try:
            with started(wanted, say) as parts:
                Kept.by_this_process(parts.addresses).publish(folder)
                signal.signal(signal.SIGTERM, lambda *_: asked.set())
                ready(parts.addresses)
                with contextlib.suppress(KeyboardInterrupt):
                    _watch(parts, asked)
                return parts.addresses
        finally:
            Kept.remove(folder)
            signal.signal(signal.SIGTERM, previous)


def _watch(parts: Parts, asked: threading.Event) -> None:
    while not asked.wait(_LOOK_S):
        if (name := parts.ended()) is not None:
            raise UserError(f"{name} ended by itself, and the stack with it: see its log in the data folder.")


def _end_start(*_: object) -> None:
    raise SystemExit(1)


def _write(path: Path, text: str) -> None:
    scratch = path.with_name(path.name + ".new")
    scratch.write_text(text)
    scratch.replace(path)


def _tell(**message: object) -> None:
    print(json.dumps(message), flush=True)


def main() -> None:
    folder = Path(sys.argv[1])
    given = json.loads(sys.argv[2])
    ports = {name: int(given[name]) if given[name] else None for name in ("kafka_port", "clickhouse_port")}
    wanted = Wanted(**{**given, **ports, "jars": Path(given["jars"]), "data": Path(given["data"])})

    def ready(addresses: StackAddresses) -> None:
        _tell(up=asdict(addresses))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # who started this stops listening here

    try:
        hold(folder, wanted, say=lambda sentence: _tell(say=sentence), ready=ready)
    except UserError as error:
        print(time.strftime("%Y-%m-%d %H:%M:%S"), error, file=sys.stderr)
        _tell(error=str(error))
        sys.exit(2)


if __name__ == "__main__":
    main()
