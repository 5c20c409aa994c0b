"""One inbound record → an event, or the reason why it is none. Never raises, never repeats what it read."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.events import EVENT_SCHEMA, SCHEMA_HEADER, SmsEvent

Headers = list[tuple[str, bytes | None]]

# model_validate_json without its checks of arguments that are never given here: a fifth of the time.
_VALIDATE: Final[Callable[[bytes], SmsEvent]] = SmsEvent.__pydantic_validator__.validate_json
_OURS: Final = EVENT_SCHEMA.encode()
_NEWER: Final = re.compile(rb"sms\.event/[0-9]{1,4}")
_MAX_PROBLEMS: Final = 3  # named in one detail; a record with everything wrong does not need them all


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a record is no event. `own_fault`: this build's fault, not the producer's."""

    reason: str
    detail: str
    own_fault: bool = False


def decode(value: bytes | None, headers: Headers | None) -> SmsEvent | Rejection:
    """Validate one record against the contract of its schema version (no header: the current one)."""
    if value is None:
        return Rejection("tombstone", "The record has no value: there is no message to judge.")
    if headers:
        unknown = _unknown_schema(headers)
        if unknown is not None:
            return unknown
    try:
        return _VALIDATE(value)
    except ValidationError as error:
        return _explain(value, error)


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
