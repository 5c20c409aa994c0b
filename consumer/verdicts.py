"""An event and its classification → the bytes of a verdict, with numbers and text as private as the settings ask."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

import orjson

from consumer.classifier.contract import Classification, ModelIdentity
from consumer.decode import Sms
from schemas.events import TextMode

Encode = Callable[[Sms, Classification, int, int], tuple[bytes, bytes]]
"""(event, result, source partition, source offset) → (key, value); the key is the sender as the verdict shows it."""

_OPTIONS: Final = orjson.OPT_UTC_Z
_REMEMBERED: Final = 65_536  # pseudonyms kept: senders repeat, and an HMAC costs more than a look-up


@dataclass(frozen=True, slots=True)
class Privacy:
    """What leaves the filter: with a key, numbers go as keyed HMAC-SHA-256; the text stays, is hashed, or goes."""

    key: bytes | None = None
    text_mode: TextMode = "keep"


class VerdictEncoder:
    """Encodes verdicts of one model about one topic. The result parses as `schemas.events.Verdict`."""

    def __init__(self, identity: ModelIdentity, topic: str, topic_id: str, privacy: Privacy) -> None:
        self._privacy = privacy
        self._address = _pseudonyms(privacy.key) if privacy.key else None
        self._constant = {
            "text_mode": privacy.text_mode,
            "model_name": identity.name,
            "model_version": identity.version,
            "model_digest": identity.digest,
            "threshold": identity.threshold,
            "normaliser_version": identity.normaliser_version,
            "source_topic": topic,
            "source_topic_id": topic_id,
            "run": "",
        }

    def for_batch(self, scored_at: datetime) -> "Encode":
        """Return the encoder of one micro-batch: what its verdicts have in common is turned into bytes once."""
        address, hidden = self._address, None if self._privacy.text_mode == "keep" else self._hidden
        common = b"," + orjson.dumps({"scored_at": scored_at, **self._constant}, option=_OPTIONS)[1:]

        def encode(event: Sms, result: Classification, partition: int, offset: int) -> tuple[bytes, bytes]:
            sender, recipient = event.sender, event.recipient
            if address is not None:
                sender, recipient = address(sender), address(recipient)
            own = orjson.dumps(
                {
                    "event_id": event.event_id,
                    "sender": sender,
                    "recipient": recipient,
                    "text": event.text if hidden is None else hidden(event.text),
                    "received_at": event.received_at,
                    "tenant": event.tenant,
                    "country": event.country,
                    "label": result.label,
                    "category": result.category,
                    "score": result.score,
                    "margin": result.margin,
                    "action": result.action,
                    "signals": result.signals,
                    "source_partition": partition,
                    "source_offset": offset,
                },
                option=_OPTIONS,
            )
            return sender.encode(), own[:-1] + common

        return encode

    def _hidden(self, text: str) -> str | None:
        if self._privacy.text_mode == "drop":
            return None
        return hmac.new(self._privacy.key or b"", text.encode(), hashlib.sha256).hexdigest()


def _pseudonyms(key: bytes) -> Callable[[str], str]:
    @lru_cache(maxsize=_REMEMBERED)
    def pseudonym(address: str) -> str:
        return hmac.new(key, address.encode(), hashlib.sha256).hexdigest()

    return pseudonym
