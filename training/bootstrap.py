"""How sure a metric is: percentile intervals over texts drawn again with replacement.

Where near-duplicate clusters are known, whole clusters are drawn: variants of one message are one piece of evidence,
and drawing them one by one would promise too much.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.metrics import FPR_POINTS, QUALITIES, Floats, Scores, equal_bins, log_losses

Interval = tuple[float, float]

SAMPLES: Final = 1000
LEVEL: Final = 0.95
_CELLS: Final = 2_000_000
"""Draws times texts held at once: 16 MB in each of a few arrays."""
_TOLERANCE: Final = 1e-12
_DENOMINATORS: Final = {"accuracy": "n", "precision": "said", "recall": "spam", "fpr": "ham"}


def interval(scores: Scores, metric: str, samples: int = SAMPLES, seed: int = 0) -> Interval | None:
    """Return the 95 % interval of one metric; see `intervals`."""
    return intervals(scores, samples, seed).get(metric)


def intervals(scores: Scores, samples: int = SAMPLES, seed: int = 0) -> dict[str, Interval]:
    """Return the 95 % interval of every metric of QUALITIES that the texts can tell.

    A rate without any error among the texts, which no drawing again can show, ends at Clopper and Pearson's exact
    bound instead (with no error in n: about 3.7 / n away). ECE's interval lies rather high: resampling adds noise to
    each bin, and the error counts distances.
    """
    found: dict[str, Interval] = {}
    for name, values in resampled(scores, samples, seed).items():
        known = values[~np.isnan(values)]
        if len(known):
            low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            found[name] = _exact(scores, name, float(low), float(high))
    return {name: (round(low, 6), round(high, 6)) for name, (low, high) in found.items()}


def resampled(scores: Scores, samples: int = SAMPLES, seed: int = 0) -> dict[str, Floats]:
    """Return each metric of `samples` draws, shape (samples,); NaN where a draw lacks a class.

    Draws depend on the seed and the numbers of texts and clusters alone: two models' scores of the same texts are
    drawn alike, so the difference of their values is a paired bootstrap. A metric that the texts themselves cannot
    tell is left out.
    """
    spam = int(scores.is_spam.sum())
    if not len(scores):
        return {}
    unknown = set[str]()
    if not spam:
        unknown = {"recall"}
    if spam == len(scores):
        unknown = {"fpr"}
    if unknown:
        unknown |= {"precision", "f1", "auprc", *FPR_POINTS}
    clusters = scores.clusters if scores.clusters is not None else np.arange(len(scores))
    count = int(clusters.max()) + 1
    random = np.random.default_rng(seed)
    parts: list[dict[str, Floats]] = []
    step = max(1, _CELLS // len(scores))
    table = _Table(scores)
    for start in range(0, samples, step):
        draws = min(step, samples - start)
        picked = random.integers(count, size=(draws, count))
        picked += np.arange(draws)[:, None] * count
        weights = np.bincount(picked.ravel(), minlength=draws * count).reshape(draws, count)[:, clusters]
        parts.append(table.measure(weights.astype(np.float64)))
    return {name: np.concatenate([part[name] for part in parts]) for name in QUALITIES if name not in unknown}


class _Table:
    """Per-text contributions to every metric, so that a draw's metrics are products with its weights."""

    def __init__(self, scores: Scores) -> None:
        truth, said = scores.is_spam, scores.said
        self._sums = np.stack(
            [np.ones(len(scores)), truth, said & truth, said & ~truth, log_losses(scores), (scores.p - truth) ** 2],
            axis=1,
        ).astype(np.float64)
        # The bins stay those of the whole file: new ones per draw would cost a sort each and say nearly the same.
        self._gaps = np.zeros((len(scores), len(bins := equal_bins(scores.p))))
        for column, rows in enumerate(bins):
            self._gaps[rows, column] = scores.p[rows] - truth[rows]
        self._order = np.argsort(-scores.p, kind="stable")
        ranked = scores.p[self._order]
        self._last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        self._truth = truth[self._order].astype(np.float64)

    def measure(self, weights: Floats) -> dict[str, Floats]:
        """Metrics per draw; `weights` (draws, texts) say how often each text was drawn."""
        n, spam, hits, false_alarms, nll, brier = (weights @ self._sums).T
        ham, misses = n - spam, spam - hits
        weighted = weights[:, self._order]
        spam_at = np.cumsum(weighted * self._truth, axis=1)[:, self._last]
        ham_at = np.cumsum(weighted * (1 - self._truth), axis=1)[:, self._last]
        with np.errstate(invalid="ignore", divide="ignore"):
            found = {
                "accuracy": (n - false_alarms - misses) / n,
                "precision": hits / (hits + false_alarms),
                "recall": hits / spam,
                "f1": 2 * hits / (2 * hits + false_alarms + misses),
                "fpr": false_alarms / ham,
                "auprc": _average_precision(spam_at, ham_at),
                "nll": nll / n,
                "brier": brier / n,
                "ece": np.abs(weights @ self._gaps).sum(axis=1) / n,
            }
            for name, budget in FPR_POINTS.items():
                allowed = ham_at <= budget * ham[:, None] + _TOLERANCE
                found[name] = np.where(ham > 0, (spam_at * allowed).max(axis=1) / spam, np.nan)
        return found


def _average_precision(spam_at: Floats, ham_at: Floats) -> Floats:
    total, ham = spam_at[:, -1], ham_at[:, -1]
    precision = np.where(spam_at > 0, spam_at / (spam_at + ham_at), 0.0)
    area = (np.diff(spam_at, axis=1, prepend=0.0) * precision).sum(axis=1) / total
    return np.where((total > 0) & (ham > 0), area, np.nan)


def _exact(scores: Scores, name: str, low: float, high: float) -> Interval:
    """Widen an interval that shrank to 0 or 1."""
    if name not in _DENOMINATORS or low != high or low not in {0.0, 1.0}:
        return low, high
    chosen: dict[str, NDArray[np.bool_]] = {
        "n": np.ones(len(scores), dtype=bool),
        "said": scores.said,
        "spam": scores.is_spam,
        "ham": ~scores.is_spam,
    }
    rows = chosen[_DENOMINATORS[name]]
    evidence = int(rows.sum()) if scores.clusters is None else len(np.unique(scores.clusters[rows]))
    bound = float(((1 - LEVEL) / 2) ** (1 / evidence))
    return (0.0, 1 - bound) if low == 0.0 else (bound, 1.0)
