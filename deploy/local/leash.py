"""A process that cannot outlive the one that started it.

Between starter and command stands a small Python process that reads a pipe from the starter. Whatever ends the starter
(its end, an exception, Ctrl-C, SIGKILL) closes the pipe, and the leash ends the command: SIGTERM, a few seconds of
grace, SIGKILL. The leash has a session of its own, so Ctrl-C in a terminal reaches the starter alone and the stack
outlives its clients' orderly end.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]  # the folder that `deploy` is imported from
GRACE_S: Final = 8.0  # Kafka flushes and ends in one to two seconds; then comes SIGKILL
_PR_SET_PDEATHSIG: Final = 1


class Leashed:
    """A running command; it ends with `stop`, or with this process at the latest."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        """Start `command` with its output appended to `log` and `environment` on top of this process's own."""
        with log.open("ab") as output:
            self._leash = subprocess.Popen(
                [sys.executable, "-m", "deploy.local.leash", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """The command's exit code, or None while it runs."""
        return self._leash.poll()

    def kill(self) -> None:
        """End the command as a crash would, with SIGKILL, and wait until it is gone."""
        if self._leash.poll() is None:
            self._leash.send_signal(signal.SIGUSR1)
        self.stop()

    def stop(self) -> None:
        """End the command in order and wait until it is gone; safe to call twice."""
        assert self._leash.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._leash.stdin.close()
        try:
            self._leash.wait(GRACE_S + 4)
        except subprocess.TimeoutExpired:  # a leash that hangs: the kernel ends its command with it (Linux)
            self._leash.kill()
            self._leash.wait()


def _hold(command: Sequence[str]) -> int:
    """Run `command` until it ends by itself, the starter's pipe closes, or a signal asks for the end."""
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    asked: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            asked.append(number)

    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, note)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_leash)  # noqa: PLW1509 - no threads here
    while child.poll() is None and not asked:
        readable, _, _ = select.select([sys.stdin.fileno(), wake], [], [])
        if wake in readable:
            os.read(wake, 512)
        if sys.stdin.fileno() in readable and not os.read(sys.stdin.fileno(), 512):
            break
    if child.poll() is None:
        (child.kill if signal.SIGUSR1 in asked else child.terminate)()
        try:
            child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait()


def _die_with_leash() -> None:
    """Ask Linux to end the command when the leash itself is killed; elsewhere there is no such wish."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    code = _hold(sys.argv[1:])
    sys.exit(code if code >= 0 else 128 - code)
