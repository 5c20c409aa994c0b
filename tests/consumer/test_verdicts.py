from datetime import UTC, datetime
from typing import Any

import pytest

from consumer.classifier.contract import Classification, ModelIdentity
from consumer.decode import Sms
from consumer.verdicts import Privacy, VerdictEncoder
from schemas.events import Verdict

IDENTITY = ModelIdentity("m", "3", "ab" * 32, ("ham", "spam"), 0.75, "1")
EVENT = Sms(
    event_id="e1",
    sender="+447700900001",
    recipient="12345",
    text="Win £1,000 now",
    received_at=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
    tenant="acme",
    country="GB",
)
ANSWER = Classification("spam", "prize", 0.99, 7.5, "block", ("url",))
AT = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)


def encode(**privacy: Any) -> tuple[bytes, bytes, Verdict]:
    key, value = VerdictEncoder(IDENTITY, "sms.inbound", "tid", Privacy(**privacy)).for_batch(AT)(EVENT, ANSWER, 2, 40)
    return key, value, Verdict.model_validate_json(value)


def test_the_bytes_parse_as_a_verdict_that_names_all_that_produced_it() -> None:
    key, _, verdict = encode()
    assert key == b"+447700900001"
    assert verdict == Verdict(
        event_id="e1",
        sender="+447700900001",
        recipient="12345",
        text="Win £1,000 now",
        received_at=EVENT.received_at,
        tenant="acme",
        country="GB",
        label="spam",
        category="prize",
        score=0.99,
        margin=7.5,
        action="block",
        signals=("url",),
        model_name="m",
        model_version="3",
        model_digest="ab" * 32,
        threshold=0.75,
        normaliser_version="1",
        source_topic="sms.inbound",
        source_topic_id="tid",
        source_partition=2,
        source_offset=40,
        scored_at=AT,
    )


def test_every_field_of_the_contract_is_written() -> None:
    _, value, _ = encode()
    import json

    assert set(json.loads(value)) == set(Verdict.model_fields)


@pytest.mark.parametrize("mode", ["hash", "drop"])
def test_hidden_text_and_numbers_are_nowhere_in_the_bytes(mode: str) -> None:
    key, value, verdict = encode(key=b"k", text_mode=mode)
    assert key == verdict.sender.encode()
    assert len(verdict.sender) == 64
    assert (verdict.text is None) == (mode == "drop")
    for secret in (b"1,000", b"7700900001", b"12345"):
        assert secret not in value
