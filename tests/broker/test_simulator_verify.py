"""The simulator and its check on a real broker: what is lost, repeated, invented or out of order is found."""

import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

import orjson
import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from consumer.decode import Sms, decode
from producer_sim.corpus import built_in
from producer_sim.traffic import Plan, Report, Truth, simulate
from producer_sim.verify import Verification, end_offsets, verify
from schemas.errors import UserError
from schemas.events import DeadLetter, Label
from schemas.topics import Topics
from tests.broker.support import read_all
from tests.stack import TestKafka

pytestmark = pytest.mark.broker
COUNT = 300


@pytest.fixture
def topics(topic_prefix: str) -> Topics:
    return Topics(topic_prefix)


@pytest.fixture
def sent(kafka: TestKafka, topics: Topics) -> Report:
    plan = Plan(rate=None, count=COUNT, malformed=0.1, senders=20, seed=3)
    return simulate(plan, built_in(3), kafka.bootstrap_servers, topics, label_quality=1.0)


@pytest.fixture
def judge(kafka: TestKafka, topics: Topics) -> "Judge":
    return Judge(kafka.bootstrap_servers, topics)


class Judge:
    """Writes outcomes the way the filter does: in transactions."""

    def __init__(self, servers: str, topics: Topics) -> None:
        self.servers, self.topics = servers, topics
        self._producer = Producer(
            {"bootstrap.servers": servers, "transactional.id": topics.prefix, "partitioner": "murmur2_random"}
        )
        self._producer.init_transactions(30)

    def arrivals(self) -> list[Message]:
        return sorted(read_all(self.servers, [self.topics.inbound]), key=lambda r: (r.partition(), r.offset()))

    def outcomes(self, arrivals: Iterable[Message], *, commit: bool = True, offset: int = 0) -> None:
        self.begin(arrivals, offset)
        if commit:
            self.commit()
        else:
            self._producer.abort_transaction(30)

    def commit(self) -> None:
        self._producer.commit_transaction(30)

    def begin(self, arrivals: Iterable[Message], offset: int = 0) -> None:
        """Write the outcomes in a transaction and leave it open."""
        self._producer.begin_transaction()
        for record in arrivals:
            source = {
                "source_topic": record.topic(),
                "source_partition": record.partition(),
                "source_offset": record.offset() + offset,
            }
            if isinstance(decode(record.value(), record.headers()), Sms):
                value = {"label": "spam" if record.offset() % 3 else "ham", **source}
                topic = self.topics.spam if record.offset() % 3 else self.topics.ham
                self._producer.produce(topic, orjson.dumps(value), record.key())
            else:
                letter = DeadLetter(
                    reason="not_json", detail="x", source_topic_id="x", failed_at="2026-01-01T00:00:00Z", **source
                )
                self._producer.produce(self.topics.dead, record.value(), record.key(), headers=letter.as_headers())
        assert self._producer.flush(30) == 0

    def plain(self, topic: str, value: bytes) -> None:
        self._producer.begin_transaction()
        self._producer.produce(topic, value)
        self._producer.commit_transaction(30)

    def verdict(self) -> Verification:
        return verify(self.servers, self.topics)


def test_every_event_of_a_run_is_in_the_topic_and_its_truth_in_the_labels(
    kafka: TestKafka, topics: Topics, sent: Report
) -> None:
    records = read_all(kafka.bootstrap_servers, [topics.inbound, topics.labels])
    events = [record for record in records if record.topic() == topics.inbound]
    labels = [Label.model_validate_json(record.value()) for record in records if record.topic() == topics.labels]
    assert (sent.sent, sent.failed) == (len(events), 0) == (COUNT, 0)
    sound = [event for event in (decode(r.value(), r.headers()) for r in events) if isinstance(event, Sms)]
    assert {label.event_id for label in labels} == {event.event_id for event in sound}
    assert len(labels) == len(sound) == COUNT - sent.malformed == sent.labels


def test_a_senders_messages_share_a_partition_and_keep_their_order(
    kafka: TestKafka, topics: Topics, sent: Report
) -> None:
    of_sender = defaultdict(list)
    for record in read_all(kafka.bootstrap_servers, [topics.inbound]):
        event = decode(record.value(), record.headers())
        if isinstance(event, Sms):
            of_sender[event.sender].append((record.partition(), record.offset(), int(event.event_id.split("-")[-1])))
    assert len(of_sender) > 5
    for places in of_sender.values():
        assert len({partition for partition, _, _ in places}) == 1
        assert [number for _, _, number in sorted(places)] == sorted(number for _, _, number in places)


