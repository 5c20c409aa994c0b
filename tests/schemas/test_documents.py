"""The checked-in documents are what the code means, and say the same as it does."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from consumer.settings import env_example
from schemas.documents import ASYNCAPI, FOLDER, asyncapi, documents, json_schema
from schemas.events import EVENT_SCHEMA, LABEL_SCHEMA, VERDICT_SCHEMA, WIRE_EVENTS, DeadLetter, SchemaName
from schemas.topics import TOPICS, Topics

ROOT = Path(__file__).parents[2]
EVENT = {
    "event_id": "e1",
    "sender": "+447700900123",
    "recipient": "60777",
    "text": "Hey, are we still meeting?",
    "received_at": "2026-01-02T03:04:05Z",
}
VERDICT = EVENT | {
    "label": "ham",
    "score": 0.25,
    "margin": -1.0,
    "action": "deliver",
    "signals": ["url"],
    "model_name": "minilm",
    "model_version": "1",
    "model_digest": "d" * 64,
    "threshold": 0.5,
    "normaliser_version": "1",
    "source_topic": "sms.inbound",
    "source_topic_id": "abc",
    "source_partition": 0,
    "source_offset": 7,
    "scored_at": "2026-01-02T03:04:06.123Z",
}
LABEL = {"event_id": "e1", "label": "spam", "labeller": "ann", "at": "2026-01-02T03:04:05Z"}
VALID: dict[str, tuple[SchemaName, dict[str, Any]]] = {
    "an event": (EVENT_SCHEMA, EVENT),
    "an event of 1,600 emoji": (EVENT_SCHEMA, EVENT | {"text": "😀" * 1600}),
    "an event with a named sender": (EVENT_SCHEMA, EVENT | {"sender": "MyBank"}),
    "an event with unknown fields": (EVENT_SCHEMA, EVENT | {"weather": "rain"}),
    "an event of 2261": (EVENT_SCHEMA, EVENT | {"received_at": "2261-12-31T23:59:59Z"}),
    "an event with everything": (
        EVENT_SCHEMA,
        EVENT
        | {"tenant": "t", "country": "GB", "encoding": "ucs2", "udh": {"reference": 1, "total": 2, "sequence": 1}},
    ),
    "a verdict": (VERDICT_SCHEMA, VERDICT),
    "a verdict without its text": (VERDICT_SCHEMA, VERDICT | {"text": None, "text_mode": "drop"}),
    "a label": (LABEL_SCHEMA, LABEL),
    "a label with a category": (LABEL_SCHEMA, LABEL | {"category": "parcel"}),
}
INVALID: dict[str, tuple[SchemaName, dict[str, Any]]] = {
    "no text": (EVENT_SCHEMA, {k: v for k, v in EVENT.items() if k != "text"}),
    "empty text": (EVENT_SCHEMA, EVENT | {"text": ""}),
    "text of 1,601 characters": (EVENT_SCHEMA, EVENT | {"text": "x" * 1601}),
    "an id of 65 characters": (EVENT_SCHEMA, EVENT | {"event_id": "e" * 65}),
    "a number as text": (EVENT_SCHEMA, EVENT | {"text": 7}),
    "1969": (EVENT_SCHEMA, EVENT | {"received_at": "1969-12-31T23:59:59Z"}),
    "2300": (EVENT_SCHEMA, EVENT | {"received_at": "2300-01-01T00:00:00Z"}),
    "a country of three letters": (EVENT_SCHEMA, EVENT | {"country": "GBR"}),
    "a part 256": (EVENT_SCHEMA, EVENT | {"udh": {"reference": 1, "total": 2, "sequence": 256}}),
    "a label of its own": (VERDICT_SCHEMA, VERDICT | {"label": "eggs"}),
    "a score above 1": (VERDICT_SCHEMA, VERDICT | {"score": 1.5}),
    "a negative offset": (VERDICT_SCHEMA, VERDICT | {"source_offset": -1}),
    "a category in capitals": (LABEL_SCHEMA, LABEL | {"category": "Parcel"}),
    "nobody's label": (LABEL_SCHEMA, LABEL | {"labeller": ""}),
}


def test_the_checked_in_documents_are_what_the_code_generates() -> None:
    made = documents()
    assert {path.name for path in FOLDER.iterdir()} == set(made)
    stale = [name for name, text in made.items() if (FOLDER / name).read_text(encoding="utf-8") != text]
    assert not stale, "run `python -m schemas.documents`"


def test_the_checked_in_settings_example_lists_every_setting() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == env_example(), (
        "write the text of consumer.settings.env_example() to .env.example"
    )


@pytest.mark.parametrize("name", WIRE_EVENTS)
def test_each_schema_is_valid_json_schema(name: SchemaName) -> None:
    Draft202012Validator.check_schema(json_schema(name))


@pytest.mark.parametrize("what", VALID)
def test_schema_and_code_accept(what: str) -> None:
    name, sample = VALID[what]
    assert Draft202012Validator(json_schema(name)).is_valid(sample)
    WIRE_EVENTS[name].model_validate_json(json.dumps(sample))


@pytest.mark.parametrize("what", INVALID)
def test_schema_and_code_refuse(what: str) -> None:
    name, sample = INVALID[what]
    assert not Draft202012Validator(json_schema(name)).is_valid(sample)
    with pytest.raises(ValidationError):
        WIRE_EVENTS[name].model_validate_json(json.dumps(sample))


def test_the_headers_of_a_dead_letter_fit_their_schema() -> None:
    dead = DeadLetter(
        reason="not_json",
        detail="The value is not JSON.",
        source_topic="sms.inbound",
        source_topic_id="abc",
        source_partition=3,
        source_offset=41,
        failed_at="2026-01-02T03:04:05Z",
    )
    headers = {name: value.decode() for name, value in dead.as_headers()}
    Draft202012Validator(json_schema("sms.dead/1")).validate(headers)


def test_asyncapi_names_every_topic_and_all_its_references_lead_somewhere() -> None:
    document = asyncapi()
    assert {channel["address"] for channel in document["channels"].values()} == set(Topics().all)
    assert len(document["channels"]) == len(TOPICS)
    found = list(_references(document))
    assert found
    for reference in found:
        if reference.startswith("./"):
            assert (FOLDER / reference).is_file()
        else:
            _follow(document, reference)
    assert json.loads((FOLDER / ASYNCAPI).read_text()) == document


def _references(part: Any) -> Any:
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(part, list):
        for each in part:
            yield from _references(each)


def _follow(document: dict[str, Any], reference: str) -> Any:
    part: Any = document
    for step in reference.removeprefix("#/").split("/"):
        part = part[step]
    return part
