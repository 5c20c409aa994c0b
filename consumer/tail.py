"""Follow one of the topics as a person would: what is committed, one line a record."""

from collections.abc import Iterator
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition
from pydantic import ValidationError

from consumer.kafka_clients import ADMIN_TIMEOUT_S, client, client_config
from consumer.settings import Settings
from schemas.errors import UserError
from schemas.events import Verdict
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
        print(_raw(message) if json_lines else _printable(_line(name, message)), flush=True)
        if number == count:
            return


def _records(settings: Settings, topic: str, from_start: bool) -> Iterator[Any]:
    consumer = client(
        Consumer,
        {
            **client_config(settings),
            "group.id": "smsift-tail",  # the client wants one; no offset is ever committed to it
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        },
    )
    try:
        known = consumer.list_topics(topic, timeout=ADMIN_TIMEOUT_S).topics[topic]
        if known.error is not None:
            raise UserError(f"Cannot read topic {topic}: {known.error.str()}.")
        start = OFFSET_BEGINNING if from_start else OFFSET_END
        consumer.assign([TopicPartition(topic, partition, start) for partition in known.partitions])
        while True:
            for message in consumer.consume(1000, WAIT_S):
                error = message.error()
                if error is None:
                    yield message
                elif error.fatal() or error.code() in (
                    KafkaError.TOPIC_AUTHORIZATION_FAILED,
                    KafkaError.UNKNOWN_TOPIC_OR_PART,
                ):
                    raise UserError(f"Cannot read topic {topic}: {error.str()}.")
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
    try:
        verdict = Verdict.model_validate_json(message.value() or b"")
    except ValidationError:
        return f"{message.topic()}/{message.partition()}@{message.offset()}  is not a verdict"
    text = " ".join((verdict.text or "").split())
    shown = text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
    scored_at = verdict.scored_at.isoformat(timespec="seconds")[:19]
    return f"{scored_at}  {verdict.score:.3f} {verdict.action:7} {verdict.sender[:16]:16} {shown}"


def _printable(line: str) -> str:
    """A spammer's control characters are not for an analyst's terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)


def _headers(message: "Message[bytes, bytes]") -> list[Any]:
    return list(message.headers() or [])
