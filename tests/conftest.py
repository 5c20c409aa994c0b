"""Fixtures that every package's tests may use: a real broker, a real ClickHouse, and a place of one's own on each.

A test that asks for `kafka` or `clickhouse` runs twice: on the local stack, and in Docker where an engine runs.
"""

import uuid
from collections.abc import Iterator

import clickhouse_connect
import pytest
from confluent_kafka.admin import AdminClient

from deploy.local.choice import find_docker
from schemas.topics import Topics, create_topics
from tests.stack import StackSettings, TestClickHouse, TestKafka, Where, clickhouse_at, kafka_at, require_docker


@pytest.fixture(scope="session")
def stack_settings() -> StackSettings:
    return StackSettings()


@pytest.fixture(scope="session", params=["local", "container"])
def where(request: pytest.FixtureRequest, stack_settings: StackSettings) -> Where:
    if request.param == "container":
        require_docker(stack_settings, find_docker())
    return request.param


@pytest.fixture(scope="session")
def kafka(where: Where, stack_settings: StackSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestKafka]:
    """A broker: `.bootstrap_servers`."""
    with kafka_at(where, stack_settings, tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="session")
def clickhouse(
    where: Where, stack_settings: StackSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClickHouse]:
    """A ClickHouse: `.url`."""
    with clickhouse_at(where, stack_settings, tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest.fixture
def partitions() -> int:
    """Partitions of the topics that `topic_prefix` creates; a test module may override this."""
    return 4


@pytest.fixture
def topic_prefix(kafka: TestKafka, partitions: int) -> Iterator[str]:
    """A prefix of the test's own under which all of smsift's topics exist; they are deleted afterwards."""
    prefix = f"t{uuid.uuid4().hex[:12]}."
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})
    create_topics(admin, prefix, partitions, 1)
    yield prefix
    for deleted in admin.delete_topics(list(Topics(prefix).all)).values():
        deleted.exception()  # waits; a topic that the test deleted itself is fine


@pytest.fixture
def database(clickhouse: TestClickHouse) -> Iterator[str]:
    """A database of the test's own, which exists and is empty; it is dropped afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    client = clickhouse_connect.get_client(dsn=clickhouse.url)
    client.command(f"CREATE DATABASE {name}")
    yield name
    client.command(f"DROP DATABASE IF EXISTS {name}")
    client.close()
