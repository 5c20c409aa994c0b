"""SIGTERM and SIGINT ask a service to stop; its loop decides when."""

import signal
import threading


def stop_on_signals() -> threading.Event:
    """Return an event that the first SIGTERM or SIGINT sets. Main thread only."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
