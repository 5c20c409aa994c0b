"""Where a partition that has just been assigned starts to be read."""

from typing import Literal

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, TopicPartition

from schemas.errors import UserError


def first_offsets(
    source: Consumer, partitions: list[TopicPartition], start: Literal["auto", "earliest", "latest"], timeout: float
) -> list[TopicPartition]:
    """The partitions with the offset to start from: the committed one, else what `start` says.

    `auto` starts at 0, and only where the partition still holds its first record: a new group, or a partition just
    added. Otherwise records have expired, perhaps unjudged, or the group's own offsets have, and starting anywhere
    may skip records or judge them twice: that is a person's decision.

    Raises UserError in that case, and KafkaException where the broker does not answer.
    """
    found = []
    for known in source.committed(partitions, timeout=timeout):
        if known.error is not None:
            raise KafkaException(known.error)
        offset = known.offset
        if offset == OFFSET_INVALID:
            offset = _without_commit(source, known, start, timeout)
        found.append(TopicPartition(known.topic, known.partition, offset))
    return found


def _without_commit(source: Consumer, partition: TopicPartition, start: str, timeout: float) -> int:
    low, high = source.get_watermark_offsets(TopicPartition(partition.topic, partition.partition), timeout=timeout)
    if start != "auto":
        return low if start == "earliest" else high
    if low == 0:
        return 0
    raise UserError(
        f"{partition.topic} partition {partition.partition} has no committed offset and no longer holds its first "
        f"record (it starts at {low}): go on with `--start earliest` or `--start latest`."
    )
