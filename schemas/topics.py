"""Topic names, keys, partitions and retention: one table, read by the services, the local stack and the documents."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from schemas.errors import UserError

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
INBOUND_MAX_BYTES: Final = 1_048_588  # Kafka's own default for max.message.bytes
DEAD_MAX_BYTES: Final = INBOUND_MAX_BYTES + 64 * 1024  # room for the reason, the source and the original headers


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: `suffix` after the prefix, what it carries, its key, and its settings at creation."""

    suffix: str
    record: str
    key: str
    retention_ms: int
    max_message_bytes: int = INBOUND_MAX_BYTES
    note: str = ""


@dataclass(frozen=True, slots=True)
class Topics:
    """The names under one prefix; the default prefix gives sms.inbound, sms.spam, …"""

    prefix: str = "sms."

    @property
    def inbound(self) -> str:
        return self.prefix + "inbound"

    @property
    def spam(self) -> str:
        return self.prefix + "spam"

    @property
    def ham(self) -> str:
        return self.prefix + "ham"

    @property
    def dead(self) -> str:
        return self.prefix + "dead"

    @property
    def labels(self) -> str:
        return self.prefix + "labels"

    @property
    def alerts(self) -> str:
        return self.prefix + "alerts"

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(self.prefix + topic.suffix for topic in TOPICS)


# Inbound is kept for less than Kafka keeps an idle group's offsets (7 days): a group that lost its offsets then
# finds the old records gone and stops with a sentence, instead of judging them a second time.
TOPICS: Final = (
    Topic("inbound", "SmsEvent", "sender", 3 * DAY_MS, note="partitions set the width of the filter's group"),
    Topic("spam", "Verdict", "sender as in the verdict", 7 * DAY_MS, note="subscribers read read_committed"),
    Topic("ham", "Verdict", "sender as in the verdict", 7 * DAY_MS, note="subscribers read read_committed"),
    Topic("dead", "the original bytes", "source key", 7 * DAY_MS, DEAD_MAX_BYTES, "reason and source in headers"),
    Topic("labels", "Label", "event_id", 30 * DAY_MS, note="feedback and ground truth"),
    Topic("alerts", "Alert", "kind", 30 * DAY_MS, note="from the monitor"),
)


def create_topics(
    admin: "AdminClient", prefix: str = "sms.", partitions: int = 6, replication_factor: int = 1, timeout: float = 30.0
) -> list[str]:
    """Create what is missing, wait until the broker shows all, and return the names that were created.

    A topic that exists is left as it is, so this is safe to run twice and from two processes.
    Raises UserError where the broker refuses.
    """
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import NewTopic

    wanted = [
        NewTopic(
            prefix + topic.suffix,
            num_partitions=partitions,
            replication_factor=replication_factor,
            config={"retention.ms": str(topic.retention_ms), "max.message.bytes": str(topic.max_message_bytes)},
        )
        for topic in TOPICS
    ]
    created = []
    for name, future in admin.create_topics(wanted, operation_timeout=timeout, request_timeout=timeout).items():
        try:
            future.result()
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise UserError(f"Cannot create topic {name}: {error.args[0].str()}.") from error
    _wait_until_known(admin, {topic.topic for topic in wanted}, timeout)
    return created


def _wait_until_known(admin: "AdminClient", names: set[str], timeout: float) -> None:
    """A broker answers that a topic is made before it knows the topic itself: seen on a busy machine."""
    deadline = time.monotonic() + timeout
    while not names <= set(admin.list_topics(timeout=timeout).topics):
        if time.monotonic() > deadline:
            raise UserError("The topics were created, but the broker does not show them: see its log.")
        time.sleep(0.05)
