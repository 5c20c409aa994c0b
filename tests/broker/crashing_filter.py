"""A filter that SIGKILLs itself at a named point of its n-th micro-batch: `crashing_filter.py POINT N`.

It wraps the clients and the classifier that the real filter is assembled from; production code knows nothing of it.
"""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, Producer

from consumer.classifier.contract import Classification
from consumer.classifier.null import Null
from consumer.filter import assemble, filter_consumer_config
from consumer.health import Health
from consumer.kafka_clients import transactional_config
from consumer.metrics import Metrics
from consumer.settings import load_settings

POINTS = ("after_consume", "after_classify", "after_produce", "after_send_offsets", "after_commit")


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

    def poll(self, *arguments: Any) -> Any:
        message = self._consumer.poll(*arguments)
        if message is not None:
            self._crash.passed("after_consume")
        return message

    def consume(self, *arguments: Any) -> Any:
        messages = self._consumer.consume(*arguments)
        if messages:
            self._crash.passed("after_consume")
        return messages

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


class CrashingProducer:
    def __init__(self, producer: Producer, crash: Crash) -> None:
        self._producer, self._crash = producer, crash

    def send_offsets_to_transaction(self, *arguments: Any) -> None:
        self._producer.flush()  # what was produced is on the broker, in an open transaction
        self._crash.passed("after_produce")
        self._producer.send_offsets_to_transaction(*arguments)
        self._crash.passed("after_send_offsets")

    def commit_transaction(self, *arguments: Any) -> None:
        self._producer.commit_transaction(*arguments)
        self._crash.passed("after_commit")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


class CrashingClassifier(Null):
    def __init__(self, crash: Crash) -> None:
        self._crash = crash

    def classify(self, texts: Sequence[str]) -> list[Classification]:
        answers = super().classify(texts)
        self._crash.passed("after_classify")
        return answers


def main() -> None:
    crash = Crash(sys.argv[1], int(sys.argv[2]))
    settings = load_settings()
    filter_ = assemble(
        settings,
        CrashingClassifier(crash),
        metrics=Metrics("filter"),
        health=Health(settings.stall_s),
        consumer=CrashingConsumer(Consumer(filter_consumer_config(settings)), crash),  # type: ignore[arg-type]
        producer=CrashingProducer(Producer(transactional_config(settings)), crash),  # type: ignore[arg-type]
    )
    filter_.run(threading.Event())


if __name__ == "__main__":
    main()
