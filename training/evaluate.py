"""What a model is worth on labelled texts."""

from collections.abc import Sequence

import numpy as np

Metrics = dict[str, float | int | None]

_BINS = 15


def metrics(scores: Sequence[float], is_spam: Sequence[bool], threshold: float) -> Metrics:
    """Return counts and quality of the label `score >= threshold`, spam being the positive class.

    Keys: n, spam, false_positives, false_negatives, accuracy, precision, recall, f1, fpr, ece, nll, brier.
    A ratio without a denominator (recall without spam, say) is None.
    """
    p = np.asarray(scores, dtype=np.float64)
    truth = np.asarray(is_spam, dtype=bool)
    said = p >= threshold
    hits, false_alarms = int((said & truth).sum()), int((said & ~truth).sum())
    misses = int((~said & truth).sum())
    spam, ham = int(truth.sum()), int((~truth).sum())
    clipped = np.clip(p, 1e-12, 1 - 1e-12)
    return {
        "n": len(p),
        "spam": spam,
        "false_positives": false_alarms,
        "false_negatives": misses,
        "accuracy": _ratio(len(p) - false_alarms - misses, len(p)),
        "precision": _ratio(hits, hits + false_alarms),
        "recall": _ratio(hits, spam),
        "f1": _ratio(2 * hits, 2 * hits + false_alarms + misses),
        "fpr": _ratio(false_alarms, ham),
        "ece": expected_calibration_error(scores, is_spam),
        "nll": _rounded(-np.where(truth, np.log(clipped), np.log1p(-clipped)).mean()) if len(p) else None,
        "brier": _rounded(((p - truth) ** 2).mean()) if len(p) else None,
    }


def expected_calibration_error(scores: Sequence[float], is_spam: Sequence[bool]) -> float | None:
    """Return the mean distance between score and frequency of spam over bins of equal numbers of texts."""
    if not len(scores):
        return None
    order = np.argsort(np.asarray(scores), kind="stable")
    p, truth = np.asarray(scores, dtype=np.float64)[order], np.asarray(is_spam, dtype=np.float64)[order]
    bins = np.array_split(np.arange(len(p)), min(_BINS, len(p)))
    return _rounded(sum(len(each) * abs(p[each].mean() - truth[each].mean()) for each in bins) / len(p))


def _ratio(part: int, whole: int) -> float | None:
    return _rounded(part / whole) if whole else None


def _rounded(value: float) -> float:
    return round(float(value), 6)
