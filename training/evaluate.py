"""What a model is worth: on labelled texts, beside what it came from and a simple floor, in slices and under attack."""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from training.bootstrap import SAMPLES, Interval, interval, intervals
from training.data import Example, text_key
from training.floor import naive_bayes
from training.metrics import Floats, Metrics, Scores, expected_calibration_error, log_losses, measure, metrics
from training.scorer import Scorer
from training.slices import traits_of
from training.variants import clusters_of

if TYPE_CHECKING:
    from training.robustness import Attacked

__all__ = [
    "Evaluation",
    "Measured",
    "Metrics",
    "Prediction",
    "Scorer",
    "Scores",
    "evaluate",
    "expected_calibration_error",
    "interval",
    "metrics",
]

MOST_CLUSTERED: Final = 50_000
"""Texts up to which near-duplicates are looked for: about 20 s of one core."""
BEFORE_ROWS: Final = 500
"""Texts on which the untuned network is judged; both models are compared on these."""
ATTACKED_SPAM: Final = 300
ATTACKED_HAM: Final = 600
SHOWN_ERRORS: Final = 200
SHOWN_SAMPLES: Final = 12


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of a table: some model on some texts."""

    name: str
    note: str
    """What a reader must know to compare it, e.g. what it was trained on; may be empty."""
    scores: Scores
    metrics: Metrics
    intervals: Mapping[str, Interval]

    @classmethod
    def by(cls, name: str, scores: Scores, *, note: str = "", samples: int = SAMPLES, seed: int = 0) -> "Measured":
        """Measure `scores`, with intervals from `samples` draws; 0: none."""
        return cls(name, note, scores, measure(scores), intervals(scores, samples, seed) if samples else {})

    def as_json(self) -> dict[str, Any]:
        """Metrics at the top level, intervals under their own key."""
        found: dict[str, Any] = dict(self.metrics)
        if self.note:
            found["note"] = self.note
        if self.intervals:
            found["intervals"] = {name: list(bounds) for name, bounds in self.intervals.items()}
        return found


@dataclass(frozen=True, slots=True)
class Slice:
    """The model on the texts that share a trait."""

    trait: str
    value: str
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class Prediction:
    """One text with its truth and its score. Holds the text: what is shown of it is the report's business."""

    source: str
    row: int
    """Its place among the labelled messages of its source, from 1."""
    text: str
    """As given."""
    is_spam: bool
    p: float
    """P(spam)."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that a report shows."""

    model: Scorer
    overall: Measured
    """All texts together."""
    parts: Mapping[str, Measured]
    """Per data set."""
    peers: tuple[Measured, ...]
    """For comparison, where they could be made: the model before tuning beside itself on the same texts, naive Bayes."""
    slices: tuple[Slice, ...]
    attacks: "tuple[Attacked, ...]"
    """Empty where they were not asked for."""
    samples: tuple[Prediction, ...]
    """Drawn by the seed."""
    errors: tuple[Prediction, ...]
    """Wrong labels, the most confident first, at most SHOWN_ERRORS."""
    unit: str
    """What the bootstrap draws: near-duplicate clusters, or texts."""
    seed: int
    seconds: float
    """Wall time of scoring the texts, without attacks and peers."""
    trained_on: int | None
    """Texts that the model was trained on; None where its training split is not at hand."""

    @property
    def caution(self) -> str | None:
        """What a reader must know before any of the figures, if anything."""
        if not self.trained_on:
            return None
        return (
            f"{self.trained_on:,} of {len(self.overall.scores):,} texts were trained on: "
            "these figures flatter the model"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the metrics of all texts at the top level and the rest under keys. Holds no message text."""
        return {
            **self.overall.as_json(),
            "trained_on": self.trained_on,
            "threshold": self.model.threshold,
            "model": {"name": self.model.name, **self.model.facts},
            "bootstrap": {"draws": SAMPLES, "level": 0.95, "unit": self.unit, "seed": self.seed},
            "texts_per_second": round(len(self.overall.scores) / self.seconds, 1) if self.seconds else None,
            "data": {name: judged.as_json() for name, judged in self.parts.items()},
            "peers": {judged.name: judged.as_json() for judged in self.peers},
            "slices": [{"trait": each.trait, "value": each.value, **each.metrics} for each in self.slices],
            "attacks": [each.as_json() for each in self.attacks],
        }


def evaluate(
    model: Scorer,
    parts: Mapping[str, Sequence[Example]],
    *,
    before: Scorer | None = None,
    training: Sequence[Example] | None = None,
    attacks: Sequence[str] | None = None,
    seed: int = 0,
    samples: int = SAMPLES,
    floor: bool = True,
) -> Evaluation:
    """Judge `model` on every text of the data sets in `parts` (by name; at least one text in all).

    `before`: another model to put beside it, on at most BEFORE_ROWS texts. `training`: the model's training split,
    where it is at hand: naive Bayes learns from it (else it is cross-validated on the texts themselves), and the texts
    known from it become a slice. `attacks`: names of training.attacks, run on a seeded sample; None: all. `samples`: draws
    of the bootstrap, 0 for no intervals. Raises ValueError where there are no texts.
    """
    from training.attacks import ATTACKS
    from training.robustness import under_attack

    attacks = ATTACKS if attacks is None else attacks
    examples = [example for part in parts.values() for example in part]
    if not examples:
        raise ValueError("there are no texts to judge")
    draw = random.Random(seed)
    started = time.perf_counter()
    p = model.score([each.text for each in examples])
    seconds = time.perf_counter() - started
    texts = [each.text for each in examples]
    clusters = clusters_of(texts) if len(texts) <= MOST_CLUSTERED else None
    is_spam = np.array([each.label == "spam" for each in examples])
    scores = Scores.of(p, is_spam, model.threshold, clusters)

    predictions = _predictions(parts, p)

    def judge(name: str, some: Scores, note: str = "") -> Measured:
        return Measured.by(name, some, note=note, samples=samples, seed=seed)

    overall = judge(model.name, scores)
    keys = None if training is None else frozenset(text_key(each.text) for each in training)
    known = None if keys is None else [text_key(text) in keys for text in texts]
    judged, start = {}, 0
    for name, part in parts.items():
        judged[name] = judge(name, scores.take(np.arange(start, start + len(part)))) if len(parts) > 1 else overall
        start += len(part)
    peers: list[Measured] = []
    if before is not None:
        rows = _pick(range(len(texts)), BEFORE_ROWS, draw)
        note = "" if len(rows) == len(texts) else f"on a seeded sample of {len(rows):,} texts"
        notes = "; ".join(each for each in (note, before.facts.get("note", "")) if each)
        after = scores.take(rows)
        untuned = replace(after, p=before.score([texts[i] for i in rows]), threshold=before.threshold)
        peers += [judge(before.name, untuned, notes), judge("after tuning", after, note)]
    if floor and (found := naive_bayes(examples, clusters, training, seed)) is not None:
        peers.append(judge("naive Bayes", Scores(found.p, is_spam, 0.5, scores.clusters), found.note))
    attacked = [
        examples[i]
        for wanted, most in ((True, ATTACKED_SPAM), (False, ATTACKED_HAM))
        for i in _pick(np.flatnonzero(is_spam == wanted).tolist(), most, draw)
    ]
    return Evaluation(
        model=model,
        overall=overall,
        parts=judged,
        peers=tuple(peers),
        slices=tuple(_slices(examples, scores, known)),
        attacks=tuple(under_attack(model.score, model.threshold, attacked, attacks, seed)) if attacks else (),
        samples=tuple(predictions[i] for i in _pick(range(len(texts)), SHOWN_SAMPLES, draw)),
        errors=tuple(predictions[i] for i in _worst_first(scores)[:SHOWN_ERRORS]),
        unit="texts" if clusters is None else "near-duplicate clusters",
        seed=seed,
        seconds=seconds,
        trained_on=None if known is None else sum(known),
    )


def _predictions(parts: Mapping[str, Sequence[Example]], p: Floats) -> list[Prediction]:
    placed = [(source, row, each) for source, part in parts.items() for row, each in enumerate(part, 1)]
    return [
        Prediction(source, row, each.original, each.label == "spam", score)
        for (source, row, each), score in zip(placed, p.tolist(), strict=True)
    ]


def _slices(examples: Sequence[Example], scores: Scores, known: Sequence[bool] | None) -> list[Slice]:
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, example in enumerate(examples):
        for pair in traits_of(example):
            rows[pair].append(i)
        if known is not None:
            rows["in the training split", "yes" if known[i] else "no"].append(i)
    traits = Counter(trait for trait, _ in rows)
    # A trait that all texts share tells nothing that the table of all texts does not.
    return [Slice(*pair, measure(scores.take(chosen))) for pair, chosen in rows.items() if traits[pair[0]] > 1]


def _worst_first(scores: Scores) -> list[int]:
    """Indices of the wrong labels, the most confident first."""
    wrong = np.flatnonzero(scores.said != scores.is_spam)
    return [int(i) for i in wrong[np.argsort(-log_losses(scores)[wrong], kind="stable")]]


def _pick(rows: Sequence[int], most: int, draw: random.Random) -> list[int]:
    return list(rows) if len(rows) <= most else sorted(draw.sample(rows, most))
