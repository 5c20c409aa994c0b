"""From corpora to a model folder: split, tune, merge, calibrate, judge, save."""

import importlib.metadata
import json
import logging
import resource
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import transformers
from safetensors.torch import save as save_tensors
from tokenizers import Tokenizer
from torch import Tensor

from consumer.classifier.artifact import (
    ADAPTER,
    CONFIG,
    TOKENIZER,
    Artifact,
    Calibration,
    File,
    Manifest,
    Quantisation,
    Review,
    save,
)
from consumer.classifier.base import WEIGHTS, find_base
from consumer.classifier.engine import Engine
from consumer.classifier.merge import merged_weights
from consumer.classifier.model import build_engine, calibrated
from consumer.classifier.normalise import NORMALISER_VERSION
from schemas.errors import UserError
from training import qlora
from training.calibrate import choose_review, choose_threshold, fit_platt
from training.data import Example, Splits, split_corpora
from training.evaluate import Metrics, metrics
from training.recipe import Recipe

log = logging.getLogger(__name__)

Merge = Literal["dequantised", "full_precision"]
_LIBRARIES: Final = ("torch", "transformers", "peft", "bitsandbytes", "safetensors", "tokenizers")


@dataclass(frozen=True, slots=True)
class CorpusSpec:
    """A labelled file, or a hub data set (owner/name); columns are None where the reader can tell them itself."""

    spec: str | Path
    text_column: str | None = None
    label_column: str | None = None

    @property
    def name(self) -> str:
        return Path(self.spec).stem


def train(
    recipe: Recipe,
    data: Sequence[CorpusSpec],
    out: Path,
    *,
    held_out: Sequence[CorpusSpec] = (),
    seed: int = 0,
    base: str | None = None,
    version: str | None = None,
    max_steps: int | None = None,
) -> Artifact:
    """Make a model folder at `out` (empty or absent) from the corpora in `data` and return it, verified.

    A part of the near-duplicate clusters of `data` and all of `held_out` are only tested on; the manifest carries the
    metrics of each corpus. `base` overrides where the base model is looked for. `version` is by default the UTC time.
    `max_steps` ends training early, for a trial. Raises UserError where corpora, base or `out` are not usable.
    """
    if not data:
        raise UserError("Training needs at least one corpus: give --data PATH.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty: choose another folder for the model.")
    splits = split_corpora(
        _read(data),
        _read(held_out),
        validation_share=recipe.validation_share,
        test_share=recipe.test_share,
        seed=seed,
    )
    log.info("training on %d texts, dropped %s", len(splits.train), splits.dropped)
    return train_on(recipe, splits, out, seed=seed, base=base, version=version, max_steps=max_steps)


