"""Waiting for another process, with a deadline."""

import time
from collections.abc import Callable


def wait_until(ready: Callable[[], bool], timeout_s: float, unless: Callable[[], bool] = lambda: False) -> bool:
    """Ask `ready` until it says yes (True), or `unless` does or the time is over (False)."""
    deadline = time.monotonic() + timeout_s
    while not unless():
        if ready():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return False
