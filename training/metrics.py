"""What a model is worth on labelled texts, in one number each; spam is the positive class.

A number that the file cannot tell is None: recall without spam, FPR without ham, and all that compares the two classes
(precision, F1, AUPRC, recall at a given FPR) where there is only one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Metrics = dict[str, float | int | None]
Floats = NDArray[np.float64]

BINS: Final = 15
"""Bins of the calibration error, of equal numbers of texts."""
FPR_POINTS: Final = {"recall_at_fpr_0.1": 0.001, "recall_at_fpr_1": 0.01}
"""Recall at the best threshold that labels no more than this share of ham as spam (the names say per cent)."""
RATES: Final = ("accuracy", "precision", "recall", "f1", "fpr")
QUALITIES: Final = (*RATES, *FPR_POINTS, "auprc", "nll", "brier", "ece")
"""Every metric but the counts, in the order of reports."""
_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model said of labelled texts, one entry each in the same order."""

    p: Floats
    """Calibrated P(spam), shape (n,)."""
    is_spam: NDArray[np.bool_]
    """The truth, shape (n,)."""
    threshold: float
    """A text is labelled spam from this score on."""
    clusters: NDArray[np.int64] | None = None
    """Near-duplicate cluster of each text, numbered from 0 without gaps, shape (n,); None: each text is its own."""

    @classmethod
    def of(cls, p: ArrayLike, is_spam: ArrayLike, threshold: float, clusters: Sequence[int] | None = None) -> "Scores":
        """Build from plain sequences; clusters may be numbered in any way."""
        numbered = None if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
        return cls(np.asarray(p, dtype=np.float64), np.asarray(is_spam, dtype=bool), threshold, numbered)

    def __len__(self) -> int:
        return len(self.p)

    @property
    def said(self) -> NDArray[np.bool_]:
        """The model's label is spam."""
        return self.p >= self.threshold

    def take(self, rows: ArrayLike) -> "Scores":
        """The scores of some rows (indices, or a mask), in that order."""
        chosen = np.asarray(rows)
        clusters = None if self.clusters is None else np.unique(self.clusters[chosen], return_inverse=True)[1]
        return Scores(self.p[chosen], self.is_spam[chosen], self.threshold, clusters)


def metrics(scores: ArrayLike, is_spam: ArrayLike, threshold: float) -> Metrics:
    """Return counts and qualities of the label `score >= threshold`, rounded to six digits.

    Keys: n, spam, false_positives, false_negatives, then those of QUALITIES.
    """
    return measure(Scores.of(scores, is_spam, threshold))


def measure(scores: Scores) -> Metrics:
    """`metrics` of a `Scores`."""
    truth, said = scores.is_spam, scores.said
    hits, false_alarms = int((said & truth).sum()), int((said & ~truth).sum())
    spam, n = int(truth.sum()), len(scores)
    ham, misses = n - spam, spam - hits
    both = bool(spam and ham)
    qualities: dict[str, float | None] = {
        "accuracy": _ratio(n - false_alarms - misses, n),
        "precision": _ratio(hits, hits + false_alarms) if both else None,
        "recall": _ratio(hits, spam),
        "f1": _ratio(2 * hits, 2 * hits + false_alarms + misses) if both else None,
        "fpr": _ratio(false_alarms, ham),
        **{name: recall_at_fpr(scores, budget) for name, budget in FPR_POINTS.items()},
        "auprc": average_precision(scores),
        "nll": float(log_losses(scores).mean()) if n else None,
        "brier": float(((scores.p - truth) ** 2).mean()) if n else None,
        "ece": expected_calibration_error(scores.p, truth),
    }
    counts: Metrics = {"n": n, "spam": spam, "false_positives": false_alarms, "false_negatives": misses}
    return counts | {name: None if value is None else round(value, 6) for name, value in qualities.items()}


def log_losses(scores: Scores) -> Floats:
    """Negative log-likelihood of each text's label, in nats."""
    p = np.clip(scores.p, _TINY, 1 - _TINY)
    return -np.where(scores.is_spam, np.log(p), np.log1p(-p))


def expected_calibration_error(scores: ArrayLike, is_spam: ArrayLike) -> float | None:
    """Return the mean distance between score and frequency of spam over bins of equal numbers of texts."""
    p, truth = np.asarray(scores, dtype=np.float64), np.asarray(is_spam, dtype=np.float64)
    if not len(p):
        return None
    bins = equal_bins(p)
    return round(float(sum(len(each) * abs(p[each].mean() - truth[each].mean()) for each in bins) / len(p)), 6)


def equal_bins(p: Floats) -> list[NDArray[np.int64]]:
    """Indices of the scores in at most BINS groups of almost equal size, from the lowest scores to the highest.

    Equal scores share the group of the middle one: parted, they would be parted by their order in the file, and a file
    sorted by label would give one score two frequencies.
    """
    parts = np.array_split(p, min(BINS, max(len(p), 1)))
    by_rank = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    _, place, count = np.unique(p, return_inverse=True, return_counts=True)
    middle = np.cumsum(count) - count + (count - 1) // 2
    chosen = by_rank[middle[place]]
    return [np.flatnonzero(chosen == each) for each in np.unique(chosen)]


def operating_points(scores: Scores) -> tuple[Floats, Floats, Floats]:
    """Return thresholds, falling, with the numbers of spam and of ham labelled spam at each; one per distinct score."""
    order = np.argsort(-scores.p, kind="stable")
    p, truth = scores.p[order], scores.is_spam[order]
    last = np.append(np.flatnonzero(np.diff(p)), len(p) - 1) if len(p) else np.array([], dtype=np.int64)
    return p[last], np.cumsum(truth)[last].astype(float), np.cumsum(~truth)[last].astype(float)


def recall_at_fpr(scores: Scores, budget: float) -> float | None:
    """Return the highest recall of any threshold whose FPR is within the budget; None without both classes."""
    _, spam, ham = operating_points(scores)
    if not len(spam) or not spam[-1] or not ham[-1]:
        return None
    allowed = spam[ham <= budget * ham[-1] + _TINY]
    return float(allowed[-1] / spam[-1]) if len(allowed) else 0.0


def average_precision(scores: Scores) -> float | None:
    """Return the area under the precision-recall curve by steps, without interpolation; None without both classes."""
    _, spam, ham = operating_points(scores)
    if not len(spam) or not spam[-1] or not ham[-1]:
        return None
    return float((np.diff(spam, prepend=0.0) * spam / (spam + ham)).sum() / spam[-1])


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
