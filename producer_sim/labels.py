"""Ground truth for sms.labels: what the corpus says about each event, right as often as asked for."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import orjson

from producer_sim.malformed import Headers, Wire
from schemas.corpus import Message
from schemas.errors import UserError
from schemas.events import LABEL_SCHEMA, SCHEMA_HEADER

LABELLER: Final = "simulator"
HEADERS: Final[Headers] = [(SCHEMA_HEADER, LABEL_SCHEMA.encode())]


def label_maker(quality: float = 1.0, seed: int = 0) -> Callable[[str, Message, float], Wire]:
    """A function from (event id, message, unix time) to the Label record.

    `quality` is the probability that the label is the truth; a wrong one carries no category. The same seed errs at the
    same places. Raises UserError for a quality outside 0 to 1.
    """
    if not 0.0 <= quality <= 1.0:
        raise UserError(f"The quality of labels is a probability from 0 to 1, not {quality}.")
    uniform = random.Random(f"labels {seed}").random

    def label(event_id: str, message: Message, at: float) -> Wire:
        right = uniform() < quality
        fields = {
            "event_id": event_id,
            "label": message.label if right else ("ham" if message.label == "spam" else "spam"),
            "category": message.category if right else None,
            "labeller": LABELLER,
            "at": datetime.fromtimestamp(at, UTC),
        }
        return Wire(event_id.encode(), orjson.dumps(fields), HEADERS)

    return label
