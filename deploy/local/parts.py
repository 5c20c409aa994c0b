"""Starts the parts of a stack, each from where it is to come from, and ends them together."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from deploy.local.choice import Source, choose_broker, choose_clickhouse, find_docker
from deploy.local.clickhouse import start_chdb
from deploy.local.java import Tool, find_java, find_maven, jars_folder, kafka_jars
from deploy.local.kafka import start_broker
from deploy.local.leash import Leashed
from schemas.errors import UserError

# testcontainers knows how to start Confluent's packaging of Kafka: this is Apache Kafka 3.9, and a ClickHouse LTS.
KAFKA_IMAGE: Final = "confluentinc/cp-kafka:7.9.0"
CLICKHOUSE_IMAGE: Final = "clickhouse/clickhouse-server:25.8"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to start: addresses that are configured are used as they are; ports of None are chosen freely.

    `jars` is where Kafka's jars are kept for all stacks, `data` is this stack's own folder.
    """

    jars: Path
    data: Path
    bootstrap_servers: str | None = None
    clickhouse_url: str | None = None
    kafka_port: int | None = None
    clickhouse_port: int | None = None


@dataclass(frozen=True, slots=True)
class StackAddresses:
    """A stack that answers. `warning` is for a person, where the broker is not a real one."""

    bootstrap_servers: str
    clickhouse_url: str
    broker: Source
    clickhouse: Source
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """A running stack: its addresses, and the processes that must stay alive for it to be one."""

    addresses: StackAddresses
    processes: tuple[tuple[str, Leashed], ...]

    def ended(self) -> str | None:
        """The name of a part that ended by itself, if one did."""
        return next((name for name, process in self.processes if process.exit_code is not None), None)


@contextlib.contextmanager
def started(wanted: Wanted, say: Callable[[str], None]) -> Iterator[Parts]:
    """Start what is wanted, and end it on leaving, in whatever way. Raises UserError where a part cannot start."""
    docker = cache(find_docker)
    with ExitStack() as ending:
        clickhouse = choose_clickhouse(
            wanted.clickhouse_url, chdb=importlib.util.find_spec("chdb") is not None, docker=docker
        )
        have_jars = jars_folder(wanted.jars).is_dir()
        maven = Tool(str(wanted.jars)) if have_jars else find_maven()  # jars that are here need no Maven
        broker = choose_broker(wanted.bootstrap_servers, find_java(), maven, docker)
        if broker.warning:
            say(f"Warning: {broker.warning}")
        processes: list[tuple[str, Leashed]] = []

        def own(name: str, process: Leashed) -> None:
            ending.callback(process.stop)
            processes.append((name, process))

        url = wanted.clickhouse_url or ""
        if clickhouse.source == "local":
            say("Starting ClickHouse (chDB) …")
            chdb = start_chdb(wanted.data / "clickhouse", wanted.clickhouse_port)
            own("ClickHouse", chdb.process)
            url = chdb.url
        elif clickhouse.source == "container":
            say("Starting ClickHouse (Docker) …")
            url = ending.enter_context(clickhouse_container())
        servers = wanted.bootstrap_servers or ""
        if broker.source == "local":
            if not have_jars:
                say("Fetching Kafka with Maven, once (44 MB) …")
            jars = kafka_jars(wanted.jars)
            say("Starting Kafka …")
            kafka = start_broker(find_java().require(), jars, wanted.data / "kafka", wanted.kafka_port)
            own("Kafka", kafka.process)
            servers = kafka.bootstrap_servers
        elif broker.source == "container":
            say("Starting Kafka (Docker) …")
            servers = ending.enter_context(kafka_container())
        elif broker.source == "mock":
            servers = ending.enter_context(_mock_broker())
        yield Parts(StackAddresses(servers, url, broker.source, clickhouse.source, broker.warning), tuple(processes))


@contextlib.contextmanager
def kafka_container() -> Iterator[str]:
    """A Kafka in Docker, for as long as the context lasts; yields its bootstrap servers."""
    from testcontainers.community.kafka import KafkaContainer

    container = KafkaContainer(KAFKA_IMAGE).with_kraft()
    for name, value in {
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
    }.items():
        container = container.with_env(name, value)
    with _container(container, "Kafka"):
        yield container.get_bootstrap_server()


@contextlib.contextmanager
def clickhouse_container() -> Iterator[str]:
    """A ClickHouse in Docker, for as long as the context lasts; yields its URL (user `default`, no password)."""
    from testcontainers.community.clickhouse import ClickHouseContainer

    # Without this the image keeps a user with no password from connecting over the network.
    container = ClickHouseContainer(CLICKHOUSE_IMAGE).with_env("CLICKHOUSE_SKIP_USER_SETUP", "1")
    with _container(container, "ClickHouse"):
        yield f"http://{container.get_container_host_ip()}:{container.get_exposed_port(8123)}"


@contextlib.contextmanager
def _container(container: Any, name: str) -> Iterator[None]:
    try:
        container.start()
    except Exception as error:
        raise UserError(f"{name} did not start in Docker: {error}.") from error
    try:
        yield
    finally:
        container.stop()


@contextlib.contextmanager
def _mock_broker() -> Iterator[str]:
    """The mock cluster of librdkafka: it lives in this process and ends with it."""
    from confluent_kafka import Producer

    holder = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    brokers = holder.list_topics(timeout=10).brokers
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers.values())
    del holder
