"""A whole training run: the model folder, its report, the snapshot of its data and the line in the log of runs."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from consumer.classifier.artifact import Artifact
from consumer.settings import Settings
from schemas.errors import UserError
from training.data import Splits
from training.precision import processes
from training.recipe import Recipe
from training.train import train_on

log = logging.getLogger("smsift.training")

REPORT: Final = "report"
"""Folder within the model's: the manifest does not list it, so it is never loaded."""
Options = Mapping[str, str | int | float | list[str]]


@dataclass(frozen=True, slots=True)
class Run:
    """What every run of a command shares."""

    settings: Settings
    seed: int = 0
    base: str | None = None
    """Folder or hub id; None: as the recipe says."""
    max_steps: int | None = None
    report: bool = True
    """Judge the model in full at the end: slices, attacks, intervals, what it was before tuning."""
    data: Options | None = None
    """What made the splits, for their snapshot."""
    parent: str | None = None
    """Run of the log under which this one is nested."""
    say: Callable[[str], None] = log.info


def run(recipe: Recipe, splits: Splits, out: Path, how: Run) -> Artifact:
    """Train, save, judge, keep the data and log the run. What comes after the model is saved is told, not raised."""
    token = how.settings.hub_token
    made = train_on(
        recipe,
        splits,
        out,
        seed=how.seed,
        base=how.base,
        max_steps=how.max_steps,
        hub_token=token.get_secret_value() if token else None,
        say=how.say,
    )
    if not processes().is_main_process:
        return made
    for step in (_keep_data, _report):  # each whether or not the one before could be done
        try:
            step(made, splits, how)
        except (UserError, OSError) as error:
            log.warning("%s", error)
        except (torch.OutOfMemoryError, MemoryError):
            log.warning("the memory does not suffice for a report: write it with `smsift evaluate`")
    from training.tracking import log_run

    log_run(
        how.settings.mlflow_uri,
        made,
        recipe.parameters(),
        splits.version,
        made.manifest.metrics,
        made.folder / REPORT,
        parent=how.parent,
    )
    return made


def _keep_data(_: Artifact, splits: Splits, how: Run) -> None:
    from training.snapshots import add

    add(how.settings.data_folder, splits, how.data)


def _report(made: Artifact, splits: Splits, how: Run) -> None:
    from consumer.classifier.model import load_engine
    from training.evaluate import evaluate
    from training.report import HTML, write_report
    from training.scorer import Scorer, untuned

    if not how.report or not splits.tests:
        return
    from training.attacks import ATTACKS

    texts = sum(map(len, splits.tests.values()))
    how.say(
        f"saved {made.folder}; judging {texts:,} texts, and a sample of them under {len(ATTACKS)} attacks "
        "(--no-report leaves this out)"
    )
    device = how.settings.device
    evaluation = evaluate(
        Scorer.of(made, load_engine(made, how.base, device)),
        splits.tests,
        before=untuned(made, how.base, splits.validation, device=device),
        training=splits.train,
        seed=how.seed,
    )
    write_report(evaluation, made.folder / REPORT)
    how.say(f"report: {made.folder / REPORT / HTML}")
