"""From raw margins to probabilities, a threshold and a band of uncertainty: all chosen on validation texts.

The margins must come from the engine that will serve the model, not from the one that trained it.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from consumer.classifier.artifact import Calibration, Review

_MOST_CERTAIN = 0.999
"""No threshold above it: so few validation texts say nothing about the far tail."""
_LEAST_CERTAIN = 0.5
"""No threshold below it: a text that is more likely ham than spam is not called spam."""


def fit_platt(margins: Sequence[float], is_spam: Sequence[bool], shift: float = 0.0) -> Calibration:
    """Fit P(spam) = sigmoid(a * margin + b) by maximum likelihood, with Platt's smoothed targets.

    `shift` is what class weights have added to every margin, log(weight of spam / weight of ham): it is taken off before
    the fit and becomes part of b. Needs both classes. Newton's method on two parameters; the smoothing keeps them finite
    where the classes separate.
    """
    x = np.asarray(margins, dtype=np.float64) - shift
    y = np.asarray(is_spam, dtype=bool)
    spam, ham = int(y.sum()), int((~y).sum())
    if not spam or not ham:
        raise ValueError("calibration needs both classes")
    targets = np.where(y, (spam + 1) / (spam + 2), 1 / (ham + 2))
    design = np.stack([x, np.ones_like(x)], axis=1)
    parameters = np.array([1.0, 0.0])
    loss = _loss(design @ parameters, targets)
    for _ in range(100):
        z = design @ parameters
        p = 1 / (1 + np.exp(-np.clip(z, -500, 500)))
        gradient = design.T @ (p - targets)
        hessian = (design.T * (p * (1 - p))) @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while (trial := _loss(design @ (parameters - scale * step), targets)) > loss and scale > 1e-6:
            scale /= 2
        parameters = parameters - scale * step
        converged = loss - trial < 1e-10
        loss = min(loss, trial)
        if converged:
            break
    if parameters[0] <= 0:  # it learnt nothing, or the reverse: the score must rise with the margin, so say the prior
        return Calibration(a=1e-6, b=math.log((spam + 1) / (ham + 1)))
    return Calibration(a=float(parameters[0]), b=float(parameters[1] - parameters[0] * shift))


def choose_threshold(scores: Sequence[float], is_spam: Sequence[bool], fpr_budget: float) -> float:
    """Return the lowest threshold, within [0.5, 0.999], that labels no more than `fpr_budget` of the ham as spam."""
    ham = sorted((s for s, spam in zip(scores, is_spam, strict=True) if not spam), reverse=True)
    allowed = math.floor(fpr_budget * len(ham))
    # Spam is score >= threshold: the first ham that must stay ham is just below it.
    lowest = math.nextafter(ham[allowed], 1) if allowed < len(ham) else _LEAST_CERTAIN
    return min(max(lowest, _LEAST_CERTAIN), _MOST_CERTAIN)


def choose_review(scores: Sequence[float], threshold: float, share: float) -> Review:
    """Return the band around the threshold that holds `share` of the texts: those nearest to it in log-odds."""
    middle = _log_odds(threshold)
    distances = sorted(abs(_log_odds(score) - middle) for score in scores)
    width = distances[min(math.ceil(share * len(distances)), len(distances)) - 1] if share > 0 else 0.0
    low, high = _probability(middle - width), _probability(middle + width)
    return Review(low=min(low, threshold), high=max(high, threshold))


def _loss(z: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    return float(np.sum(np.logaddexp(0, z) - targets * z))


def _log_odds(p: float) -> float:
    p = min(max(p, 1e-12), 1 - 1e-12)
    return math.log(p / (1 - p))


def _probability(z: float) -> float:
    return 1 / (1 + math.exp(-z))
