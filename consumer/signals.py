"""How a service ends: SIGTERM and SIGINT ask it to stop, its loop decides when, its exit code says what to do next."""

import signal
import threading
from typing import Final

EXIT_RESTART: Final = 1  # the process cannot go on, and a new one can


def stop_on_signals() -> threading.Event:
    """Return an event that the first SIGTERM or SIGINT sets. Main thread only."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
