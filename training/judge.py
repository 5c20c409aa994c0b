"""From a model folder and labelled files to an evaluation: what `smsift evaluate` does."""

import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from consumer.classifier.artifact import Artifact
from consumer.classifier.normalise import normalise
from consumer.settings import Settings
from schemas.corpus import CorpusSpec
from schemas.errors import UserError
from training import corpora, snapshots
from training.data import Example, Splits
from training.evaluate import Evaluation, evaluate
from training.scorer import Scorer, load_scorer, untuned
from training.variants import clusters_of

log = logging.getLogger("smsift.evaluation")

UNTUNED: Final = "untuned"
_CALIBRATION_ROWS: Final = 400


def judge_files(
    settings: Settings,
    model: str | None,
    files: Sequence[CorpusSpec],
    *,
    before: str | None = UNTUNED,
    attacks: Sequence[str] | None = None,
    distinct: bool = False,
    seed: int = 0,
) -> Evaluation:
    """Judge a model folder (None: the champion, else the shipped model) on every labelled row of the files.

    `before`: UNTUNED, another model folder, or None. `attacks`: their names; None: all. `distinct`: one row per cluster
    of near-duplicates. Raises UserError where model, base or a file is not usable.
    """
    parts = read_parts(files, settings, distinct=distinct)  # first: a wrong file is told before a model is loaded
    if settings.threads:
        import torch

        torch.set_num_threads(settings.threads)
    artifact, scorer = load_scorer(_folder(settings, model), settings.base, settings.device)
    splits = _splits(settings, artifact)
    return evaluate(
        scorer,
        parts,
        before=_before(before, artifact, splits, parts, settings, seed),
        training=None if splits is None else splits.train,
        attacks=attacks,
        seed=seed,
    )


def read_parts(
    files: Sequence[CorpusSpec], settings: Settings, *, distinct: bool = False
) -> dict[str, Sequence[Example]]:
    """Read labelled files by name, every row of them. Raises UserError where one cannot be read."""
    parts: dict[str, Sequence[Example]] = {}
    for spec in files:
        name = spec.name if spec.name not in parts else f"{spec.name} ({len(parts) + 1})"
        messages, left_out = corpora.read(spec, settings)
        if left_out:
            log.warning("rows of %s were left out: %s", name, dict(left_out))
        parts[name] = [
            Example(normalise(each.text).text, each.text, each.label, name, each.country, each.language, each.category)
            for each in messages
        ]
    return _first_of_clusters(parts) if distinct else parts


def _first_of_clusters(parts: dict[str, Sequence[Example]]) -> dict[str, Sequence[Example]]:
    examples = [each for part in parts.values() for each in part]
    first: dict[int, int] = {}
    for i, cluster in enumerate(clusters_of([each.text for each in examples])):
        first.setdefault(cluster, i)
    kept: dict[str, list[Example]] = {name: [] for name in parts}
    for i in first.values():
        kept[examples[i].source].append(examples[i])
    return {name: part for name, part in kept.items() if part}


def _folder(settings: Settings, model: str | None) -> Path:
    from consumer.classifier.model import DEFAULT_MODEL
    from consumer.classifier.models_folder import chosen

    return chosen(model or settings.model, settings.models_folder, settings.models_cache) or DEFAULT_MODEL


def _splits(settings: Settings, artifact: Artifact) -> Splits | None:
    """The splits that the model was made from, where the data store has them."""
    try:
        return snapshots.pull(settings.data_folder, artifact.manifest.data_version)
    except UserError:
        return None


def _before(
    before: str | None,
    artifact: Artifact,
    splits: Splits | None,
    parts: dict[str, Sequence[Example]],
    settings: Settings,
    seed: int,
) -> Scorer | None:
    if before is None:
        return None
    if before != UNTUNED:
        other, scorer = load_scorer(Path(before), settings.base, settings.device)
        return replace(scorer, name=f"before: {other.manifest.name} {other.manifest.version}")
    known, note = [each for part in parts.values() for each in part], "calibrated on some of these very texts"
    if splits is not None:
        known, note = list(splits.validation), "calibrated on the model's own validation split"
    known = random.Random(seed).sample(known, min(len(known), _CALIBRATION_ROWS))
    if {each.label for each in known} != {"spam", "ham"}:
        return None  # nothing could be calibrated
    try:
        return untuned(artifact, settings.base, known, device=settings.device, note=note)
    except UserError as error:
        log.warning("the model before tuning is left out: %s", error)
        return None
