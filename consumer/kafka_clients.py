"""librdkafka clients and their configurations for all services, and what they ask of an administrator: topics and their ids.

Settings may override any property except those that the guarantees stand on.
"""

import logging
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient

from consumer.settings import KafkaProperties, Settings
from schemas.errors import UserError
from schemas.topics import DEAD_MAX_BYTES, create_topics

# What librdkafka has to say goes where our own logs go; clients hand it over when they are polled.
librdkafka_log: Final = logging.getLogger("smsift.librdkafka")

# A hung commit must die before the member that holds it is evicted from the group, so transaction < session.
TRANSACTION_TIMEOUT_MS: Final = 10_000
SESSION_TIMEOUT_MS: Final = 30_000
# The owner thread polls between micro-batches only; five minutes is hundreds of the slowest of them.
MAX_POLL_INTERVAL_MS: Final = 300_000
ADMIN_TIMEOUT_S: Final = 15.0

_GUARANTEES_CONSUMER: Final = (
    "enable.auto.commit",
    "enable.auto.offset.store",
    "isolation.level",
    "auto.offset.reset",
    "group.id",
    "partition.assignment.strategy",
)
_GUARANTEES_PRODUCER: Final = ("transactional.id", "enable.idempotence", "acks", "partitioner")
# KIP-848's protocol hands these to the broker and refuses them from a client.
_CLASSIC_ONLY: Final = ("session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy")


Client = TypeVar("Client", Consumer, Producer, AdminClient)


def client(kind: type[Client], config: dict[str, Any]) -> Client:
    """A client with this configuration, whose own log goes where ours goes.

    Raises UserError where librdkafka refuses a property or its value.
    """
    try:
        return kind(config, logger=librdkafka_log)
    except KafkaException as error:
        raise UserError(f"Kafka's client refuses the settings: {error.args[0].str()}.") from error


def client_config(settings: Settings) -> dict[str, Any]:
    """What every client of the cluster has in common: addresses and security."""
    return {"bootstrap.servers": settings.require_bootstrap_servers(), "client.id": "smsift", **settings.kafka}


def consumer_config(settings: Settings, group: str, **extra: Any) -> dict[str, Any]:
    """A read_committed group member that commits nothing by itself and stops at an unknown offset.

    Raises UserError where the settings override a property that exactly-once stands on.
    """
    _refuse("kafka", settings.kafka, _GUARANTEES_CONSUMER)
    _refuse("kafka_consumer", settings.kafka_consumer, _GUARANTEES_CONSUMER)
    config: dict[str, Any] = {
        **client_config(settings),
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": SESSION_TIMEOUT_MS,
        # A member learns of a rebalance by its next heartbeat, and a new one waits for that: 3 s by default.
        "heartbeat.interval.ms": 1_000,
        "max.poll.interval.ms": MAX_POLL_INTERVAL_MS,
        # Prefetch: enough for a few micro-batches, bounded far below the memory a filter may use.
        "queued.max.messages.kbytes": 16_384,
        "fetch.message.max.bytes": 2 * 1024 * 1024,
        # By default a full prefetch queue rests for a second, in which a fast reader finds it empty.
        "fetch.queue.backoff.ms": 20,
        **extra,
        **settings.kafka_consumer,
    }
    if config.get("group.protocol") == "consumer":
        config = {name: value for name, value in config.items() if name not in _CLASSIC_ONLY}
    return config


def transactional_config(settings: Settings) -> dict[str, Any]:
    """A transactional producer under this replica's stable id.

    Raises UserError where the settings override a property that exactly-once stands on.
    """
    _refuse("kafka", settings.kafka, _GUARANTEES_PRODUCER)
    _refuse("kafka_producer", settings.kafka_producer, _GUARANTEES_PRODUCER)
    return {
        **client_config(settings),
        "transactional.id": settings.replica_id,
        "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "linger.ms": 5,
        "message.max.bytes": DEAD_MAX_BYTES,
        # Back-to-back transactions meet CONCURRENT_TRANSACTIONS; the default wait of 100 ms costs a commit 90 ms.
        "retry.backoff.ms": 10,
        "queue.buffering.max.messages": 1_000_000,
        # The commit reports failures; a report per delivered record would only cost.
        "delivery.report.only.error": True,
        **settings.kafka_producer,
    }


def _refuse(setting: str, given: KafkaProperties, guarantees: tuple[str, ...]) -> None:
    taken = sorted(set(given) & set(guarantees))
    if taken:
        raise UserError(f"SMSIFT_{setting.upper()}: {', '.join(taken)} cannot be changed: exactly-once stands on it.")


def ensure_topics(settings: Settings) -> list[str]:
    """Create the topics that are missing and return their names. Raises UserError where the broker refuses."""
    admin = client(AdminClient, client_config(settings))
    return create_topics(admin, settings.topic_prefix, settings.inbound_partitions, settings.replication_factor)


def topic_ids(settings: Settings, topics: list[str]) -> dict[str, str]:
    """Kafka's ids of the topics: they tell a recreated topic from the one of the same name before it.

    Raises UserError where the broker does not answer or a topic is not there.
    """
    admin = client(AdminClient, {**client_config(settings), "log_level": 0})
    ids = {}
    for name, future in admin.describe_topics(TopicCollection(topics), request_timeout=ADMIN_TIMEOUT_S).items():
        try:
            ids[name] = str(future.result().topic_id)
        except KafkaException as error:
            raise UserError(
                f"Cannot use topic {name}: {error.args[0].str()}; `smsift doctor` says what is missing, "
                "`smsift topics` creates the topics."
            ) from error
    return ids
