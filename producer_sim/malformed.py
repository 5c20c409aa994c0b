"""Records that a gateway should never send and some day does: MALFORMED must become dead letters, ODD are judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from schemas.events import EVENT_SCHEMA, MAX_TEXT_CHARACTERS, SCHEMA_HEADER

Uniform = Callable[[], float]
Fields = dict[str, Any]
Headers = list[tuple[str, str | bytes | None]]

HEADERS: Final[Headers] = [(SCHEMA_HEADER, EVENT_SCHEMA.encode())]
HUGE_BYTES: Final = 900_000  # just below the million bytes that a producer sends by default
REQUIRED: Final = ("event_id", "sender", "recipient", "text", "received_at")


class Wire(NamedTuple):
    """What goes into the topic."""

    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True)
class Maker:
    """Turns the fields of a sound event into a record with a fault; `fields` may be changed in place."""

    name: str
    make: Callable[[Fields, Uniform], Wire]


def as_wire(fields: Fields) -> Wire:
    """The sound record: JSON, key = sender, the schema in the headers."""
    return Wire(fields["sender"].encode(), orjson.dumps(fields), HEADERS)


def _changed(name: str, change: Callable[[Fields, Uniform], Fields]) -> Maker:
    """A maker that sends sound JSON with other content, under the key of the sound event."""

    def make(fields: Fields, uniform: Uniform) -> Wire:
        key = fields["sender"].encode()
        return Wire(key, orjson.dumps(fields | change(fields, uniform)), HEADERS)

    return Maker(name, make)


def _not_json(fields: Fields, uniform: Uniform) -> Wire:
    sound = as_wire(fields)
    value = orjson.dumps(fields)
    return sound._replace(value=value[: 1 + int(uniform() * (len(value) - 2))])


def _not_utf8(fields: Fields, _uniform: Uniform) -> Wire:
    """Latin-1 bytes where UTF-8 is promised."""
    fields["text"] = f"caf\ufffd {fields['text']}"
    sound = as_wire(fields)
    return sound._replace(value=orjson.dumps(fields).replace("\ufffd".encode(), b"\xe9"))


def _missing_field(fields: Fields, uniform: Uniform) -> Wire:
    sound = as_wire(fields)
    del fields[REQUIRED[int(uniform() * len(REQUIRED))]]
    return sound._replace(value=orjson.dumps(fields))


def _lone_surrogate(fields: Fields, _uniform: Uniform) -> Wire:
    """Half of an emoji, as cut by a gateway that counts UTF-16 units: legal JSON, no legal text."""
    fields["text"] = "CUT"
    sound = as_wire(fields)
    return sound._replace(value=orjson.dumps(fields).replace(b"CUT", rb"see you soon \ud83d"))


MALFORMED: Final[tuple[Maker, ...]] = (
    Maker("not_json", _not_json),
    Maker("not_utf8", _not_utf8),
    Maker("missing_field", _missing_field),
    Maker("lone_surrogate", _lone_surrogate),
    Maker("tombstone", lambda fields, _: as_wire(fields)._replace(value=None)),
    Maker("empty_value", lambda fields, _: as_wire(fields)._replace(value=b"")),
    Maker("not_an_object", lambda fields, _: as_wire(fields)._replace(value=orjson.dumps([fields]))),
    Maker("wrong_schema", lambda fields, _: as_wire(fields)._replace(headers=[(SCHEMA_HEADER, b"shop.order/1")])),
    _changed("text_empty", lambda _fields, _: {"text": ""}),
    _changed("text_too_long", lambda _fields, _: {"text": "long " * (MAX_TEXT_CHARACTERS // 5) + "!"}),
    _changed("huge", lambda _fields, _: {"text": "x" * HUGE_BYTES}),
    _changed("text_is_a_list", lambda fields, _: {"text": [fields["text"]]}),
    _changed("sender_is_a_number", lambda _fields, _: {"sender": 447700900000}),
    _changed("received_1969", lambda _fields, _: {"received_at": "1969-07-20T20:17:40Z"}),
    _changed("received_2300", lambda _fields, _: {"received_at": "2300-01-01T00:00:00Z"}),
    _changed("received_yesterday", lambda _fields, _: {"received_at": "yesterday"}),
)

# Unusual, but within the contract: each gets a verdict. Their texts are the corpus's, so their labels hold.
ODD: Final[tuple[Maker, ...]] = (
    Maker("null_key", lambda fields, _: as_wire(fields)._replace(key=None)),
    Maker("no_headers", lambda fields, _: as_wire(fields)._replace(headers=[])),
    Maker("unknown_header", lambda fields, _: as_wire(fields)._replace(headers=[*HEADERS, ("x-route", b"\xff\x00")])),
    _changed("unknown_field", lambda _fields, _: {"smsc_status": {"hop": 3}}),
    _changed("received_2001", lambda _fields, _: {"received_at": "2001-09-09T01:46:40Z"}),
    _changed("received_2250", lambda _fields, _: {"received_at": "2250-01-01T00:00:00Z"}),
    _changed("other_zone", lambda _fields, _: {"received_at": "2026-03-29T01:30:00+05:30"}),
    _changed("zero_width", lambda fields, _: {"text": "\u200b".join(fields["text"])[:MAX_TEXT_CHARACTERS]}),
    _changed("padded", lambda fields, _: {"text": f"\n\t  {fields['text']}  \r\n"[:MAX_TEXT_CHARACTERS]}),
    _changed("emoji", lambda fields, _: {"text": f"{fields['text']} 👩‍👩‍👧‍👦🏴‍☠️"[:MAX_TEXT_CHARACTERS]}),
    _changed("right_to_left", lambda fields, _: {"text": f"\u202b{fields['text']}\u202c"[:MAX_TEXT_CHARACTERS]}),
)
