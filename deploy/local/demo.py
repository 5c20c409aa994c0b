"""The demo: the whole system on this machine, watched while it works and checked when it is done.

stack ─ filters (one group, a process each) ─ sink
^ simulated traffic                           └ every record counted: topics, then ClickHouse
"""

import contextlib
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, Final

from rich.console import Console

from consumer.clickhouse import connect
from consumer.kafka_clients import ensure_topics
from consumer.settings import Settings, load_settings
from deploy.local import stack
from deploy.local.members import Member, members
from deploy.local.screen import Screen
from deploy.local.watch import Watch
from producer_sim import traffic
from producer_sim.corpus import open_corpus
from producer_sim.verify import Verification, end_offsets, verify
from schemas.clickhouse.migrate import migrate
from schemas.errors import UserError

EXIT_WRONG: Final = 1
MALFORMED: Final = 0.004  # a dozen of three thousand: enough to see what becomes of them
SETTLE_S: Final = 60.0  # without any progress for so long, what is missing is called lost
REFRESH_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """What the demo shows; `corpus` of None is the built-in one."""

    count: int
    rate: float
    filters: int
    corpus: str | None
    seed: int
    keep: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out, in the words of the closing line."""

    checked: Verification
    rows: int
    right: int
    judged: int
    false_positives: int
    p99_ms: float

    @property
    def lost(self) -> int:
        """Records without an outcome on the topics, or without a row in ClickHouse."""
        return self.checked.lost + max(0, self.checked.verdicts + self.checked.dead - self.rows)

    @property
    def duplicated(self) -> int:
        return self.checked.duplicated + max(0, self.rows - self.checked.verdicts - self.checked.dead)

    @property
    def good(self) -> bool:
        return not (self.lost or self.duplicated) and self.checked.ok

    def line(self, *, with_false_positives: bool) -> str:
        """The closing line, for people and scripts."""
        checked = self.checked
        line = (
            f"demo: events={checked.events} verdicts={checked.verdicts} spam={checked.spam} ham={checked.ham} "
            f"dead={checked.dead} rows={self.rows} lost={self.lost} duplicated={self.duplicated} "
            f"accuracy={self.right / max(1, self.judged):.3f} p99_ms={self.p99_ms:.0f}"
        )
        return f"{line} false_positives={self.false_positives}" if with_false_positives else line


def run_demo(settings: Settings, plan: Plan) -> int:
    """Run it and return the exit code: 0 only if every record had one outcome and one row.

    Raises UserError where the stack, a service or the corpus cannot be had.
    """
    console = Console()
    corpus = open_corpus(plan.corpus, plan.seed)  # before anything is started: its path may be wrong
    with contextlib.ExitStack() as ending:
        folder = (
            settings.local_dir.absolute() / "demo" if plan.keep else Path(ending.enter_context(TemporaryDirectory()))
        )
        folder.mkdir(parents=True, exist_ok=True)
        addresses = (
            stack.up(settings, say=console.print)
            if plan.keep
            else ending.enter_context(stack.running(settings, say=console.print))
        )
        if addresses.warning:
            console.print(f"[yellow]{addresses.warning}[/]")
        here = load_settings(
            local_dir=settings.local_dir,
            bootstrap_servers=addresses.bootstrap_servers,
            clickhouse_url=addresses.clickhouse_url,
        )
        outcome = _play(here, plan, corpus, console, folder, ending)
    if plan.keep:
        console.print('The stack stays: try `smsift tail spam --from-start`, `smsift query "…"`, and `smsift down`.')
    print(outcome.line(with_false_positives=plan.corpus is not None), flush=True)
    return 0 if outcome.good else EXIT_WRONG


def _play(
    settings: Settings, plan: Plan, corpus: Iterator[Any], console: Console, folder: Path, ending: contextlib.ExitStack
) -> Outcome:
    ensure_topics(settings)
    client = connect(settings)
    migrate(client, settings.clickhouse_database)
    start = end_offsets(settings.require_bootstrap_servers(), settings.topics, settings.kafka)
    console.print(f"Starting {plan.filters} filter(s) of one group and a sink; their logs are in {folder}.")
    group = ending.enter_context(members(settings, plan.filters, folder))
    watch = ending.enter_context(Watch(settings, start).running())
    screen = ending.enter_context(Screen(console, group, watch, plan.count).shown())
    stop = ending.enter_context(traffic.stopped_by_signals())
    sent = ending.enter_context(_sending(settings, plan, corpus, watch, stop))
    rows = _wait_until_done(settings, client, group, watch, sent, screen, stop)
    screen.close()
    checked = verify(settings.require_bootstrap_servers(), settings.topics, settings.kafka, start=start)
    client.close()
    return Outcome(checked, rows, watch.right, watch.judged, watch.false_positives, watch.percentile_ms(99))


@contextlib.contextmanager
def _sending(
    settings: Settings, plan: Plan, corpus: Iterator[Any], watch: Watch, stop: Event
) -> Iterator["Future[traffic.Report]"]:
    schedule = traffic.Plan(
        rate=plan.rate, count=plan.count, seed=plan.seed, run=f"demo-{uuid.uuid4().hex[:8]}", malformed=MALFORMED
    )
    with ThreadPoolExecutor(max_workers=1) as worker:
        try:
            yield worker.submit(
                traffic.simulate,
                schedule,
                corpus,
                settings.require_bootstrap_servers(),
                settings.topics,
                settings.kafka,
                label_quality=1.0,
                on_event=watch.expect,
                stop=stop,
            )
        finally:
            stop.set()


def _wait_until_done(
    settings: Settings,
    client: Any,
    group: list[Member],
    watch: Watch,
    sent: "Future[traffic.Report]",
    screen: Screen,
    stop: Event,
) -> int:
    """Until every sent record has its outcome and its row, or nothing moves any more; return the rows."""
    moved_at, before = time.monotonic(), (-1, -1)
    while True:
        for member in group:
            member.raise_if_ended()
        rows = count_rows(client, settings, watch.start_of_inbound)
        screen.refresh(rows)
        if sent.done() and watch.outcomes >= sent.result().sent and rows >= sent.result().sent:
            return rows
        if (watch.outcomes, rows) != before:
            moved_at, before = time.monotonic(), (watch.outcomes, rows)
        if time.monotonic() - moved_at > SETTLE_S:
            return rows
        if stop.is_set():
            raise UserError("The demo was stopped before it was done.")
        time.sleep(REFRESH_S)


def count_rows(client: Any, settings: Settings, start: dict[int, int]) -> int:
    """Raw rows, not FINAL, of verdicts and dead letters about inbound records from `start` on: repeats would show."""
    database, topic = settings.clickhouse_database, settings.topics.inbound
    since = ", ".join(str(start.get(partition, 0)) for partition in range(max(start, default=0) + 1))
    condition = f"source_topic = %(topic)s AND source_offset >= [{since}][source_partition + 1]"
    total = 0
    for table in ("verdicts", "dead_letters"):
        query = f"SELECT count() FROM {database}.{table} WHERE {condition}"  # noqa: S608 - numbers and checked names
        total += int(client.query(query, parameters={"topic": topic}).result_rows[0][0])
    return total
