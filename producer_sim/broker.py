"""What the simulator asks a broker before it starts: whether it answers, and whether the topics are there."""

from __future__ import annotations

import time
from typing import Final

from confluent_kafka import Consumer, KafkaException, Producer

from schemas.errors import UserError

ANSWER_S: Final = 10.0
SETTLING_S: Final = 3.0  # a topic made a moment ago is not yet in every answer


def partitions_of(client: Producer | Consumer, servers: str, names: list[str]) -> dict[str, list[int]]:
    """The partitions of each topic. UserError where no broker answers or a topic is missing."""
    deadline = time.monotonic() + SETTLING_S
    while True:
        try:
            there = client.list_topics(timeout=ANSWER_S).topics
        except KafkaException as error:
            raise UserError(f"No Kafka broker answers at {servers} ({error.args[0].str()}).") from error
        missing = [name for name in names if name not in there or not there[name].partitions]
        if not missing:
            return {name: sorted(there[name].partitions) for name in names}
        if time.monotonic() > deadline:
            raise UserError(f"The broker has no topic {', '.join(missing)}; `smsift topics` creates the topics.")
        time.sleep(0.1)
