"""Dead letters: what becomes of a record that gets no verdict, and when too many of them mean that we are at fault."""

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from consumer.decode import Headers, Rejection
from schemas.events import DeadLetter

ORIGINAL: Final = "original."  # prefix of the source record's own headers, so that a replay can restore them
MAX_HEADER_BYTES: Final = 32 * 1024  # of those headers; with our own they stay under the 64 KiB that sms.dead adds
HEADER_OVERHEAD: Final = 10  # lengths of name and value on the wire
OWN_BYTES: Final = 4 * 1024  # more than our own headers ever take


class Place(NamedTuple):
    """Where an inbound record lies."""

    topic: str
    topic_id: str
    partition: int
    offset: int


class Dead(NamedTuple):
    """A dead letter as it is published."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def dead_letter(
    rejection: Rejection,
    place: Place,
    failed_at: datetime,
    record: tuple[bytes | None, bytes | None, Headers | None],
    limit: int,
) -> Dead:
    """The dead letter for the record (key, value, headers) at `place`, at most `limit` bytes large.

    It holds the original bytes. A record too large even for sms.dead (the broker counts compressed bytes, so one can
    be) leaves its size and digest instead: better than a stream that one record stops.
    """
    key, value, original = record
    kept, cut = _that_fit(original or [])
    size = len(key or b"") + len(value or b"")
    extra: Headers = [("original_headers_cut", b"true")] if cut else []
    if size + sum(map(_size, kept)) + OWN_BYTES > limit:
        digest = hashlib.sha256(value or b"").hexdigest()
        extra += [("original_size", str(size).encode()), ("original_sha256", digest.encode())]
        detail = f"The record has {size} bytes, more than fit into a dead letter, which holds its digest instead."
        rejection, key, value, kept = Rejection("too_large", detail, rejection.own_fault), None, None, []
    letter = DeadLetter(
        reason=rejection.reason,
        detail=rejection.detail,
        source_topic=place.topic,
        source_topic_id=place.topic_id,
        source_partition=place.partition,
        source_offset=place.offset,
        failed_at=failed_at,
    )
    return Dead(key, value, [*letter.as_headers(), *kept, *extra])


def _that_fit(original: Headers) -> tuple[Headers, bool]:
    """The original headers under their new names, up to the bound, and whether any were left out."""
    kept: Headers = []
    room = MAX_HEADER_BYTES
    for name, value in original:
        renamed = (ORIGINAL + name, value)
        room -= _size(renamed)
        if room < 0:
            return kept, True
        kept.append(renamed)
    return kept, False


def _size(header: tuple[str, bytes | None]) -> int:
    return len(header[0].encode()) + len(header[1] or b"") + HEADER_OVERHEAD


@dataclass(frozen=True, slots=True)
class FaultLimit:
    """How many faults of our own are too many: a share of the last `window` records, or so many in a row."""

    window: int
    ratio: float
    in_a_row: int


class FaultWatch:
    """Counts faults of our own making (model, normaliser, unknown schema version), never a producer's."""

    def __init__(self, limit: FaultLimit) -> None:
        self._limit = limit
        self._recent: deque[bool] = deque(maxlen=limit.window)
        self._faults = 0
        self._row = 0

    def exceeded_by(self, outcomes: Sequence[bool]) -> str | None:
        """Count the records of one micro-batch (True: own fault) and say, in a sentence, which limit broke."""
        if self._faults == 0 and not any(outcomes):  # as nearly always: nothing enters or leaves the counts
            self._recent.extend(outcomes)
            self._row = 0
            return None
        verdict = None
        for fault in outcomes:
            if len(self._recent) == self._limit.window:
                self._faults -= self._recent[0]
            self._recent.append(fault)
            self._faults += fault
            self._row = self._row + 1 if fault else 0
            if self._row >= self._limit.in_a_row:
                verdict = f"{self._row} records in a row failed through our own fault"
            elif len(self._recent) == self._limit.window and self._faults >= self._limit.ratio * self._limit.window:
                verdict = f"{self._faults} of the last {self._limit.window} records failed through our own fault"
        return verdict
