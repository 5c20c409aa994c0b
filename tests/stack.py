"""What the fixtures in conftest.py are made of: where the tests' Kafka and ClickHouse come from."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import pytest
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.local.clickhouse import start_chdb
from deploy.local.java import Tool, find_java, kafka_jars
from deploy.local.kafka import start_broker
from deploy.local.leash import ROOT
from deploy.local.parts import clickhouse_container, kafka_container

JARS: Final = ROOT / ".smsift" / "kafka-jars"  # shared with `smsift demo` in this checkout: one download
Where = Literal["local", "container"]


class StackSettings(BaseSettings):
    """SMSIFT_TEST_KAFKA, SMSIFT_TEST_CLICKHOUSE: use these instead of starting any. SMSIFT_REQUIRE_DOCKER=1: no engine is
    a failure, not a skip.
    """

    model_config = SettingsConfigDict(env_prefix="SMSIFT_", env_ignore_empty=True)
    test_kafka: str | None = None
    test_clickhouse: str | None = None
    require_docker: bool = False


@dataclass(frozen=True, slots=True)
class TestKafka:
    """A broker shared by all tests of a run: use the `topic_prefix` fixture to be alone on it."""

    __test__ = False
    bootstrap_servers: str


@dataclass(frozen=True, slots=True)
class TestClickHouse:
    """A ClickHouse shared by all tests of a run (user `default`, no password): use the `database` fixture."""

    __test__ = False
    url: str


def require_docker(settings: StackSettings, engine: Tool) -> None:
    """Skip the test where no Docker engine runs, or fail it where one is required."""
    if not engine.found:
        (pytest.fail if settings.require_docker else pytest.skip)(f"needs a Docker engine: {engine.why_not}")


@contextlib.contextmanager
def kafka_at(where: Where, settings: StackSettings, data: Path) -> Iterator[TestKafka]:
    if where == "container":
        with kafka_container() as servers:
            yield TestKafka(servers)
    elif settings.test_kafka:
        yield TestKafka(settings.test_kafka)
    else:
        broker = start_broker(find_java().require(), kafka_jars(JARS), data)
        try:
            yield TestKafka(broker.bootstrap_servers)
        finally:
            broker.process.stop()


@contextlib.contextmanager
def clickhouse_at(where: Where, settings: StackSettings, data: Path) -> Iterator[TestClickHouse]:
    if where == "container":
        with clickhouse_container() as url:
            yield TestClickHouse(url)
    elif settings.test_clickhouse:
        yield TestClickHouse(settings.test_clickhouse)
    else:
        server = start_chdb(data)
        try:
            yield TestClickHouse(server.url)
        finally:
            server.process.stop()
