"""Where a partition is read from: the group's committed offset, or, where there is none, what that allows."""

import time
from collections.abc import Callable, Mapping
from typing import Final, Literal

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from consumer.assignment import Partition
from schemas.errors import UserError

RETRY_S: Final = 0.1
Start = Literal["auto", "earliest", "latest"]
# The coordinator is moving, loading or settling a transaction: asking again is all there is to do.
_PASSING: Final = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError._TRANSPORT,  # noqa: SLF001 - the names that librdkafka gives its own errors
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._WAIT_COORD,  # noqa: SLF001
    }
)


def committed_offsets(
    source: Consumer,
    partitions: list[TopicPartition],
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[TopicPartition]:
    """The group's committed offsets and metadata, asked for until `timeout` seconds have passed.

    Raises KafkaException, the last one, where the coordinator never answered.
    """
    deadline = clock() + timeout
    while True:
        try:
            known = source.committed(partitions, timeout=timeout)
            for partition in known:
                if partition.error is not None:
                    raise KafkaException(partition.error)
        except KafkaException as error:
            if error.args[0].code() not in _PASSING or clock() > deadline:
                raise
            sleep(RETRY_S)
        else:
            return known


def first_offsets(
    source: Consumer,
    partitions: list[TopicPartition],
    start: Start,
    decided: Mapping[Partition, int],
    timeout: float,
) -> list[TopicPartition]:
    """The partitions with the offset to read from: the committed one, else the one `decided` before, else by `start`.

    `auto` starts at 0, and only where the partition still holds its first record: a new group, or a partition just
    added. Otherwise records have expired, perhaps unjudged, or the group's own offsets have, and starting anywhere
    may skip records or judge them twice: that is a person's decision.

    Raises UserError in that case, and KafkaException where the broker does not answer.
    """
    found, latest = [], []
    for known in committed_offsets(source, partitions, timeout):
        offset = known.offset
        if offset == OFFSET_INVALID:
            before = decided.get(Partition(known.topic, known.partition))
            offset = before if before is not None else _without_commit(source, known, start, timeout)
            if start == "latest" and before is None:
                latest.append(TopicPartition(known.topic, known.partition, offset))
        found.append(TopicPartition(known.topic, known.partition, offset))
    if latest:
        # The next owner must begin there too: asking for the end again would skip what has come in the meantime.
        source.commit(offsets=latest, asynchronous=False)
    return found


def _without_commit(source: Consumer, partition: TopicPartition, start: Start, timeout: float) -> int:
    low, high = source.get_watermark_offsets(TopicPartition(partition.topic, partition.partition), timeout=timeout)
    if start != "auto":
        return low if start == "earliest" else high
    if low == 0:
        return 0
    raise UserError(
        f"{partition.topic} partition {partition.partition} has no committed offset and no longer holds its first "
        f"record (it starts at {low}): go on with `--start earliest` or `--start latest`."
    )
