"""The stack as a whole: up, status and down, and nothing left behind however its owner ends."""

import json
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from consumer.settings import Settings, load_settings
from deploy.local import clickhouse, kafka, stack
from deploy.local.java import kafka_jars
from deploy.local.leash import ROOT, Leashed
from deploy.local.stack import StackAddresses
from deploy.local.waiting import wait_until
from schemas.errors import UserError
from tests.stack import JARS

GONE_S = 30.0  # a deadline for a busy machine


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a machine where nothing is configured; Kafka's jars are those that this checkout has already."""
    monkeypatch.chdir(tmp_path)
    for name in ("BOOTSTRAP_SERVERS", "CLICKHOUSE_URL", "LOCAL_DIR"):
        monkeypatch.delenv(f"SMSIFT_{name}", raising=False)
    kafka_jars(JARS)
    (tmp_path / ".smsift").mkdir()
    (tmp_path / ".smsift" / "kafka-jars").symlink_to(JARS)
    settings = load_settings(local_dir=tmp_path / ".smsift")
    yield settings
    stack.down(settings)


def answering(addresses: StackAddresses) -> bool:
    return kafka.answers(addresses.bootstrap_servers, 5.0) and clickhouse.answers(addresses.clickhouse_url, 5.0)


def reload(settings: Settings) -> Settings:
    return load_settings(local_dir=settings.local_dir)


def family(pid: int) -> list[psutil.Process]:
    """The processes under `pid`: leashes, the broker, the chDB server."""
    return psutil.Process(pid).children(recursive=True)


def all_gone(processes: list[psutil.Process]) -> bool:
    return wait_until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes), GONE_S)


def test_up_publishes_what_the_settings_read_and_down_ends_and_withdraws_it(settings: Settings) -> None:
    said: list[str] = []
    addresses = stack.up(settings, say=said.append)
    assert (addresses.broker, addresses.clickhouse, addresses.warning) == ("local", "local", "")
    assert said == ["Starting ClickHouse (chDB) …", "Starting Kafka …"]
    now = reload(settings)
    assert (now.bootstrap_servers, now.clickhouse_url) == (addresses.bootstrap_servers, addresses.clickhouse_url)
    state = stack.status(now)
    assert (state.state, state.addresses, state.silent) == ("up", addresses, ())
    assert state.pid is not None
    processes = [psutil.Process(state.pid), *family(state.pid)]
    assert len(processes) == 5

    assert stack.up(now) == addresses  # a second time: as it is
    assert stack.status(now).pid == state.pid

    assert stack.down(now)
    assert all_gone(processes)
    assert not (settings.local_dir / "stack.env").exists()
    assert stack.status(now).state == "down"
    assert reload(settings).bootstrap_servers is None
    assert not stack.down(now)


def test_crashed_keeper_takes_its_parts_along_and_the_next_up_is_not_misled_by_what_it_left(settings: Settings) -> None:
    first = stack.up(settings)
    pid = stack.status(settings).pid
    assert pid is not None
    processes = family(pid)
    psutil.Process(pid).kill()
    assert all_gone(processes)
    stale = reload(settings)
    assert stale.bootstrap_servers == first.bootstrap_servers
    assert stack.status(stale).state == "down"
    second = stack.up(stale)
    assert second.broker == second.clickhouse == "local"
    assert answering(second)


def test_part_that_ends_by_itself_ends_the_stack_and_the_log_says_which(settings: Settings) -> None:
    stack.up(settings)
    pid = stack.status(settings).pid
    assert pid is not None
    processes = [psutil.Process(pid), *family(pid)]
    next(p for p in processes if p.name() == "java").kill()
    assert all_gone(processes)
    assert stack.status(settings).state == "down"
    assert "Kafka ended by itself" in (settings.local_dir / "keeper.log").read_text()


def test_start_that_fails_says_why_and_leaves_nothing_running(settings: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port}, asked for Kafka, cannot be used"):
            stack.up(settings, kafka_port=port)
    assert stack.status(settings).state == "down"
    lock = settings.local_dir / "clickhouse" / "store.lock"
    assert lock.exists()  # ClickHouse was started first …
    probe = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    assert subprocess.run([sys.executable, "-c", probe, lock], check=False).returncode == 0  # … and has ended


def test_process_id_that_another_program_has_now_is_not_taken_for_the_keeper(settings: Settings) -> None:
    addresses = {"bootstrap_servers": "a:1", "clickhouse_url": "http://a:2", "broker": "local", "clickhouse": "local"}
    bystander = psutil.Process()
    kept = {"pid": bystander.pid, "started_at": bystander.create_time() - 1000, "addresses": addresses}
    (settings.local_dir / "keeper.json").write_text(json.dumps(kept))
    assert stack.status(settings).state == "down"
    assert not stack.down(settings)
    assert bystander.is_running()


def test_running_ends_its_parts_after_an_interruption(settings: Settings) -> None:
    class Interrupt(BaseException):
        """As Ctrl-C."""

    before = set(family(psutil.Process().pid))
    mine: set[psutil.Process] = set()

    def interrupted() -> None:
        with stack.running(settings) as addresses:
            assert answering(addresses)
            mine.update(set(family(psutil.Process().pid)) - before)
            raise Interrupt

    with pytest.raises(Interrupt):
        interrupted()
    assert len(mine) == 4
    assert all_gone(list(mine))


def test_running_uses_what_is_configured_and_starts_nothing_then(settings: Settings) -> None:
    given = load_settings(local_dir=settings.local_dir, bootstrap_servers="kafka:9092", clickhouse_url="http://ch:8123")
    with stack.running(given) as addresses:
        assert addresses == StackAddresses("kafka:9092", "http://ch:8123", "configured", "configured")
        assert family(psutil.Process().pid) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_parent_takes_broker_and_clickhouse_along(settings: Settings, tmp_path: Path, number: int) -> None:
    script = textwrap.dedent(f"""
        from pathlib import Path
        from consumer.settings import load_settings
        from deploy.local.stack import running
        with running(load_settings(local_dir={str(settings.local_dir)!r}), Path({str(tmp_path / "data")!r})) as addresses:
            print(addresses.bootstrap_servers, addresses.clickhouse_url, flush=True)
            input()
    """)
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    servers, url = parent.stdout.readline().split()
    processes = family(parent.pid)
    assert {"java"} < {p.name() for p in processes}
    parent.send_signal(number)
    parent.communicate(timeout=GONE_S)
    assert all_gone(processes)
    assert not kafka.answers(servers)
    assert not clickhouse.answers(url)


def test_killed_leash_takes_its_command_along(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux ends a child with its parent")
    held = Leashed(["sleep", "600"], tmp_path / "log")
    leash = psutil.Process(held._leash.pid)
    assert wait_until(lambda: any(child.name() == "sleep" for child in leash.children()), GONE_S)
    (child,) = leash.children()
    held._leash.kill()
    assert all_gone([child])
    held.stop()
