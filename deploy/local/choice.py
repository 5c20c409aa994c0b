"""Where the broker and ClickHouse come from: a decision over what was found, apart from the looking."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from deploy.local.java import Tool
from schemas.errors import UserError

_DOCKER_TIMEOUT_S: Final = 5
Source = Literal["configured", "local", "container", "mock"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A source, why it was taken, and what a person should know about it (empty: nothing)."""

    source: Source
    reason: str
    warning: str = ""


def choose_broker(configured: str | None, java: Tool, maven: Tool, docker: Callable[[], Tool]) -> Choice:
    """The configured broker; else a real one from Java and Maven; else from Docker; else librdkafka's mock.

    `docker` is asked only where the answer matters: an engine that hangs must not hold up a start without it.
    """
    if configured:
        return Choice("configured", "SMSIFT_BOOTSTRAP_SERVERS is set")
    if java.found and maven.found:
        return Choice("local", "Java and Maven are here")
    missing = " ".join(tool.why_not for tool in (java, maven) if not tool.found)
    if docker().found:
        return Choice("container", f"a Docker engine runs here. {missing}")
    return Choice(
        "mock",
        f"{missing} {docker().why_not}",
        "The broker is librdkafka's mock, good for a look only: it ignores aborted transactions, fences no second "
        "producer, keeps nothing on disk, and cannot create the monitor's topics, so it proves nothing about "
        f"exactly-once. For a real broker: {missing}",
    )


def choose_clickhouse(configured: str | None, *, chdb: bool, docker: Callable[[], Tool]) -> Choice:
    """The configured ClickHouse; else chDB; else from Docker. Raises UserError where there is none."""
    if configured:
        return Choice("configured", "SMSIFT_CLICKHOUSE_URL is set")
    if chdb:
        return Choice("local", "chDB is installed")
    if docker().found:
        return Choice("container", "a Docker engine runs here and chDB is not installed")
    raise UserError(
        "No ClickHouse can be started: install chDB with `pip install 'smsift[local]'`, start a Docker engine, "
        "or set SMSIFT_CLICKHOUSE_URL."
    )


def find_docker(connect: Callable[[], Any] | None = None) -> Tool:
    """Whether a Docker engine answers; `connect` returns a client of the `docker` package."""
    try:
        if connect is None:
            import docker

            connect = partial(docker.from_env, timeout=_DOCKER_TIMEOUT_S)
        client = connect()
        try:
            client.ping()
        finally:
            client.close()
    except ImportError:
        return Tool(None, "The Docker client is not installed: `pip install 'smsift[local]'`.")
    except Exception as error:  # noqa: BLE001 - the client raises its own, urllib3's and the system's errors alike
        return Tool(None, f"No Docker engine answers ({type(error).__name__}).")
    return Tool("the Docker engine")
