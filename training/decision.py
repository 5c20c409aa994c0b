"""From trained weights to the engine that will serve them, with the decision fitted to its margins."""

import gc
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer
from torch import Tensor

from consumer.classifier.architecture import architecture_of
from consumer.classifier.artifact import Calibration, Quantisation, Review
from consumer.classifier.base import WEIGHTS
from consumer.classifier.engine import Engine
from consumer.classifier.merge import merged_weights
from consumer.classifier.model import build_engine, calibrated
from training.calibrate import choose_review, choose_threshold, fit_platt
from training.data import Example
from training.metrics import Metrics, metrics
from training.qlora import LABELS
from training.recipe import Recipe

log = logging.getLogger("smsift.training")

Merge = Literal["dequantised", "full_precision"]


@dataclass(frozen=True, slots=True)
class Decided:
    """An engine as it will serve, and what was chosen on validation."""

    engine: Engine
    merge: Merge
    calibration: Calibration
    threshold: float
    review: Review
    nll: float

    def judge(self, examples: Sequence[Example]) -> Metrics:
        readings = self.engine.read([each.text for each in examples])
        scores = [calibrated(reading.margin, self.calibration) for reading in readings]
        return metrics(scores, [each.label == "spam" for each in examples], self.threshold)


def decide(
    base: Path,
    config: dict[str, Any],
    tokenizer: bytes,
    trained: dict[str, Tensor],
    quantisation: Quantisation | None,
    recipe: Recipe,
    validation: Sequence[Example],
    shift: float = 0.0,
) -> Decided:
    """Fit calibration, threshold and review band on `validation`, which needs both classes.

    `shift` is what training's balance of the classes has added to every margin; see `prior_shift`.

    Where training quantised the base, serve from the weights that explain validation better: those that training saw, or
    the base's own. On a tie within 1 % full precision wins: nothing has to be quantised at start, so it loads faster.
    """
    best: Decided | None = None
    for merge, weights in _served_weights(base, config, trained, quantisation, recipe):
        engine = build_engine(
            config, weights, Tokenizer.from_buffer(tokenizer), max_length=recipe.max_length, labels=LABELS
        )
        found = _fit(engine, merge, recipe, shift, validation)
        log.info("merged %s: validation NLL %.4f", merge, found.nll)
        if best is None or found.nll < 0.99 * best.nll:
            best = found
        del engine, weights, found
        gc.collect()  # a large network that lost the comparison leaves the device before the next one comes
    assert best is not None  # there is at least one way to serve
    return best


def prior_shift(found: Sequence[Example], trained_on: Sequence[Example], *, weighted: bool) -> float:
    """What classes weighed by the inverse of their frequency, or copies of one, add to every margin over the data's own.

    For weights alone it is log(weight of spam / weight of ham).
    """
    return (0.0 if weighted else _prior(trained_on)) - _prior(found)


def _prior(examples: Sequence[Example]) -> float:
    spam = sum(each.label == "spam" for each in examples)
    return math.log(spam / (len(examples) - spam))


def _served_weights(
    base: Path,
    config: dict[str, Any],
    trained: dict[str, Tensor],
    quantisation: Quantisation | None,
    recipe: Recipe,
) -> Iterator[tuple[Merge, dict[str, Tensor]]]:
    if recipe.adapter is None:
        yield "full_precision", trained
        return
    architecture = architecture_of(config)
    yield "full_precision", merged_weights(base / WEIGHTS, trained, recipe.adapter, None, architecture)
    if quantisation is not None:
        yield "dequantised", merged_weights(base / WEIGHTS, trained, recipe.adapter, quantisation, architecture)


def _fit(engine: Engine, merge: Merge, recipe: Recipe, shift: float, validation: Sequence[Example]) -> Decided:
    is_spam = [each.label == "spam" for each in validation]
    margins = [each.margin for each in engine.read([each.text for each in validation])]
    calibration = fit_platt(margins, is_spam, shift)
    scores = [calibrated(margin, calibration) for margin in margins]
    threshold = choose_threshold(scores, is_spam, recipe.decision.fpr_budget)
    review = choose_review(scores, threshold, recipe.decision.review_share)
    return Decided(engine, merge, calibration, threshold, review, metrics(scores, is_spam, threshold)["nll"] or 0.0)
