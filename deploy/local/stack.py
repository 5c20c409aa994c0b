"""The local stack's front: `running` for a demo or a test, `up`, `down` and `status` for one that stays.

A stack that stays is owned by a detached keeper process (`keeper.py`), which publishes its addresses in
`<local_dir>/stack.env`, where the settings read them, and in `<local_dir>/keeper.json`, with its own process id.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import psutil
from dotenv import dotenv_values

from consumer.settings import PREFIX, Settings
from deploy.local import clickhouse, kafka
from deploy.local.keeper import Kept, hold, read_kept
from deploy.local.leash import ROOT
from deploy.local.parts import StackAddresses, Wanted, started
from schemas.errors import UserError

STOP_TIMEOUT_S: Final = 40.0  # both parts get 12 s to end, one after the other; then the keeper is killed


def _silent(_sentence: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True)
class Status:
    """`down`: nothing runs; `up`: both parts answer; `failing`: the keeper runs and `silent` do not answer."""

    state: Literal["down", "up", "failing"]
    addresses: StackAddresses | None = None
    pid: int | None = None
    silent: tuple[str, ...] = ()


@contextlib.contextmanager
def running(
    settings: Settings,
    data: Path | None = None,
    *,
    kafka_port: int | None = None,
    clickhouse_port: int | None = None,
    say: Callable[[str], None] = _silent,
) -> Iterator[StackAddresses]:
    """A stack for as long as the context lasts; configured addresses are used, what is missing is started.

    `data` is its folder, which is kept; by default a temporary one, which is not. Nothing that was started here
    outlives this process, however it ends. `say` hears what takes time. Raises UserError where a part cannot start.
    """
    with contextlib.ExitStack() as ending:
        if data is None:
            data = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="smsift-", ignore_cleanup_errors=True)))
        wanted = _wanted(settings, data, kafka_port, clickhouse_port)
        yield ending.enter_context(started(wanted, say)).addresses


def up(
    settings: Settings,
    *,
    foreground: bool = False,
    kafka_port: int | None = None,
    clickhouse_port: int | None = None,
    say: Callable[[str], None] = _silent,
) -> StackAddresses:
    """Start the stack that stays, or find it up already; return when it answers.

    `foreground` keeps it in this process and returns after Ctrl-C. Raises UserError where a part cannot start.
    """
    folder = settings.local_dir.absolute()
    if (kept := read_kept(folder)) is not None:
        say("The stack is already up.")
        return kept.addresses
    folder.mkdir(parents=True, exist_ok=True)
    wanted = _wanted(settings, folder, kafka_port, clickhouse_port)
    if foreground:
        return hold(folder, wanted, say, ready=lambda _: say("The stack is up; Ctrl-C ends it."))
    return _detach(folder, wanted, say)


def down(settings: Settings) -> bool:
    """End the stack that stays, and return whether there was one. Its data stay."""
    folder = settings.local_dir.absolute()
    kept = read_kept(folder)
    if kept is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            keeper = psutil.Process(kept.pid)
            keeper.terminate()
            try:
                keeper.wait(STOP_TIMEOUT_S)
            except psutil.TimeoutExpired:
                keeper.kill()  # its leashes end the parts
                keeper.wait(STOP_TIMEOUT_S)
    Kept.remove(folder)
    return kept is not None


def status(settings: Settings) -> Status:
    """What of the stack that stays answers now."""
    kept = read_kept(settings.local_dir.absolute())
    if kept is None:
        return Status("down")
    answering = {
        "Kafka": kafka.answers(kept.addresses.bootstrap_servers, timeout_s=3.0),
        "ClickHouse": clickhouse.answers(kept.addresses.clickhouse_url, timeout_s=3.0),
    }
    silent = tuple(part for part, answers in answering.items() if not answers)
    return Status("failing" if silent else "up", kept.addresses, kept.pid, silent)


def _wanted(settings: Settings, data: Path, kafka_port: int | None, clickhouse_port: int | None) -> Wanted:
    """Addresses count as configured unless they are those that a stack of ours has published itself."""
    published = dotenv_values(settings.local_dir / Settings.stack_env)

    def configured(name: str, value: str | None) -> str | None:
        return None if value == published.get(PREFIX + name) else value

    return Wanted(
        jars=settings.local_dir.absolute() / "kafka-jars",
        data=data.absolute(),
        bootstrap_servers=configured("BOOTSTRAP_SERVERS", settings.bootstrap_servers),
        clickhouse_url=configured("CLICKHOUSE_URL", settings.clickhouse_url),
        kafka_port=kafka_port,
        clickhouse_port=clickhouse_port,
    )


def _detach(folder: Path, wanted: Wanted, say: Callable[[str], None]) -> StackAddresses:
    """Start a keeper and hear from it, a JSON line each: what it does, and at last its addresses or its error."""
    spec = json.dumps({name: value if value is None else str(value) for name, value in asdict(wanted).items()})
    with (folder / "keeper.log").open("ab") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.keeper", str(folder), spec],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
            start_new_session=True,
            text=True,
        )
    try:
        outcome = _listen(keeper, say)
    except BaseException:
        keeper.terminate()
        keeper.wait()
        raise
    if isinstance(outcome, StackAddresses):
        return outcome
    keeper.wait()
    raise UserError(outcome or f"The local stack ended while it started; see {folder / 'keeper.log'}.")


def _listen(keeper: subprocess.Popen[str], say: Callable[[str], None]) -> StackAddresses | str:
    """The addresses that a keeper reports, or its error; the empty string where it ended without a word."""
    assert keeper.stdout is not None
    with keeper.stdout as lines:
        for line in lines:
            match json.loads(line):
                case {"say": str(sentence)}:
                    say(sentence)
                case {"up": dict(addresses)}:
                    return StackAddresses(**addresses)
                case {"error": str(sentence)}:
                    return sentence
    return ""
