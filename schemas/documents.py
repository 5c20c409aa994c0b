"""The contracts for producers and consumers in other languages: a JSON Schema for each event, and an AsyncAPI document.

Generated from schemas.events and schemas.topics, checked in under schemas/json, and tested to be what
`python -m schemas.documents` writes.
"""

import json
from pathlib import Path
from typing import Any, Final

from schemas.events import (
    ALERT_SCHEMA,
    DEAD_SCHEMA,
    EVENT_SCHEMA,
    LABEL_SCHEMA,
    SCHEMA_HEADER,
    VERDICT_SCHEMA,
    WIRE_EVENTS,
    SchemaName,
)
from schemas.topics import TOPICS, Topics

FOLDER: Final = Path(__file__).parent / "json"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
ASYNCAPI: Final = "asyncapi.json"
YEARS: Final = "^(19[7-9][0-9]|2[01][0-9]{2}|22[0-5][0-9]|226[01])-"  # 1970 to 2261
_FILES: Final[dict[SchemaName, str]] = {
    EVENT_SCHEMA: "sms_event.json",
    VERDICT_SCHEMA: "verdict.json",
    LABEL_SCHEMA: "label.json",
    ALERT_SCHEMA: "alert.json",
    DEAD_SCHEMA: "dead_letter_headers.json",
}
# What a topic carries, and who of smsift writes it and reads it.
_CARRIES: Final[dict[str, SchemaName]] = {
    "inbound": EVENT_SCHEMA,
    "spam": VERDICT_SCHEMA,
    "ham": VERDICT_SCHEMA,
    "dead": DEAD_SCHEMA,
    "labels": LABEL_SCHEMA,
    "alerts": ALERT_SCHEMA,
}
_OPERATIONS: Final = (
    ("judge", "receive", "inbound", "The filter takes each event once."),
    ("publishSpam", "send", "spam", "The filter publishes the verdict of an event that is spam."),
    ("publishHam", "send", "ham", "The filter publishes the verdict of an event that is ham."),
    ("refuse", "send", "dead", "The filter puts aside what it cannot process."),
    ("storeSpam", "receive", "spam", "The sink makes a row of each verdict."),
    ("storeHam", "receive", "ham", "The sink makes a row of each verdict."),
    ("storeDead", "receive", "dead", "The sink makes a row of each dead letter, without its bytes."),
    ("learn", "receive", "labels", "The sink keeps the latest label of each labeller for each event."),
)


def documents() -> dict[str, str]:
    """Text of every generated file by its name."""
    made = {_FILES[name]: json_schema(name) for name in WIRE_EVENTS} | {ASYNCAPI: asyncapi()}
    return {name: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for name, document in made.items()}


def json_schema(name: SchemaName) -> dict[str, Any]:
    """The JSON Schema of one event as it stands on the wire."""
    schema = WIRE_EVENTS[name].model_json_schema(mode="validation")
    _bound_times(schema)
    if name == DEAD_SCHEMA:  # header values are text
        for field in schema["properties"].values():
            if field["type"] == "integer":
                field.update(type="string", pattern="^[0-9]+$")
                field.pop("minimum", None)
    return {"$schema": DIALECT, "$id": f"urn:smsift:{name.replace('/', ':')}", **schema}


def asyncapi() -> dict[str, Any]:
    """An AsyncAPI 3 document of all topics under their default names."""
    topics = Topics()
    names = {topic.suffix: topics.prefix + topic.suffix for topic in TOPICS}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "smsift",
            "version": "1",
            "description": "SMS events in, exactly one verdict or dead letter for each out. JSON in UTF-8, one event a "
            "record; unknown fields are ignored, and a new required field is a new schema version. Read the topics "
            "of verdicts and dead letters with isolation.level=read_committed.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            topic.suffix: {
                "address": names[topic.suffix],
                "description": f"{topic.record}; key: {topic.key}" + (f"; {topic.note}" if topic.note else ""),
                "messages": {_message_name(_CARRIES[topic.suffix]): _message_reference(_CARRIES[topic.suffix])},
                "bindings": {
                    "kafka": {
                        "topic": names[topic.suffix],
                        "topicConfiguration": {
                            "retention.ms": topic.retention_ms,
                            "max.message.bytes": topic.max_message_bytes,
                        },
                    }
                },
            }
            for topic in TOPICS
        },
        "operations": {
            operation: {
                "action": action,
                "channel": {"$ref": f"#/channels/{suffix}"},
                "summary": summary,
                "messages": [{"$ref": f"#/channels/{suffix}/messages/{_message_name(_CARRIES[suffix])}"}],
            }
            for operation, action, suffix, summary in _OPERATIONS
        },
        "components": {"messages": {_message_name(name): _message(name) for name in WIRE_EVENTS}},
    }


def write(folder: Path = FOLDER) -> None:
    """Write every document into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (folder / name).write_text(text, encoding="utf-8")


def _bound_times(schema: Any) -> None:
    """Write down what pydantic's own schema leaves out: times lie between schemas.events.EARLIEST and LATEST."""
    if isinstance(schema, dict):
        if schema.get("format") == "date-time":
            schema["pattern"] = YEARS
        for part in schema.values():
            _bound_times(part)
    elif isinstance(schema, list):
        for part in schema:
            _bound_times(part)


def _message_name(name: SchemaName) -> str:
    return WIRE_EVENTS[name].__name__


def _message_reference(name: SchemaName) -> dict[str, str]:
    return {"$ref": f"#/components/messages/{_message_name(name)}"}


def _message(name: SchemaName) -> dict[str, Any]:
    """The payload by reference to the event's own file; a dead letter has its contract in the headers instead."""
    schema_header = {"type": "object", "properties": {SCHEMA_HEADER: {"const": name}}}
    told: dict[str, Any] = {
        "name": name,
        "title": _message_name(name),
        "bindings": {"kafka": {"key": {"type": "string"}}},
    }
    if name == DEAD_SCHEMA:
        return told | {
            "summary": "The value is the original bytes, null where it was null; original headers carry the prefix "
            "`original.`. All header values are UTF-8 text.",
            "contentType": "application/octet-stream",
            "headers": {"allOf": [schema_header, {"$ref": f"./{_FILES[name]}"}]},
        }
    summary = (WIRE_EVENTS[name].__doc__ or "").strip().splitlines()[0]
    return told | {"summary": summary, "headers": schema_header, "payload": {"$ref": f"./{_FILES[name]}"}}


if __name__ == "__main__":
    write()
