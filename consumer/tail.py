"""Follow one of the topics as a person would: what is committed, one line a record."""

import json
from collections.abc import Iterator
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, Message, TopicPartition

from consumer.kafka_clients import ADMIN_TIMEOUT_S, client_config
from consumer.settings import Settings
from schemas.errors import UserError
from schemas.topics import TOPICS

WAIT_S = 0.2
SHOWN_CHARACTERS = 100


def follow(settings: Settings, name: str, *, count: int | None, from_start: bool, json_lines: bool) -> None:
    """Print records until `count` or Ctrl-C; commits nothing, so every reader sees all.

    Raises UserError for a topic that smsift does not know or the broker does not have.
    """
    if name not in {topic.suffix for topic in TOPICS}:
        raise UserError(f"There is no topic {name!r}: choose one of {', '.join(topic.suffix for topic in TOPICS)}.")
    for number, message in enumerate(_records(settings, settings.topic_prefix + name, from_start), start=1):
        print(_raw(message) if json_lines else _line(name, message), flush=True)
        if number == count:
            return


def _records(settings: Settings, topic: str, from_start: bool) -> Iterator[Any]:
    consumer = Consumer(
        {
            **client_config(settings),
            "group.id": "smsift-tail",  # the client wants one; no offset is ever committed to it
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    try:
        known = consumer.list_topics(topic, timeout=ADMIN_TIMEOUT_S).topics[topic]
        if known.error is not None:
            raise UserError(f"Cannot read topic {topic}: {known.error.str()}.")
        start = OFFSET_BEGINNING if from_start else OFFSET_END
        consumer.assign([TopicPartition(topic, partition, start) for partition in known.partitions])
        while True:
            for message in consumer.consume(1000, WAIT_S):
                if message.error() is None:
                    yield message
    except KafkaException as error:
        raise UserError(f"Kafka does not answer: {error.args[0].str()}.") from error
    finally:
        consumer.close()


def _raw(message: "Message[bytes, bytes]") -> str:
    if message.value() is None:
        return "null"
    return (message.value() or b"").decode("utf-8", "backslashreplace")


def _line(name: str, message: "Message[bytes, bytes]") -> str:
    if name == "dead":
        headers = {key: (value or b"").decode("utf-8", "replace") for key, value in _headers(message)}
        where = f"{headers.get('source_topic')}/{headers.get('source_partition')}@{headers.get('source_offset')}"
        return f"{headers.get('failed_at', '')[:19]}  {headers.get('reason', '?'):22} {where:24} {headers.get('detail', '')}"
    if name not in ("spam", "ham"):
        return _raw(message)
    verdict = json.loads(message.value() or b"{}")
    text = " ".join(str(verdict.get("text") or "").split())
    shown = text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
    scored_at = str(verdict.get("scored_at"))[:19]
    return f"{scored_at}  {verdict['score']:.3f} {verdict['action']:7} {verdict['sender'][:16]:16} {shown}"


def _headers(message: "Message[bytes, bytes]") -> list[Any]:
    return list(message.headers() or [])
