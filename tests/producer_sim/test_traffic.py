"""The records of a run: deterministic, well-formed unless meant not to be, and sent when intended."""

import signal
import threading
from collections import Counter
from itertools import islice, pairwise

import pytest
from confluent_kafka import Producer

from consumer.decode import Rejection, Sms, decode
from producer_sim.corpus import Message, built_in
from producer_sim.labels import label_maker
from producer_sim.malformed import MALFORMED, ODD, Wire
from producer_sim.population import Population
from producer_sim.traffic import Plan, Truth, records, simulate, stopped_by_signals
from schemas.errors import UserError
from schemas.events import Label
from schemas.topics import Topics

NOON = 1_800_000_000.0


def made(plan: Plan, count: int = 400) -> list[tuple[Truth, Wire]]:
    return [at(NOON + number) for number, at in enumerate(islice(records(plan, built_in(plan.seed)), count))]


def test_the_same_plan_makes_the_same_records() -> None:
    plan = Plan(seed=4, malformed=0.1, odd=0.1)
    assert made(plan) == made(plan)
    assert made(plan) != made(Plan(seed=5, malformed=0.1, odd=0.1))


def test_runs_of_different_names_share_no_event_id() -> None:
    ids = [{truth.event_id for truth, _ in made(Plan(run=run))} for run in ("a", "b")]
    assert len(ids[0]) == 400
    assert not ids[0] & ids[1]


def test_every_sound_record_keeps_the_contract_and_is_keyed_by_its_sender() -> None:
    for truth, wire in made(Plan()):
        event = decode(wire.value, wire.headers)
        assert isinstance(event, Sms)
        assert wire.key == event.sender.encode()
        assert event.event_id == truth.event_id
        assert event.received_at.timestamp() == truth.intended
        assert event.text == truth.message.text


def sound_fields() -> dict[str, str]:
    return {
        "event_id": "e1",
        "sender": "+447700900123",
        "recipient": "+12125550100",
        "text": "see you at 5, {name}",
        "received_at": "2026-01-01T00:00:00Z",
    }


@pytest.mark.parametrize("maker", MALFORMED, ids=lambda maker: maker.name)
@pytest.mark.parametrize("uniform", [0.0, 0.31, 0.5, 0.77, 0.999])
def test_every_malformed_record_is_refused_by_the_filter(maker, uniform: float) -> None:
    wire = maker.make(sound_fields(), lambda: uniform)
    assert isinstance(decode(wire.value, wire.headers), Rejection)
    assert len(wire.value or b"") < 1_000_000


@pytest.mark.parametrize("maker", ODD, ids=lambda maker: maker.name)
def test_every_odd_record_is_judged_like_any_other(maker) -> None:
    wire = maker.make(sound_fields(), lambda: 0.5)
    event = decode(wire.value, wire.headers)
    assert isinstance(event, Sms)
    assert event.event_id == "e1"


def test_faults_come_in_the_shares_asked_for_and_the_truth_names_them() -> None:
    truths = [truth for truth, _ in made(Plan(malformed=0.2, odd=0.1, seed=2), 3_000)]
    assert 500 < sum(truth.fault is not None for truth in truths) < 700
    assert 230 < sum(truth.oddity is not None for truth in truths) < 370
    assert {truth.fault for truth in truths} - {None} == {maker.name for maker in MALFORMED}


def test_a_few_senders_write_much_and_spammers_write_nothing_else() -> None:
    people = Population(1, senders=500)
    senders: Counter[str] = Counter()
    labels: dict[str, set[str]] = {}
    for message in islice(built_in(1), 10_000):
        sender = people.sender_of(message)
        senders[sender] += 1
        labels.setdefault(sender, set()).add(message.label)
    assert all(len(found) == 1 for found in labels.values())
    busiest = sum(count for _, count in senders.most_common(25))
    assert busiest > 3_000
    assert len(senders) > 300


def test_more_senders_than_fictional_numbers_is_refused() -> None:
    with pytest.raises(UserError, match="numbers"):
        Population(1, senders=100_000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0},
        {"rate": -1},
        {"count": -1},
        {"duration_s": -1},
        {"malformed": 0.7, "odd": 0.4},
        {"malformed": -0.1},
        {"run": ""},
        {"run": "x" * 41},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_in_a_sentence(wrong: dict) -> None:
    with pytest.raises(UserError):
        Plan(**wrong)


def test_count_and_duration_end_a_run_at_the_first_of_them() -> None:
    assert Plan(rate=10, count=50, duration_s=3).limit == 30
    assert Plan(rate=10, count=20, duration_s=3).limit == 20
    assert Plan(rate=10, duration_s=3).limit == 30
    assert Plan(rate=None, count=20, duration_s=3).limit == 20
    assert Plan(rate=10).limit is None


