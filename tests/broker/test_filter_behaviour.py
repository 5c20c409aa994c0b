"""What the filter does with bad input, with its own faults and with its settings: on a real broker."""

import hashlib
import hmac
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from consumer.health import HealthServer
from schemas.errors import UserError
from schemas.events import DeadLetter, Verdict
from tests.broker.support import (
    Outcome,
    Scripted,
    committed,
    event,
    process,
    publish,
    read_all,
    running,
    settings_for,
    until,
)
from tests.stack import TestKafka

BAD_INPUT: dict[str, tuple[bytes | None, str | None]] = {
    "not JSON": (b"hello", "not_json"),
    "half a record": (json.dumps(event(1)).encode()[:40], "not_json"),
    "not UTF-8": (b'{"text": "\xff\xfe"}', "not_utf8"),
    "a list": (b"[]", "bad_field"),
    "no fields": (b"{}", "missing_field"),
    "no text": (json.dumps({k: v for k, v in event(1).items() if k != "text"}).encode(), "missing_field"),
    "text of the wrong type": (json.dumps(event(1, text=7)).encode(), "bad_field"),
    "no sender in the sender": (json.dumps(event(1, sender="")).encode(), "bad_field"),
    "empty text": (json.dumps(event(1, text="")).encode(), "text_empty"),
    "text of 1,600": (json.dumps(event(1, text="a" * 1600)).encode(), None),
    "text of 1,601": (json.dumps(event(1, text="a" * 1601)).encode(), "text_too_long"),
    "900 kB": (json.dumps(event(1, text="a" * 900_000)).encode(), "text_too_long"),
    "900 kB of rubbish": (b"x" * 900_000, "not_json"),
    "tombstone": (None, "tombstone"),
    "1969": (json.dumps(event(1, received_at="1969-12-31T23:59:59Z")).encode(), "timestamp_out_of_range"),
    "2001": (json.dumps(event(1, received_at="2001-09-09T01:46:40Z")).encode(), None),
    "2250": (json.dumps(event(1, received_at="2250-01-01T00:00:00Z")).encode(), None),
    "2300": (json.dumps(event(1, received_at="2300-01-01T00:00:00Z")).encode(), "timestamp_out_of_range"),
    "no time at all": (json.dumps(event(1, received_at="yesterday")).encode(), "bad_field"),
    "lone surrogate": (json.dumps(event(1, text="cut \ud83d")).encode(), "not_json"),
    "emoji": (json.dumps(event(1, text="😀👍🏽 see you")).encode(), None),
    "right-to-left": (json.dumps(event(1, text="مرحبا كيف حالك")).encode(), None),
    "zero-width": (json.dumps(event(1, text="fr\u200bee")).encode(), None),
    "only whitespace": (json.dumps(event(1, text="   \n")).encode(), None),
    "unknown fields": (json.dumps(event(1, later="ok")).encode(), None),
}


def test_bad_input_becomes_a_dead_letter_with_a_reason_or_a_verdict_and_stops_nothing(
    kafka: TestKafka, topic_prefix: str
) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix)
    values = [value for value, _ in BAD_INPUT.values()]
    publish(kafka.bootstrap_servers, settings.topics.inbound, values, partition=0, headers={"app": b"x"})
    with running(settings):
        until(lambda: committed(kafka.bootstrap_servers, settings) == len(values), "all committed")
    outcome = Outcome.of(kafka.bootstrap_servers, settings.topics)
    outcome.assert_each_once(len(values))
    reasons = {int(letter["source_offset"]): letter["reason"] for letter in outcome.dead}
    got = {name: reasons.get(offset) for offset, name in enumerate(BAD_INPUT)}
    assert got == {name: reason for name, (_, reason) in BAD_INPUT.items()}
    for message in read_all(kafka.bootstrap_servers, [settings.topics.dead]):
        letter = DeadLetter.from_headers(message.headers())
        assert message.value() == values[letter.source_offset]
        assert letter.detail.endswith(".")
        assert dict(message.headers())["original.app"] == b"x"


def test_a_null_key_and_a_repeated_event_id_get_their_own_verdicts(kafka: TestKafka, topic_prefix: str) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix)
    twin = json.dumps(event(1)).encode()
    publish(kafka.bootstrap_servers, settings.topics.inbound, [twin, twin], headers={"traceparent": b"00-ab-cd-01"})
    with running(settings):
        until(lambda: committed(kafka.bootstrap_servers, settings) == 2, "all committed")
    messages = read_all(kafka.bootstrap_servers, [settings.topics.ham])
    verdicts = [Verdict.model_validate_json(message.value()) for message in messages]
    assert [verdict.event_id for verdict in verdicts] == ["e1", "e1"]
    assert [message.key() for message in messages] == [verdicts[0].sender.encode()] * 2
    assert all(dict(m.headers()) == {"schema": b"sms.verdict/1", "traceparent": b"00-ab-cd-01"} for m in messages)


