"""What the demo shows while it runs: a live table on a terminal, a line every few seconds elsewhere."""

import contextlib
import time
from collections.abc import Iterator
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from deploy.local.members import Member
from deploy.local.watch import Watch

LINE_EVERY_S: Final = 5.0
TEXT_WIDTH: Final = 78


class Screen:
    """Reads the members' own metrics, as an operator's dashboard would."""

    def __init__(self, console: Console, group: list[Member], watch: Watch, count: int) -> None:
        self._console = console
        self._group = group
        self._watch = watch
        self._count = count
        self._live = Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else None
        self._begun = self._line_at = time.monotonic()
        self._before: dict[str, tuple[float, float]] = {}

    @contextlib.contextmanager
    def shown(self) -> Iterator["Screen"]:
        if self._live is not None:
            self._live.start()
        try:
            yield self
        finally:
            self.close()

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()

    def refresh(self, rows: int) -> None:
        """Show the state now; `rows` are those in ClickHouse."""
        samples = {member.name: member.samples() for member in self._group}
        if self._live is not None:
            self._live.update(Group(self._members(samples), self._totals(rows), self._examples()), refresh=True)
        elif time.monotonic() - self._line_at >= LINE_EVERY_S:
            self._line_at = time.monotonic()
            lag = sum(values.get("smsift_lag", 0) for name, values in samples.items() if name != "sink")
            self._console.print(
                f"{time.monotonic() - self._begun:5.0f} s  outcomes {self._watch.outcomes}/{self._count}  rows {rows}  "
                f"lag {lag:.0f}  p50 {self._watch.percentile_ms(50):.0f} ms  p99 {self._watch.percentile_ms(99):.0f} ms",
                highlight=False,
            )

    def _members(self, samples: dict[str, dict[str, float]]) -> Table:
        table = Table("member", title="smsift demo", title_justify="left")
        for column in ("partitions", "messages/s", "spam", "ham", "dead", "rows", "lag", "memory MB"):
            table.add_column(column, justify="right")
        for name, values in samples.items():
            outcomes = [values.get(f"smsift_records_total.{outcome}", 0.0) for outcome in ("spam", "ham", "dead")]
            rows = values.get("smsift_rows_total", 0.0)
            table.add_row(
                name,
                f"{values.get('smsift_assigned_partitions', 0):.0f}",
                f"{self._rate(name, sum(outcomes) + rows):.0f}",
                *(f"{number:.0f}" if name != "sink" else "" for number in outcomes),
                f"{rows:.0f}" if name == "sink" else "",
                f"{values.get('smsift_lag', 0):.0f}",
                f"{self._memory_mb(values):.0f}",
            )
        return table

    @staticmethod
    def _memory_mb(values: dict[str, float]) -> float:
        return values.get("process_resident_memory_bytes", 0.0) / 1e6

    def _rate(self, name: str, total: float) -> float:
        now = time.monotonic()
        then, before = self._before.get(name, (now, total))
        if now - then >= 1.0 or name not in self._before:
            self._before[name] = (now, total)
        return (total - before) / (now - then) if now > then else 0.0

    def _totals(self, rows: int) -> Table:
        watch = self._watch
        table = Table.grid(padding=(0, 2))
        table.add_row(
            f"outcomes {watch.outcomes}/{self._count}",
            f"rows in ClickHouse {rows}",
            f"event → committed verdict p50 {watch.percentile_ms(50):.0f} ms, p99 {watch.percentile_ms(99):.0f} ms",
            f"right {watch.right}/{watch.judged}",
        )
        return table

    def _examples(self) -> Table:
        table = Table("label", "score", "action", "text", show_edge=False)
        for label, verdicts in self._watch.examples.items():
            for verdict in list(verdicts):
                text = " ".join(str(verdict["text"] or "").split())[:TEXT_WIDTH]
                colour = "red" if label == "spam" else "green"
                table.add_row(f"[{colour}]{label}[/]", f"{verdict['score']:.3f}", verdict["action"], escape(text))
        return table
