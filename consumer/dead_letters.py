"""Dead letters: what becomes of a record that gets no verdict, and when too many of them mean that we are at fault."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from consumer.decode import Headers, Rejection
from schemas.events import DeadLetter

ORIGINAL: Final = "original."  # prefix of the source record's own headers, so that a replay can restore them
MAX_HEADER_BYTES: Final = 32 * 1024  # of those headers; with our own they stay under the 64 KiB that sms.dead adds


def dead_headers(
    rejection: Rejection, source: tuple[str, str, int, int], failed_at: datetime, original: Headers | None
) -> Headers:
    """The headers of the dead letter for the record at `source` (topic, topic id, partition, offset)."""
    topic, topic_id, partition, offset = source
    letter = DeadLetter(
        reason=rejection.reason,
        detail=rejection.detail,
        source_topic=topic,
        source_topic_id=topic_id,
        source_partition=partition,
        source_offset=offset,
        failed_at=failed_at,
    )
    headers: Headers = list(letter.as_headers())
    room = MAX_HEADER_BYTES
    for name, value in original or []:
        room -= len(name.encode()) + len(value or b"")
        if room < 0:
            headers.append(("original_headers_cut", b"true"))
            break
        headers.append((ORIGINAL + name, value))
    return headers


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
