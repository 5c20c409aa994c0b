"""The broker: what smsift needs of it, on the local one and in Docker alike; then what only a local start can go through."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.local import kafka as broker_module
from deploy.local.java import find_java, kafka_jars
from deploy.local.kafka import Broker, answers, start_broker
from deploy.local.ports import free_port
from schemas.errors import UserError
from schemas.topics import DEAD_MAX_BYTES, Topics, create_topics
from tests.stack import JARS, TestKafka


def read(servers: str, topic: str, count: int, **config: object) -> list[bytes]:
    """The first `count` committed values of the topic, in partition order; fewer after twenty quiet seconds."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.message.max.bytes": 2 * DEAD_MAX_BYTES,
            **config,
        }
    )
    consumer.subscribe([topic])
    values: list[bytes] = []
    while len(values) < count and (message := consumer.poll(20)) is not None:
        assert message.error() is None
        values.append(message.value())
    consumer.close()
    return values


@pytest.mark.broker
def test_aborted_transaction_is_never_read_and_a_committed_one_is(kafka: TestKafka, topic_prefix: str) -> None:
    topic = Topics(topic_prefix).ham
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": topic_prefix})
    producer.init_transactions(30)
    for value, finish in ((b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value, partition=0)
        producer.flush(30)
        finish(30)
    assert read(kafka.bootstrap_servers, topic, 1) == [b"committed"]


@pytest.mark.broker
def test_second_producer_of_one_transactional_id_fences_the_first(kafka: TestKafka, topic_prefix: str) -> None:
    config = {"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": topic_prefix}
    first, second = Producer(config), Producer(config)
    first.init_transactions(30)
    second.init_transactions(30)
    first.begin_transaction()
    first.produce(Topics(topic_prefix).ham, b"from the fenced one")
    with pytest.raises(KafkaException) as error:
        first.commit_transaction(30)
    assert error.value.args[0].fatal()


@pytest.mark.broker
def test_dead_letter_of_the_largest_record_fits(kafka: TestKafka, topic_prefix: str) -> None:
    value = os.urandom(DEAD_MAX_BYTES - 1024)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "message.max.bytes": DEAD_MAX_BYTES})
    failures: list[object] = []
    producer.produce(
        Topics(topic_prefix).dead, value, callback=lambda error, _: failures.append(error) if error else None
    )
    assert producer.flush(30) == 0
    assert failures == []
    assert read(kafka.bootstrap_servers, Topics(topic_prefix).dead, 1) == [value]


@pytest.mark.broker
def test_unknown_topic_is_not_created_by_asking_for_it(kafka: TestKafka) -> None:
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    name = f"unknown-{uuid.uuid4().hex}"
    admin.list_topics(name, timeout=20)
    assert name not in admin.list_topics(timeout=20).topics


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    """Starts brokers that end with the test."""
    brokers: list[Broker] = []

    def start(data: Path = tmp_path / "kafka", **options: int) -> Broker:
        brokers.append(start_broker(find_java().require(), kafka_jars(JARS), data, **options))
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.process.stop()


def test_topics_records_and_offsets_outlive_a_crash_and_a_change_of_port(start) -> None:
    first = start()
    create_topics(AdminClient({"bootstrap.servers": first.bootstrap_servers}), "a.", 2)
    producer = Producer({"bootstrap.servers": first.bootstrap_servers})
    producer.produce("a.inbound", b"kept", partition=1)
    assert producer.flush(30) == 0
    group = Consumer({"bootstrap.servers": first.bootstrap_servers, "group.id": "g"})
    group.commit(offsets=[TopicPartition("a.inbound", 1, 1)], asynchronous=False)
    first.process.kill()
    second = start()
    assert second.bootstrap_servers != first.bootstrap_servers
    assert read(second.bootstrap_servers, "a.inbound", 1) == [b"kept"]
    group = Consumer({"bootstrap.servers": second.bootstrap_servers, "group.id": "g"})
    assert group.committed([TopicPartition("a.inbound", 1)], timeout=30)[0].offset == 1


def test_next_generation_group_protocol_is_there(start) -> None:
    servers = start().bootstrap_servers
    create_topics(AdminClient({"bootstrap.servers": servers}), "a.", 1)
    producer = Producer({"bootstrap.servers": servers})
    producer.produce("a.inbound", b"x")
    producer.flush(30)
    assert read(servers, "a.inbound", 1, **{"group.protocol": "consumer"}) == [b"x"]


def test_second_broker_on_a_folder_is_told_who_has_it(start) -> None:
    first = start()
    with pytest.raises(UserError, match=r"Another broker uses .*: stop it, with `smsift down`"):
        start()
    assert answers(first.bootstrap_servers)


def test_port_that_is_taken_is_named_and_another_is_found_when_none_was_asked_for(start, tmp_path: Path) -> None:
    first = start()
    port = int(first.bootstrap_servers.rpartition(":")[2])
    with pytest.raises(UserError, match=f"Port {port}, asked for Kafka, cannot be used .*: stop the program"):
        start(tmp_path / "other", port=port)


def test_port_taken_between_look_and_bind_is_tried_again(start, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.socket() as rival:
        rival.bind(("127.0.0.1", 0))
        rival.listen()
        ports = iter([rival.getsockname()[1], free_port(), free_port(), free_port()])
        monkeypatch.setattr(broker_module, "free_port", lambda: next(ports))
        assert answers(start().bootstrap_servers)


def test_full_disk_is_said_before_the_start(start) -> None:
    with pytest.raises(UserError, match=r"Kafka needs .* MB of free disk in .*: free some, or set SMSIFT_LOCAL_DIR"):
        start(min_free_bytes=1 << 60)


def test_broker_that_ends_by_itself_gives_its_reason(start, tmp_path: Path) -> None:
    (tmp_path / "kafka" / "topics").mkdir(parents=True)
    (tmp_path / "kafka" / "topics" / "meta.properties").write_text("version=1\ncluster.id=other\nnode.id=7\n")
    with pytest.raises(UserError, match=r"Kafka ended while it started: .*7.*; see .*broker\.log"):
        start()