def test_what_the_broker_refuses_is_counted_and_the_rest_is_in_the_topic(kafka: TestKafka, topics: Topics) -> None:
    limit = ConfigEntry("max.message.bytes", "50000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topics.inbound, incremental_configs=[limit])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    for altered in admin.incremental_alter_configs([resource]).values():
        altered.result()
    truths: list[Truth] = []
    report = simulate(
        Plan(rate=None, count=400, malformed=0.3, seed=1),
        built_in(1),
        kafka.bootstrap_servers,
        topics,
        {"compression.type": "none"},
        on_event=truths.append,
    )
    assert report.failed >= sum(truth.fault == "huge" for truth in truths) > 0
    assert report.sent == 400 - report.failed == len(read_all(kafka.bootstrap_servers, [topics.inbound])) > 0


def test_one_outcome_per_record_balances_whatever_was_aborted_on_the_way(judge: Judge, sent: Report) -> None:
    arrivals = judge.arrivals()
    judge.outcomes(arrivals[:50], commit=False)
    judge.outcomes(arrivals[:120])
    judge.outcomes(arrivals[120:], commit=False)
    judge.outcomes(arrivals[120:])
    found = judge.verdict()
    assert found.ok
    assert (found.events, found.verdicts + found.dead, found.dead) == (COUNT, COUNT, sent.malformed)
    assert found.spam + found.ham == found.verdicts
    assert found.spam > 0 < found.ham


def test_each_kind_of_fault_is_found_and_counted(judge: Judge, sent: Report, topics: Topics) -> None:
    arrivals = judge.arrivals()
    judge.outcomes(arrivals[7:])
    assert judge.verdict().lost == 7
    judge.outcomes(arrivals[:12])
    found = judge.verdict()
    assert (found.lost, found.duplicated) == (0, 5)
    judge.plain(topics.ham, b"not json")
    judge.plain(topics.dead, b"no headers")
    judge.plain(
        topics.ham,
        orjson.dumps({"label": "spam", "source_topic": topics.inbound, "source_partition": 0, "source_offset": 0}),
    )
    found = judge.verdict()
    assert (found.unreadable, found.misfiled, found.duplicated) == (2, 1, 6)
    assert not found.ok


def test_verdicts_that_overtake_each_other_are_found(judge: Judge, sent: Report) -> None:
    judge.outcomes(reversed(judge.arrivals()))
    found = judge.verdict()
    assert (found.lost, found.duplicated) == (0, 0)
    assert found.out_of_order > 50


def test_a_transaction_that_is_open_at_the_call_is_waited_for(judge: Judge, sent: Report) -> None:
    arrivals = judge.arrivals()
    judge.outcomes(arrivals[:100])
    committing = threading.Timer(1.0, judge.commit)
    judge.begin(arrivals[100:])
    committing.start()
    found = judge.verdict()
    committing.join()
    assert found.ok


def test_an_outcome_of_a_record_that_never_arrived_is_found(judge: Judge, kafka: TestKafka, topics: Topics) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": f"{topics.prefix}gap"})
    producer.init_transactions(30)
    for _ in range(2):  # the marker of the first transaction takes an offset between the two records
        producer.begin_transaction()
        producer.produce(topics.inbound, b"{}", b"k", partition=0)
        producer.commit_transaction(30)
    arrivals = judge.arrivals()
    assert [record.offset() for record in arrivals] == [0, 2]
    judge.outcomes(arrivals)
    assert judge.verdict().ok
    judge.outcomes(arrivals[:1], offset=1)
    assert judge.verdict().invented == 1


def test_a_verification_can_be_limited_to_what_came_after_a_point(
    judge: Judge, kafka: TestKafka, topics: Topics, sent: Report
) -> None:
    start = end_offsets(kafka.bootstrap_servers, topics)
    again = simulate(Plan(rate=None, count=40, run="b"), built_in(9), kafka.bootstrap_servers, topics)
    assert again.sent == 40
    judge.outcomes(judge.arrivals())
    heard: list[dict] = []
    found = verify(kafka.bootstrap_servers, topics, start=start, on_verdict=heard.append)
    assert found.ok
    assert (found.events, found.verdicts, len(heard)) == (40, 40, 40)
    assert verify(kafka.bootstrap_servers, topics).events == COUNT + 40


def test_empty_topics_balance(kafka: TestKafka, topics: Topics) -> None:
    assert verify(kafka.bootstrap_servers, topics) == Verification(*[0] * 11)


def test_odd_records_reach_the_topic_with_their_oddity(kafka: TestKafka, topics: Topics) -> None:
    truths: list[Truth] = []
    plan = replace(Plan(rate=None, count=200), odd=1.0)
    report = simulate(plan, built_in(1), kafka.bootstrap_servers, topics, on_event=truths.append)
    assert (report.sent, report.odd, report.malformed) == (200, 200, 0)
    records = read_all(kafka.bootstrap_servers, [topics.inbound])
    assert sum(record.key() is None for record in records) == sum(truth.oddity == "null_key" for truth in truths) > 0


def test_a_missing_topic_or_broker_is_one_sentence(kafka: TestKafka) -> None:
    with pytest.raises(UserError, match=r"no topic nowhere\.inbound"):
        verify(kafka.bootstrap_servers, Topics("nowhere."))
    with pytest.raises(UserError, match="No Kafka broker answers"):
        verify("127.0.0.1:1", Topics())


def test_reading_stops_at_the_end_as_it_was_though_the_topic_grows(
    kafka: TestKafka, topics: Topics, judge: Judge, sent: Report
) -> None:
    judge.outcomes(judge.arrivals())
    more = iter(range(5))

    def grow(_verdict: dict) -> None:
        for _ in islice(more, 1):
            simulate(Plan(rate=None, count=20, run="late"), built_in(2), kafka.bootstrap_servers, topics)

    found = verify(kafka.bootstrap_servers, topics, on_verdict=grow)
    assert found.ok
    assert found.events == COUNT


def test_verification_leaves_no_offsets_behind(kafka: TestKafka, topics: Topics, sent: Report) -> None:
    verify(kafka.bootstrap_servers, topics)
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap_servers, "group.id": "smsift-verify"})
    places = consumer.committed([TopicPartition(topics.inbound, number) for number in range(4)], timeout=10)
    consumer.close()
    assert all(place.offset < 0 for place in places)
