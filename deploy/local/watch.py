"""Follows the demo's outcomes as they are committed, and holds them against what was sent."""

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from confluent_kafka import Consumer, Message, TopicPartition

from consumer.kafka_clients import client_config
from consumer.settings import Settings
from producer_sim.traffic import Truth
from producer_sim.verify import Offsets
from schemas.events import LabelName

EXAMPLES: Final = 4
# The first messages on a new broker wait for its transaction coordinator to load, once in its life.
WARM_UP_S: Final = 2.0


class Watch:
    """A read_committed reader in a thread of its own; numbers are read from other threads as they stand."""

    def __init__(self, settings: Settings, start: Offsets) -> None:
        self._settings = settings
        self._start = start
        self._truth: dict[str, LabelName] = {}
        self._first: float | None = None
        self._latencies_ms: list[float] = []
        self.examples: dict[str, deque[dict[str, Any]]] = {
            "spam": deque(maxlen=EXAMPLES),
            "ham": deque(maxlen=EXAMPLES),
        }
        self.outcomes = 0
        self.right = 0
        self.judged = 0
        self.false_positives = 0

    @property
    def start_of_inbound(self) -> dict[int, int]:
        inbound = self._settings.topics.inbound
        return {number: offset for (topic, number), offset in self._start.items() if topic == inbound}

    def expect(self, truth: Truth) -> None:
        """What the simulator is about to send; called in its thread."""
        self._truth[truth.event_id] = truth.label
        self._first = self._first or truth.intended

    def percentile_ms(self, percent: float) -> float:
        """Of the time from the intended send to the committed verdict in a reader's hands; 0 where none came."""
        ordered = sorted(self._latencies_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator["Watch"]:
        stop = threading.Event()
        thread = threading.Thread(target=self._follow, args=(stop,), name="watch", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()

    def _follow(self, stop: threading.Event) -> None:
        consumer = Consumer(
            {
                **client_config(self._settings),
                "group.id": "smsift-demo-watch",  # the client wants one; nothing is committed to it
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 20,
            }
        )
        topics = self._settings.topics
        outcomes = (topics.spam, topics.ham, topics.dead)
        consumer.assign([TopicPartition(t, n, offset) for (t, n), offset in self._start.items() if t in outcomes])
        while not stop.is_set():
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                self._note(message, time.time())
        consumer.close()

    def _note(self, message: "Message[bytes, bytes]", now: float) -> None:
        self.outcomes += 1
        if message.topic() == self._settings.topics.dead:
            return
        verdict = json.loads(message.value() or b"")
        truth = self._truth.get(verdict["event_id"])
        if truth is None:  # another producer is at work on this broker, or a malformed record was well-formed enough
            return
        received = _unix_time(verdict["received_at"])
        if self._first is not None and received - self._first >= WARM_UP_S:
            self._latencies_ms.append(1000 * (now - received))
        self.judged += 1
        self.right += verdict["label"] == truth
        self.false_positives += verdict["label"] == "spam" and truth == "ham"
        self.examples[verdict["label"]].append(verdict)


def _unix_time(moment: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(moment).timestamp()
