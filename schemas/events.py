"""The events on the topics: JSON, one event a record, UTC timestamps.

Unknown fields are ignored, so producers can go ahead of consumers; a new required field is a new schema version.
Validation errors never repeat the offending value: it may be somebody's text or number.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

SchemaName = Literal["sms.event/1", "sms.verdict/1", "sms.label/1", "sms.alert/1", "sms.dead/1"]
SCHEMA_HEADER: Final = "schema"
EVENT_SCHEMA: Final[SchemaName] = "sms.event/1"
VERDICT_SCHEMA: Final[SchemaName] = "sms.verdict/1"
LABEL_SCHEMA: Final[SchemaName] = "sms.label/1"
ALERT_SCHEMA: Final[SchemaName] = "sms.alert/1"
DEAD_SCHEMA: Final[SchemaName] = "sms.dead/1"

MAX_TEXT_CHARACTERS: Final = 1600
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2262, 1, 1, tzinfo=UTC)  # ClickHouse counts time in nanoseconds up to then

LabelName = Literal["spam", "ham"]
Action = Literal["deliver", "review", "block"]
TextMode = Literal["keep", "hash", "drop"]


def _utc_in_range(moment: datetime) -> datetime:
    """A time without a zone is taken as UTC: that is what the contract says it is."""
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:  # the last hours of the year 9999, in a zone behind
        raise ValueError("timestamp_out_of_range") from None
    if not EARLIEST <= moment < LATEST:
        raise ValueError("timestamp_out_of_range")
    return moment


Timestamp = Annotated[datetime, AfterValidator(_utc_in_range)]
EventId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
# E.164 or a national number or short code in digits, or an alphanumeric sender id (GSM allows 11 characters).
ADDRESS_PATTERN: Final = r"^(\+?[0-9]{2,15}|[^\x00-\x1f\x7f]{1,11})$"
Address = Annotated[str, StringConstraints(pattern=ADDRESS_PATTERN)]
# Verdicts carry pseudonyms instead of numbers where a key is set, so a verdict's addresses are only bounded.
VerdictAddress = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Category = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Event(BaseModel):
    """Frozen; ignores unknown fields; keeps inputs out of its validation errors."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Udh(Event):
    """The user data header of one part of a concatenated SMS (3GPP TS 23.040, 9.2.3.24.1)."""

    reference: Annotated[int, Field(ge=0, le=65535)]
    total: Annotated[int, Field(ge=1, le=255)]
    sequence: Annotated[int, Field(ge=1, le=255)]


class SmsEvent(Event):
    """One SMS as it reached the platform; key on the topic: `sender`."""

    event_id: EventId = Field(description="Unique per message, chosen by the producer")
    sender: Address = Field(description="E.164 number, short code or alphanumeric sender id")
    recipient: Address = Field(description="E.164 number, short code or alphanumeric id")
    text: Text = Field(description="The text after decoding, 1 to 1,600 characters")
    received_at: Timestamp = Field(description="When the platform received it, UTC, 1970 to 2261")
    tenant: Annotated[str, StringConstraints(max_length=64)] | None = None
    country: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2}$")] | None = Field(
        default=None, description="ISO 3166-1 alpha-2"
    )
    encoding: Annotated[str, StringConstraints(max_length=32)] | None = Field(
        default=None, description="The encoding on the air: gsm7, ucs2, …"
    )
    udh: Udh | None = None


class Verdict(Event):
    """What the filter decided about one record of the inbound topic, and all that produced the decision."""

    event_id: EventId
    sender: VerdictAddress = Field(description="As in the event, or its keyed pseudonym")
    recipient: VerdictAddress
    text: str | None = Field(default=None, description="The text, its HMAC or nothing: see text_mode")
    text_mode: TextMode = "keep"
    received_at: Timestamp
    tenant: str | None = None
    country: str | None = None
    label: LabelName
    category: Category | None = Field(default=None, description="The kind of spam or ham, where the model tells it")
    score: Probability = Field(description="Calibrated P(spam)")
    margin: float = Field(description="Raw logit difference, spam minus ham")
    action: Action
    signals: tuple[str, ...] = Field(default=(), description="What was found on the way: homoglyphs, url, …")
    model_name: str
    model_version: str
    model_digest: str = Field(description="sha256 of the model's manifest, hexadecimal")
    threshold: Probability = Field(description="Score from which the label is spam")
    normaliser_version: str
    source_topic: str
    source_topic_id: str = Field(description="Kafka's id of the inbound topic: tells a recreated topic apart")
    source_partition: Annotated[int, Field(ge=0)]
    source_offset: Annotated[int, Field(ge=0)]
    scored_at: Timestamp
    run: str = Field(default="", description="Empty for live verdicts; names a deliberate re-scoring otherwise")


class Label(Event):
    """What a person, or the simulator in their place, says about an event; key on the topic: `event_id`."""

    event_id: EventId
    label: LabelName
    category: Category | None = None
    labeller: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    at: Timestamp


class Alert(Event):
    """What the monitor noticed; key on the topic: `kind`."""

    kind: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    window_start: Timestamp
    window_end: Timestamp
    statistic: str
    value: float
    threshold: float
    evidence: dict[str, Any] = Field(default_factory=dict)


class DeadLetter(Event):
    """The headers of a dead letter; its value is the original bytes (null stays null), its key the source key."""

    reason: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    detail: str = Field(description="One sentence for a person; never holds text or numbers")
    source_topic: str
    source_topic_id: str
    source_partition: Annotated[int, Field(ge=0)]
    source_offset: Annotated[int, Field(ge=0)]
    failed_at: Timestamp

    def as_headers(self) -> list[tuple[str, bytes]]:
        """The Kafka headers, all UTF-8, `schema` first."""
        fields = self.model_dump(mode="json")
        return [(SCHEMA_HEADER, DEAD_SCHEMA.encode()), *((name, str(value).encode()) for name, value in fields.items())]

    @classmethod
    def from_headers(cls, headers: list[tuple[str, bytes | None]] | None) -> "DeadLetter":
        """Raises pydantic.ValidationError where the headers are not a dead letter's."""
        return cls.model_validate({name: value.decode("utf-8", "replace") for name, value in headers or [] if value})


WIRE_EVENTS: Final[dict[SchemaName, type[Event]]] = {
    EVENT_SCHEMA: SmsEvent,
    VERDICT_SCHEMA: Verdict,
    LABEL_SCHEMA: Label,
    ALERT_SCHEMA: Alert,
    DEAD_SCHEMA: DeadLetter,
}
LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
