"""One inbound record → an event, or the reason why it is none. Never raises, never repeats what it read.

The contract is `schemas.events.SmsEvent`. Nearly all records are plain and valid, and msgspec reads those in a fifth of
pydantic's time; whatever it does not accept is pydantic's to accept or to explain. A test holds that what msgspec
accepts pydantic accepts with the same values.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, cast

import msgspec
from msgspec import Meta
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.events import EARLIEST, EVENT_SCHEMA, LATEST, MAX_TEXT_CHARACTERS, SCHEMA_HEADER, SmsEvent

if TYPE_CHECKING:
    from confluent_kafka import Message

Headers = list[tuple[str, bytes | None]]

_OURS: Final = EVENT_SCHEMA.encode()
CURRENT_SCHEMA: Final[Headers] = [(SCHEMA_HEADER, _OURS)]  # what our own producers send, and nothing beside it
_NEWER: Final = re.compile(rb"sms\.event/[0-9]{1,4}")
_MAX_PROBLEMS: Final = 3  # named in one detail; a record with everything wrong does not need them all


class Sms(msgspec.Struct, gc=False):
    """What the filter needs of an event. `received_at` is UTC."""

    event_id: Annotated[str, Meta(min_length=1, max_length=64)]
    sender: Annotated[str, Meta(min_length=1, max_length=16)]
    recipient: Annotated[str, Meta(min_length=1, max_length=16)]
    text: Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
    received_at: Annotated[datetime, Meta(tz=True)]
    tenant: Annotated[str, Meta(max_length=64)] | None = None
    country: Annotated[str, Meta(pattern="^[A-Za-z]{2}\\Z")] | None = None
    encoding: Annotated[str, Meta(max_length=32)] | None = None
    udh: None = None  # an event with one goes the long way


_read_plain: Final = msgspec.json.Decoder(Sms).decode


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a record is no event. `own_fault`: this build's fault, not the producer's."""

    reason: str
    detail: str
    own_fault: bool = False


def decode(value: bytes | None, headers: Headers | None) -> Sms | Rejection:
    """Validate one record against the contract of its schema version (no header: the current one)."""
    if value is None:
        return Rejection("tombstone", "The record has no value: there is no message to judge.")
    if headers and headers != CURRENT_SCHEMA:
        unknown = _unknown_schema(headers)
        if unknown is not None:
            return unknown
    return _plain(value) or _judge(value)


def _plain(value: bytes) -> Sms | None:
    """The event, where it is one beyond doubt."""
    try:
        sms = _read_plain(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # the last: brackets nested by the thousand
        return None
    if sms.received_at.tzinfo is not UTC:
        return None
    if EARLIEST <= sms.received_at < LATEST and _plain_address(sms.sender) and _plain_address(sms.recipient):
        return sms
    return None


def _plain_address(address: str) -> bool:
    if len(address) <= 11 and address.isprintable():
        return True
    digits = address[1:] if address[0] == "+" else address
    return 2 <= len(digits) <= 15 and digits.isascii() and digits.isdigit()


def _judge(value: bytes) -> Sms | Rejection:
    try:
        event = SmsEvent.model_validate_json(value)
    except ValidationError as error:
        return _explain(value, error)
    return Sms(
        event_id=event.event_id,
        sender=event.sender,
        recipient=event.recipient,
        text=event.text,
        received_at=event.received_at,
        tenant=event.tenant,
        country=event.country,
        encoding=event.encoding,
    )


def headers_of(message: "Message[bytes, bytes]") -> Headers | Rejection | None:
    """The record's headers, or why they cannot be read. Ask once: after a refusal the client's next answer is not safe."""
    try:
        return cast("Headers | None", message.headers())
    except (SystemError, UnicodeDecodeError):
        return Rejection("bad_headers", "The name of a header is not UTF-8.")


def _unknown_schema(headers: Headers) -> Rejection | None:
    for name, schema in headers:
        if name == SCHEMA_HEADER and schema is not None and schema != _OURS:
            if _NEWER.fullmatch(schema):
                return Rejection("unknown_schema", "This build does not know the record's schema version.", True)
            return Rejection("wrong_schema", f"The schema header does not name {EVENT_SCHEMA}.")
    return None


def _explain(value: bytes, error: ValidationError) -> Rejection:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    first = problems[0]
    if first["type"] == "json_invalid":
        try:
            value.decode()
        except UnicodeDecodeError as bad:
            return Rejection("not_utf8", f"The value is not UTF-8: a wrong byte at position {bad.start}.")
        return Rejection("not_json", f"The value is not JSON: {first['msg'].removeprefix('Invalid JSON: ')}.")
    detail = "; ".join(_sentence(problem) for problem in problems[:_MAX_PROBLEMS])
    more = len(problems) - _MAX_PROBLEMS
    return Rejection(_reason(first), f"{detail}{f'; and {more} more' if more > 0 else ''}.")


def _reason(problem: ErrorDetails) -> str:
    kind, field = problem["type"], problem["loc"][0] if problem["loc"] else ""
    if kind == "missing":
        return "missing_field"
    if "timestamp_out_of_range" in problem["msg"]:
        return "timestamp_out_of_range"
    if field == "text" and kind == "string_too_short":
        return "text_empty"
    if field == "text" and kind == "string_too_long":
        return "text_too_long"
    return "bad_field"


def _sentence(problem: ErrorDetails) -> str:
    field = ".".join(str(part) for part in problem["loc"]) or "the value"
    if "timestamp_out_of_range" in problem["msg"]:
        return f"{field} must lie in 1970 to 2261"
    return f"{field}: {problem['msg']}"
