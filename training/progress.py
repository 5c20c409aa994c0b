"""What one sees of a training run: a bar on a terminal, a line in the log now and then elsewhere."""
# ruff: noqa: ARG002 - the signatures are the Trainer's

import logging
import time
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

log = logging.getLogger("smsift.training")

_LINES = 10
"""Of the log, in a whole run."""


@dataclass(slots=True)
class Tally:
    """Tokens read so far, padding apart."""

    tokens: int = 0


class Progress(TrainerCallback):
    """Show loss, learning rate, tokens a second and the time left, on stderr."""

    def __init__(self, tally: Tally, console: Console | None = None) -> None:
        self._tally = tally
        self._console = console or Console(stderr=True)
        self._bar: Bar | None = None
        self._began = (0.0, 0, 0)
        self._facts: dict[str, float] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._began = (time.monotonic(), state.global_step, self._tally.tokens)
        if state.global_step:
            log.info("going on after step %d of %d", state.global_step, state.max_steps)
        if not state.is_world_process_zero or not self._console.is_terminal:
            return
        self._bar = Bar(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._bar.add_task("", total=state.max_steps, completed=state.global_step, facts="")
        self._bar.start()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._facts |= {name: float(value) for name, value in (logs or {}).items() if name in _SHOWN}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=state.global_step, facts=self._line(state))
        elif state.is_world_process_zero and state.global_step % max(state.max_steps // _LINES, 1) == 0:
            log.info("step %d of %d: %s", state.global_step, state.max_steps, self._line(state, left=True))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _line(self, state: TrainerState, *, left: bool = False) -> str:
        began, first_step, first_token = self._began
        seconds = max(time.monotonic() - began, 1e-9)
        parts = [f"{label} {self._facts[name]:.3g}" for name, label in _SHOWN.items() if name in self._facts]
        parts.append(f"{(self._tally.tokens - first_token) / seconds:,.0f} tokens/s")
        if left:
            remaining = seconds / max(state.global_step - first_step, 1) * (state.max_steps - state.global_step)
            parts.append(f"{remaining:,.0f} s left")
        return ", ".join(parts)


_SHOWN = {"loss": "loss", "learning_rate": "learning rate", "eval_loss": "validation loss"}
