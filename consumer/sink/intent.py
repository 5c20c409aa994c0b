"""What the sink announces before it inserts: the range of offsets that one insert covers.

The announcement rides in the metadata of an offset commit: offset = first, metadata = "first-last". Whoever is
assigned the partition next finds it and forms the same batch under the same token, so an insert that was under way,
done, or never begun ends in the same rows. The commit of the next offset, with empty metadata, takes it back.
"""

import re
from typing import Final, NamedTuple

_METADATA: Final = re.compile(r"^(\d{1,19})-(\d{1,19})$")


class Span(NamedTuple):
    """Offsets of the first and the last record of a batch, both included. Offsets between may belong to no record."""

    first: int
    last: int

    @property
    def next_offset(self) -> int:
        """Where reading goes on after the batch: the only place that adds one."""
        return self.last + 1


def encode(span: Span) -> str:
    """The metadata that announces the span."""
    return f"{span.first}-{span.last}"


def decode(committed_offset: int, metadata: str | None) -> Span | None:
    """The span that a committed offset announces, or None where it announces nothing.

    An announcement is believed only where it begins at the committed offset: resetting the group's offsets by hand
    may leave old metadata behind.
    """
    match = _METADATA.match(metadata or "")
    if match is None:
        return None
    span = Span(int(match[1]), int(match[2]))
    return span if span.first == committed_offset and span.last >= span.first else None


def token(topic_id: str, partition: int, span: Span) -> str:
    """ClickHouse's deduplication token of the batch: the same records give the same token, whoever inserts them.

    The topic's id, not its name: a recreated topic starts at offset 0 again.
    """
    return f"{topic_id}-{partition}-{span.first}-{span.last}"
