"""Where the broker and ClickHouse come from, over every combination of what a machine may have."""

import sys
from typing import NoReturn

import pytest

from deploy.local import kafka
from deploy.local.choice import Choice, choose_broker, choose_clickhouse, find_docker
from deploy.local.java import Tool
from deploy.local.parts import _mock_broker
from schemas.errors import UserError
from tests.stack import StackSettings, require_docker

HERE = Tool("/usr/bin/it")
NO_JAVA = Tool(None, "No Java was found.")
NO_MAVEN = Tool(None, "No Maven was found.")


class FakeDocker:
    """A Docker client; `broken` is what a machine without an engine raises."""

    def __init__(self, broken: Exception | None = None) -> None:
        self.broken = broken
        self.closed = False

    def ping(self) -> bool:
        if self.broken:
            raise self.broken
        return True

    def close(self) -> None:
        self.closed = True


def engine() -> Tool:
    return find_docker(FakeDocker)


def no_engine() -> Tool:
    return find_docker(lambda: FakeDocker(ConnectionRefusedError("no socket")))


def not_asked() -> NoReturn:
    pytest.fail("Docker was asked although the choice does not need it")


def test_configured_broker_comes_first_whatever_else_is_here() -> None:
    assert choose_broker("kafka:9092", HERE, HERE, not_asked).source == "configured"


def test_java_and_maven_come_before_docker_which_is_not_even_asked() -> None:
    assert choose_broker(None, HERE, HERE, not_asked) == Choice("local", "Java and Maven are here")


@pytest.mark.parametrize(("java", "maven"), [(NO_JAVA, HERE), (HERE, NO_MAVEN), (NO_JAVA, NO_MAVEN)])
def test_docker_stands_in_for_a_missing_java_or_maven(java: Tool, maven: Tool) -> None:
    choice = choose_broker(None, java, maven, engine)
    assert (choice.source, choice.warning) == ("container", "")


def test_mock_is_the_last_resort_and_says_what_it_cannot_do_and_what_is_missing() -> None:
    choice = choose_broker(None, NO_JAVA, HERE, no_engine)
    assert choice.source == "mock"
    for part in ("ignores aborted transactions", "fences no second producer", "monitor's topics", "No Java was found."):
        assert part in choice.warning


def test_clickhouse_is_configured_or_chdb_or_docker_in_this_order() -> None:
    assert choose_clickhouse("http://ch:8123", chdb=True, docker=not_asked).source == "configured"
    assert choose_clickhouse(None, chdb=True, docker=not_asked).source == "local"
    assert choose_clickhouse(None, chdb=False, docker=engine).source == "container"
    with pytest.raises(UserError, match=r"install chDB .* Docker engine, or set SMSIFT_CLICKHOUSE_URL"):
        choose_clickhouse(None, chdb=False, docker=no_engine)


def test_engine_that_does_not_answer_is_no_engine_and_its_client_is_closed() -> None:
    client = FakeDocker(TimeoutError())
    found = find_docker(lambda: client)
    assert (found.found, client.closed) == (False, True)
    assert "No Docker engine answers" in found.why_not


def test_missing_docker_client_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    assert "not installed" in find_docker().why_not


def test_mock_broker_answers_while_it_is_held() -> None:
    with _mock_broker() as servers:
        assert kafka.answers(servers, timeout_s=5.0)


def test_missing_engine_skips_a_test_or_fails_it_where_one_is_required() -> None:
    with pytest.raises(pytest.skip.Exception, match="needs a Docker engine"):
        require_docker(StackSettings(require_docker=False), no_engine())
    with pytest.raises(pytest.fail.Exception, match="needs a Docker engine"):
        require_docker(StackSettings(require_docker=True), no_engine())
    require_docker(StackSettings(require_docker=True), engine())
