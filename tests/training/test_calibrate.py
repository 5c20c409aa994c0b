import numpy as np
import pytest

from consumer.classifier.model import calibrated
from training.calibrate import choose_review, choose_threshold, fit_platt
from training.evaluate import expected_calibration_error, metrics


def drawn(a: float, b: float, n: int = 20_000) -> tuple[list[float], list[bool]]:
    """Margins whose true P(spam) is sigmoid(a * margin + b)."""
    generator = np.random.default_rng(0)
    margins = generator.normal(0, 3, n)
    truth = generator.random(n) < 1 / (1 + np.exp(-(a * margins + b)))
    return margins.tolist(), truth.tolist()


def test_platt_finds_the_slope_and_shift_that_made_the_labels() -> None:
    margins, truth = drawn(0.7, -1.5)
    calibration = fit_platt(margins, truth)
    assert calibration.a == pytest.approx(0.7, abs=0.05)
    assert calibration.b == pytest.approx(-1.5, abs=0.1)
    scores = [calibrated(margin, calibration) for margin in margins]
    error = expected_calibration_error(scores, truth)
    assert error is not None
    assert error < 0.02


@pytest.mark.parametrize("margins", [[-9.0, -8.0, 8.0, 9.0], [0.0, 0.0, 0.0, 0.0], [9.0, 8.0, -8.0, -9.0]])
def test_separable_constant_and_inverted_margins_still_give_a_rising_score(margins: list[float]) -> None:
    calibration = fit_platt(margins, [False, False, True, True])
    assert 0 <= calibrated(-1000, calibration) <= calibrated(0, calibration) <= calibrated(1000, calibration) <= 1


def test_the_threshold_is_the_lowest_that_keeps_the_budget() -> None:
    scores = [i / 1000 for i in range(1000)] + [0.9] * 10
    is_spam = [False] * 1000 + [True] * 10
    threshold = choose_threshold(scores, is_spam, 0.002)
    assert sum(score >= threshold for score in scores[:1000]) == 2
    assert choose_threshold([0.1, 0.2, 0.9], [False, False, True], 0.002) == 0.5
    assert choose_threshold([1.0, 0.2, 0.9], [False, False, True], 0.002) == 0.999


def test_the_review_band_holds_its_share_around_the_threshold() -> None:
    scores = [i / 1000 for i in range(1, 1000)]
    band = choose_review(scores, 0.7, 0.05)
    assert band.low < 0.7 < band.high
    assert sum(band.low <= score < band.high for score in scores) == pytest.approx(50, abs=2)
    nothing = choose_review(scores, 0.7, 0.0)
    assert nothing.low == nothing.high == 0.7


def test_metrics_count_what_the_threshold_says() -> None:
    measured = metrics([0.9, 0.8, 0.4, 0.2, 0.6], [True, True, True, False, False], 0.5)
    assert (measured["false_positives"], measured["false_negatives"]) == (1, 1)
    assert measured["precision"] == pytest.approx(2 / 3, abs=1e-6)
    assert measured["recall"] == pytest.approx(2 / 3, abs=1e-6)
    assert measured["fpr"] == 0.5
    only_ham = metrics([0.1, 0.9], [False, False], 0.5)
    assert only_ham["recall"] is None
    assert only_ham["fpr"] == 0.5
