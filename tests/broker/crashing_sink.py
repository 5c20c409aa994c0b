"""A sink that SIGKILLs itself when its n-th flush reaches a named point: `crashing_sink.py POINT N`.

It wraps the consumer and the writer that the real sink is assembled from; production code knows nothing of it.
"""

import os
import signal
import sys
import threading
from typing import Any

from confluent_kafka import Consumer

from consumer.health import Health
from consumer.metrics import Metrics
from consumer.settings import load_settings
from consumer.sink.service import assemble, sink_consumer_config
from consumer.sink.writer import Batch, Writer

POINTS = ("before_announce", "after_announce", "after_first_insert", "after_last_insert", "after_settle")


class Crash:
    """Dies the n-th time its point is passed."""

    def __init__(self, point: str, at: int) -> None:
        self._point, self._left = point, at

    def passed(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


class CrashingConsumer:
    def __init__(self, consumer: Consumer, crash: Crash) -> None:
        self._consumer, self._crash = consumer, crash

    def commit(self, *, offsets: Any, asynchronous: bool) -> Any:
        announces = any(offset.metadata for offset in offsets)
        self._crash.passed("before_announce" if announces else "after_last_insert")
        answered = self._consumer.commit(offsets=offsets, asynchronous=asynchronous)
        self._crash.passed("after_announce" if announces else "after_settle")
        return answered

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


class CrashingWriter(Writer):
    def __init__(self, settings: Any, crash: Crash) -> None:
        super().__init__(settings)
        self._crash = crash

    def write(self, batch: Batch) -> float:
        seconds = super().write(batch)
        self._crash.passed("after_first_insert")
        return seconds


def main() -> None:
    crash = Crash(sys.argv[1], int(sys.argv[2]))
    settings = load_settings()
    assemble(
        settings,
        metrics=Metrics("sink"),
        health=Health(settings.stall_s),
        consumer=CrashingConsumer(Consumer(sink_consumer_config(settings)), crash),  # type: ignore[arg-type]
        writer=CrashingWriter(settings, crash),
    ).run(threading.Event())


if __name__ == "__main__":
    main()