def train_on(
    recipe: Recipe,
    splits: Splits,
    out: Path,
    *,
    seed: int = 0,
    base: str | None = None,
    version: str | None = None,
    max_steps: int | None = None,
) -> Artifact:
    """Like `train`, for corpora that are read and split already."""
    started, created = time.monotonic(), datetime.now(UTC)
    folder = find_base(recipe.base_model, base)
    transformers.set_seed(seed)
    tuned = qlora.prepare(folder, recipe)
    tokenizer = qlora.load_tokenizer(folder)
    with tempfile.TemporaryDirectory() as work:
        steps = qlora.fit(
            tuned,
            tokenizer,
            [each.text for each in splits.train],
            [each.label for each in splits.train],
            recipe,
            seed=seed,
            work=Path(work),
            max_steps=max_steps,
        )
    adapter = qlora.adapter_tensors(tuned.model)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    tokenizer_file = (folder / TOKENIZER).read_bytes()
    served = _choose_merge(folder, config, tokenizer_file, adapter, tuned.quantisation, recipe, splits.validation)
    judged = {"validation": splits.validation, **splits.tests}
    report = {name: _judge(served, part) for name, part in judged.items()}
    facts: dict[str, str | float | int] = {
        "seconds": round(time.monotonic() - started, 1),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "steps": steps,
        "texts": len(splits.train),
        "spam": sum(each.label == "spam" for each in splits.train),
        "trainable_parameters": tuned.trainable_parameters,
        "adapter_bytes": sum(tensor.nbytes for tensor in adapter.values()),
    }

    def manifest(files: dict[str, File]) -> Manifest:
        return Manifest(
            name=recipe.name,
            version=version or created.strftime("%Y%m%d.%H%M%S"),
            recipe=recipe.name,
            created=created,
            architecture="bert",
            base=recipe.base_model,
            labels=qlora.LABELS,
            max_length=recipe.max_length,
            lora=recipe.lora,
            quantisation=tuned.quantisation,
            merge=served.merge,
            calibration=served.calibration,
            threshold=served.threshold,
            review=served.review,
            normaliser_version=NORMALISER_VERSION,
            data_version=splits.version,
            seed=seed,
            metrics=report,
            training=facts,
            libraries={name: importlib.metadata.version(name) for name in _LIBRARIES},
            files=files,
        )

    parts = {ADAPTER: save_tensors(adapter), CONFIG: (folder / CONFIG).read_bytes(), TOKENIZER: tokenizer_file}
    return save(out, parts, manifest)


@dataclass(frozen=True, slots=True)
class _Served:
    """The engine as it will serve, and the decision fitted to its margins."""

    engine: Engine
    merge: Merge
    calibration: Calibration
    threshold: float
    review: Review
    nll: float


def _choose_merge(
    folder: Path,
    config: dict[str, Any],
    tokenizer_file: bytes,
    adapter: dict[str, Tensor],
    quantisation: Quantisation | None,
    recipe: Recipe,
    validation: Sequence[Example],
) -> _Served:
    """Serve from the weights that explain validation better.

    On a tie within 1 % full precision wins: nothing has to be quantised at start, so it loads faster.
    """
    is_spam = [each.label == "spam" for each in validation]
    candidates: list[_Served] = []
    ways: list[tuple[Merge, Quantisation | None]] = [("full_precision", None)]
    if quantisation is not None:
        ways.append(("dequantised", quantisation))
    for merge, through in ways:
        weights = merged_weights(folder / WEIGHTS, adapter, recipe.lora, through)
        engine = build_engine(
            config, weights, Tokenizer.from_buffer(tokenizer_file), max_length=recipe.max_length, labels=qlora.LABELS
        )
        margins = [each.margin for each in engine.read([each.text for each in validation])]
        calibration = fit_platt(margins, is_spam)
        scores = [calibrated(margin, calibration) for margin in margins]
        threshold = choose_threshold(scores, is_spam, recipe.fpr_budget)
        review = choose_review(scores, threshold, recipe.review_share)
        nll = metrics(scores, is_spam, threshold)["nll"] or 0.0
        candidates.append(_Served(engine, merge, calibration, threshold, review, nll))
        log.info("merged %s: validation NLL %.4f", merge, nll)
    first, *others = candidates
    return next((other for other in others if other.nll < 0.99 * first.nll), first)


def _judge(served: _Served, examples: Sequence[Example]) -> Metrics:
    readings = served.engine.read([each.text for each in examples])
    scores = [calibrated(reading.margin, served.calibration) for reading in readings]
    return metrics(scores, [each.label == "spam" for each in examples], served.threshold)


def _read(paths: Sequence[CorpusSpec]) -> Mapping[str, Iterable[tuple[str, str]]]:
    from schemas.corpus import read_corpus

    corpora: dict[str, list[tuple[str, str]]] = {}
    for corpus in paths:
        if corpus.name in corpora:
            raise UserError(f"Two corpora are named {corpus.name}: rename one, its metrics go by that name.")
        rows = read_corpus(corpus.spec, corpus.text_column, corpus.label_column)
        corpora[corpus.name] = [(row.text, row.label) for row in rows]
    return corpora