def test_records_that_nothing_can_hold_still_get_their_one_outcome(kafka: TestKafka, topic_prefix: str) -> None:
    """Megabytes that compress below the broker's limit, brackets nested by the thousand, a trace of a megabyte."""
    settings = settings_for(kafka.bootstrap_servers, topic_prefix)
    wide = {"bootstrap.servers": kafka.bootstrap_servers, "message.max.bytes": 20_000_000, "compression.type": "gzip"}
    producer = Producer(wide)
    nested = json.dumps(event(1))[:-1] + ', "x": ' + "[" * 20_000 + "]" * 20_000 + "}"
    sound = json.dumps(event(1)).encode()
    producer.produce(settings.topics.inbound, b"0" * 5_000_000, partition=0)
    producer.produce(settings.topics.inbound, nested.encode(), partition=0)
    producer.produce(settings.topics.inbound, sound, partition=0, headers={"traceparent": b"0" * 900_000})
    producer.produce(settings.topics.inbound, sound, partition=0)
    assert producer.flush(30) == 0
    with running(settings):
        until(lambda: committed(kafka.bootstrap_servers, settings) == 4, "all committed")
    outcome = Outcome.of(kafka.bootstrap_servers, settings.topics)
    outcome.assert_each_once(4)
    assert {letter["source_offset"]: letter["reason"] for letter in outcome.dead} == {"0": "too_large", "1": "not_json"}
    assert outcome.dead[0]["original_size"] == "5000000"


def test_starting_at_the_end_is_remembered_for_the_next_owner(kafka: TestKafka, topic_prefix: str) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, start="latest")
    publish(kafka.bootstrap_servers, settings.topics.inbound, [event(n) for n in range(20)], partition=0)
    with running(settings) as state:
        until(lambda: bool(state.filter.reader.ownership.partitions), "it has its partitions")
    publish(kafka.bootstrap_servers, settings.topics.inbound, [event(n) for n in range(5)], partition=0)
    with running(settings):
        until(lambda: committed(kafka.bootstrap_servers, settings) == 25, "what came while nobody read is judged")
    Outcome.of(kafka.bootstrap_servers, settings.topics).assert_each_once(5)


def test_a_text_that_the_model_throws_on_dies_alone_and_is_not_logged(
    kafka: TestKafka, topic_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    def script(text: str) -> None:
        if "poison" in text:
            raise RuntimeError(f"cannot read {text}")

    settings = settings_for(kafka.bootstrap_servers, topic_prefix)
    values = [event(n, text="poison pill" if n == 41 else f"text {n}") for n in range(100)]
    publish(kafka.bootstrap_servers, settings.topics.inbound, values)
    with running(settings, Scripted(script)):
        until(lambda: committed(kafka.bootstrap_servers, settings) == 100, "all committed")
    outcome = Outcome.of(kafka.bootstrap_servers, settings.topics)
    outcome.assert_each_once(100)
    assert [letter["reason"] for letter in outcome.dead] == ["classifier_failed"]
    assert "the model failed" in caplog.text
    assert "poison" not in caplog.text + json.dumps(outcome.dead)


def test_a_broken_model_halts_the_filter_live_but_not_ready_and_loses_nothing(
    kafka: TestKafka, topic_prefix: str
) -> None:
    def script(_: str) -> None:
        raise RuntimeError

    settings = settings_for(kafka.bootstrap_servers, topic_prefix, dead_in_a_row=50)
    publish(kafka.bootstrap_servers, settings.topics.inbound, [event(n) for n in range(300)])
    with running(settings, Scripted(script)) as broken:
        until(lambda: "faults" in broken.health.obstacles, "it has halted")
        server = HealthServer(broken.health, broken.metrics, "127.0.0.1", 0)
        assert get(server.port, "/livez")[0] == 200
        status, body = get(server.port, "/readyz")
        assert status == 503
        assert "own fault" in body
        assert "smsift_halted 1.0" in get(server.port, "/metrics")[1]
        server.close()
    assert not Outcome.of(kafka.bootstrap_servers, settings.topics).times
    with running(settings):
        until(lambda: committed(kafka.bootstrap_servers, settings) == 300, "the mended one judges all")
    outcome = Outcome.of(kafka.bootstrap_servers, settings.topics)
    outcome.assert_each_once(300)
    assert not outcome.dead


def test_rubbish_from_a_producer_never_halts_the_filter(kafka: TestKafka, topic_prefix: str) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, dead_in_a_row=50)
    publish(kafka.bootstrap_servers, settings.topics.inbound, [b"rubbish"] * 300 + [json.dumps(event(1)).encode()])
    with running(settings) as state:
        until(lambda: committed(kafka.bootstrap_servers, settings) == 301, "all committed")
        assert not state.health.obstacles
    assert len(Outcome.of(kafka.bootstrap_servers, settings.topics).dead) == 300