def test_labels_are_the_truth_or_wrong_in_the_share_asked_for() -> None:
    message = Message("win", "spam", "prize")
    right = label_maker(1.0)
    sure = Label.model_validate_json(right("e1", message, NOON).value or b"")
    assert (sure.label, sure.category, sure.labeller) == ("spam", "prize", "simulator")
    assert right("e1", message, NOON).key == b"e1"
    half = label_maker(0.8, seed=1)
    found = Counter(Label.model_validate_json(half(f"e{n}", message, NOON).value or b"").label for n in range(2_000))
    assert 1_500 < found["spam"] < 1_700
    with pytest.raises(UserError, match="probability"):
        label_maker(1.2)


@pytest.fixture
def mock_cluster():
    """Librdkafka's in-process broker: enough to be produced to."""
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "unused", "log_level": 0})
    servers = ",".join(f"{b.host}:{b.port}" for b in cluster.list_topics(timeout=10).brokers.values())
    topics = Topics()
    for name in (topics.inbound, topics.labels):
        cluster.produce(name, b"made")
    assert cluster.flush(10) == 0
    yield servers, topics
    del cluster


def test_events_leave_in_order_no_earlier_than_intended_and_are_all_acknowledged(mock_cluster) -> None:
    servers, topics = mock_cluster
    heard: list[Truth] = []
    report = simulate(
        Plan(rate=400, count=100, malformed=0.1, odd=0.1, seed=6),
        built_in(6),
        servers,
        topics,
        label_quality=1.0,
        on_event=heard.append,
    )
    assert (report.intended, report.sent, report.failed) == (100, 100, 0)
    assert report.malformed == sum(truth.fault is not None for truth in heard) > 0
    assert report.labels == 100 - report.malformed
    assert not report.stopped
    gaps = [later.intended - earlier.intended for earlier, later in pairwise(heard)]
    assert gaps == pytest.approx([1 / 400] * 99, abs=1e-6)
    assert report.seconds >= 99 / 400


def test_a_stop_ends_an_endless_run_and_delivers_what_was_handed_over(mock_cluster) -> None:
    servers, topics = mock_cluster
    stop = threading.Event()

    def enough(truth: Truth) -> None:
        if truth.event_id.endswith("-29"):
            stop.set()

    report = simulate(Plan(rate=None), built_in(1), servers, topics, on_event=enough, stop=stop)
    assert (report.intended, report.sent, report.stopped) == (30, 30, True)


def test_ctrl_c_ends_a_run_with_its_report(mock_cluster) -> None:
    servers, topics = mock_cluster

    def interrupt(truth: Truth) -> None:
        if truth.event_id.endswith("-9"):
            raise KeyboardInterrupt

    report = simulate(Plan(rate=None), built_in(1), servers, topics, on_event=interrupt)
    assert (report.intended, report.sent, report.stopped) == (9, 9, True)


def test_a_full_local_queue_delays_events_and_loses_none(mock_cluster) -> None:
    servers, topics = mock_cluster
    properties = {"queue.buffering.max.messages": 10}
    report = simulate(Plan(rate=None, count=2_000), built_in(1), servers, topics, properties)
    assert (report.intended, report.sent, report.failed) == (2_000, 2_000, 0)


def test_records_that_cannot_be_delivered_are_counted_and_the_rest_arrives(mock_cluster, caplog) -> None:
    servers, topics = mock_cluster
    truths: list[Truth] = []
    properties = {"message.max.bytes": 100_000}
    plan = Plan(rate=None, count=400, malformed=0.5, seed=1)
    report = simulate(plan, built_in(1), servers, topics, properties, on_event=truths.append)
    huge = sum(truth.fault == "huge" for truth in truths)
    assert (report.intended, report.sent, report.failed) == (400, 400 - huge, huge)
    assert huge > 0
    assert caplog.text.count("was not delivered") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_run_and_the_former_handler_comes_back(mock_cluster, number: signal.Signals) -> None:
    servers, topics = mock_cluster
    former = signal.getsignal(number)

    def send_signal(truth: Truth) -> None:
        if truth.event_id.endswith("-9"):
            signal.raise_signal(number)

    with stopped_by_signals() as stop:
        report = simulate(Plan(rate=None), built_in(1), servers, topics, on_event=send_signal, stop=stop)
    assert (report.sent, report.stopped) == (10, True)
    assert signal.getsignal(number) is former


def test_a_missing_broker_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"No Kafka broker answers at 127\.0\.0\.1:1"):
        simulate(Plan(count=1), built_in(1), "127.0.0.1:1", Topics())


def test_a_missing_topic_is_named(mock_cluster) -> None:
    with pytest.raises(UserError, match=r"no topic other\.inbound"):
        simulate(Plan(count=1), built_in(1), mock_cluster[0], Topics("other."))


def test_properties_that_the_order_stands_on_cannot_be_changed(mock_cluster) -> None:
    servers, topics = mock_cluster
    with pytest.raises(UserError, match="partitioner"):
        simulate(Plan(count=1), built_in(1), servers, topics, {"partitioner": "random"})
    with pytest.raises(UserError, match="Kafka"):
        simulate(Plan(count=1), built_in(1), servers, topics, {"no.such.property": "1"})