def test_a_newer_schema_version_counts_as_our_own_fault_and_halts(kafka: TestKafka, topic_prefix: str) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix, dead_in_a_row=50)
    newer = {"schema": b"sms.event/2"}
    publish(kafka.bootstrap_servers, settings.topics.inbound, [event(n) for n in range(60)], headers=newer, partition=0)
    with running(settings) as state:
        until(lambda: "faults" in state.health.obstacles, "it has halted")
    assert not Outcome.of(kafka.bootstrap_servers, settings.topics).times


def test_memory_is_bounded_and_the_partitions_pause_while_the_model_is_behind(
    kafka: TestKafka, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumer.filter.PAUSE_AFTER_S", 0.3)
    gate: list[bool] = []

    def hold(_: str) -> None:
        until(lambda: bool(gate), "the gate opens")

    settings = settings_for(kafka.bootstrap_servers, topic_prefix, batch_messages=100, buffer_batches=2)
    publish(kafka.bootstrap_servers, settings.topics.inbound, [event(n) for n in range(8000)])
    with running(settings, Scripted(hold)) as state:
        until(lambda: state.metrics.registry.get_sample_value("smsift_paused") == 1, "it has paused")
        assert len(state.filter.batcher) <= 2 * 100 + 2000  # the bound, and one read beyond it
        gate.append(True)
        until(lambda: committed(kafka.bootstrap_servers, settings) == 8000, "it has caught up")
        assert state.metrics.registry.get_sample_value("smsift_paused") == 0
    Outcome.of(kafka.bootstrap_servers, settings.topics).assert_each_once(8000)


def test_with_a_key_numbers_leave_as_pseudonyms_and_the_text_as_asked(
    kafka: TestKafka, topic_prefix: str, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("secret\n")
    settings = settings_for(
        kafka.bootstrap_servers, topic_prefix, pseudonym_key_file=tmp_path / "key", text_mode="hash"
    )
    publish(kafka.bootstrap_servers, settings.topics.inbound, [event(1)])
    with running(settings):
        until(lambda: committed(kafka.bootstrap_servers, settings) == 1, "all committed")
    (message,) = read_all(kafka.bootstrap_servers, [settings.topics.ham])
    verdict = Verdict.model_validate_json(message.value())
    pseudonym = hmac.new(b"secret", event(1)["sender"].encode(), hashlib.sha256).hexdigest()
    assert (verdict.sender, message.key()) == (pseudonym, pseudonym.encode())
    assert verdict.text == hmac.new(b"secret", b"message 1", hashlib.sha256).hexdigest()
    assert b"+4477" not in message.value()


def test_a_group_without_offsets_on_a_topic_that_lost_records_asks_where_to_start(
    kafka: TestKafka, topic_prefix: str
) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix)
    publish(kafka.bootstrap_servers, settings.topics.inbound, [event(n) for n in range(10)], partition=0)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    for deleted in admin.delete_records([TopicPartition(settings.topics.inbound, 0, 4)]).values():
        deleted.result()
    with pytest.raises(UserError, match="--start earliest"), running(settings) as state:
        until(lambda: state.error is not None, "it has stopped")
    with running(settings.model_copy(update={"start": "earliest"})):
        until(lambda: committed(kafka.bootstrap_servers, settings) == 10, "it goes on from what is left")
    Outcome.of(kafka.bootstrap_servers, settings.topics).assert_each_once(6)


def test_an_offset_that_has_expired_stops_the_filter_with_a_sentence(kafka: TestKafka, topic_prefix: str) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix)
    publish(kafka.bootstrap_servers, settings.topics.inbound, [event(n) for n in range(10)], partition=0)
    with running(settings):
        until(lambda: committed(kafka.bootstrap_servers, settings) == 10, "all committed")
    publish(kafka.bootstrap_servers, settings.topics.inbound, [event(n) for n in range(10)], partition=0)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    for deleted in admin.delete_records([TopicPartition(settings.topics.inbound, 0, 15)]).values():
        deleted.result()
    with pytest.raises(UserError, match="no longer in the topic"), running(settings) as state:
        until(lambda: state.error is not None, "it has stopped")


@pytest.mark.parametrize(
    "changes", [{"topic_prefix": "nothere."}, {"kafka_producer": {"acks": 0}}, {"kafka": {"no.such": 1}}]
)
def test_wrong_settings_end_the_process_with_one_sentence_and_code_2(
    kafka: TestKafka, topic_prefix: str, tmp_path: Path, changes: dict[str, Any]
) -> None:
    settings = settings_for(kafka.bootstrap_servers, topic_prefix).model_copy(update=changes)
    with process(["-m", "smsift", "filter", "--classifier", "null"], settings, stderr=tmp_path / "err") as service:
        assert service.wait(60) == 2
    last = (tmp_path / "err").read_text().splitlines()[-1]
    assert last.startswith("smsift: ")
    assert last.endswith(".")
    assert "Traceback" not in (tmp_path / "err").read_text()


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()
