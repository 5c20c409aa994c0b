"""Metrics agree with a library that everybody knows, say nothing that a file cannot tell, and come with honest intervals."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as known

from training.bootstrap import interval, intervals, resampled
from training.metrics import FPR_POINTS, QUALITIES, Scores, measure, metrics


def drawn(n: int, seed: int, *, digits: int = 3, spam: float = 0.2) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Overlapping scores of two classes; rounded, so that some are equal."""
    random = np.random.default_rng(seed)
    truth = random.random(n) < spam
    return np.where(truth, random.beta(4, 2, n), random.beta(1, 5, n)).round(digits), truth


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("digits", [1, 12])
def test_every_metric_is_the_library_s(seed: int, digits: int) -> None:
    p, truth = drawn(400, seed, digits=digits)
    found, said = metrics(p, truth, 0.5), p >= 0.5
    fpr, tpr, _ = known.roc_curve(truth, p, drop_intermediate=False)
    expected = {
        "accuracy": known.accuracy_score(truth, said),
        "precision": known.precision_score(truth, said),
        "recall": known.recall_score(truth, said),
        "f1": known.f1_score(truth, said),
        "fpr": float(said[~truth].mean()),
        "auprc": known.average_precision_score(truth, p),
        "brier": known.brier_score_loss(truth, p),
        "nll": known.log_loss(truth, np.clip(p, 1e-12, 1 - 1e-12)),
        **{name: float(tpr[fpr <= budget].max()) for name, budget in FPR_POINTS.items()},
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=2e-6)
    assert (found["n"], found["spam"]) == (400, truth.sum())


def test_a_calibrated_score_has_no_calibration_error_and_a_boastful_one_has_its_excess() -> None:
    truth = np.arange(3000) % 10 < 3
    assert metrics(np.full(3000, 0.3), truth, 0.5)["ece"] == pytest.approx(0, abs=0.005)
    assert metrics(np.full(3000, 0.9), truth, 0.5)["ece"] == pytest.approx(0.6, abs=0.005)


def test_the_order_of_texts_with_equal_scores_changes_no_calibration_error() -> None:
    p, truth = drawn(500, 4, digits=1)
    by_label = np.argsort(truth, kind="stable")
    assert metrics(p[by_label], truth[by_label], 0.5)["ece"] == pytest.approx(metrics(p, truth, 0.5)["ece"], abs=1e-6)
    sorted_file = np.arange(3000) < 900
    assert metrics(np.full(3000, 0.3), sorted_file, 0.5)["ece"] == 0


@pytest.mark.parametrize(("is_spam", "told"), [(True, "recall"), (False, "fpr")])
def test_what_needs_both_classes_is_null_on_a_file_with_one(is_spam: bool, told: str) -> None:
    scores = Scores.of([0.2, 0.7, 0.9, 0.4], [is_spam] * 4, 0.5)
    found, bounds = measure(scores), intervals(scores, 200)
    assert found[told] == 0.5
    telling = {"accuracy", "nll", "brier", "ece", told}
    assert {name for name in QUALITIES if found[name] is not None} == telling
    assert bounds.keys() == telling


def test_an_empty_file_tells_nothing() -> None:
    found = metrics([], [], 0.5)
    assert found["n"] == 0
    assert all(found[name] is None for name in QUALITIES)
    assert intervals(Scores.of([], [], 0.5)) == {}


def test_a_resample_that_draws_each_text_once_gives_the_metrics_themselves() -> None:
    from training.bootstrap import _Table

    p, truth = drawn(300, 3, digits=1)
    scores = Scores.of(p, truth, 0.5)
    once = {name: float(values[0]) for name, values in _Table(scores).measure(np.ones((1, 300))).items()}
    expected = measure(scores)
    assert once == pytest.approx({name: expected[name] for name in once}, abs=1e-6)


def test_intervals_hold_the_true_value_about_as_often_as_they_say() -> None:
    truth_p, truth_label = drawn(200_000, 99)
    expected = measure(Scores.of(truth_p, truth_label, 0.5))
    held = dict.fromkeys(("accuracy", "precision", "recall", "f1", "fpr", "auprc", "brier", "nll"), 0)
    for seed in range(100):
        found = intervals(Scores.of(*drawn(400, seed), 0.5), 300, seed)
        for name in held:
            held[name] += found[name][0] <= expected[name] <= found[name][1]
    assert min(held.values()) >= 85, held


def test_variants_of_one_text_make_an_interval_wider_than_as_many_texts_of_their_own() -> None:
    p, truth = drawn(60, 1)
    copied = np.repeat(np.arange(60), 10)
    alone = intervals(Scores.of(p[copied], truth[copied], 0.5))["f1"]
    together = intervals(Scores.of(p[copied], truth[copied], 0.5, copied.tolist()))["f1"]
    assert together[1] - together[0] > 2 * (alone[1] - alone[0])


def test_no_false_positive_in_300_ham_is_no_proof_of_none() -> None:
    scores = Scores.of([0.1] * 300 + [0.9] * 20, [False] * 300 + [True] * 20, 0.5)
    found = intervals(scores)
    assert found["fpr"][0] == 0
    assert found["fpr"][1] == pytest.approx(3.69 / 300, rel=0.02)
    assert found["recall"] == (pytest.approx(0.8316, abs=1e-3), 1.0)  # Clopper and Pearson, 20 of 20


def test_the_same_seed_draws_two_models_alike() -> None:
    p, truth = drawn(200, 5)
    ours, theirs = (resampled(Scores.of(each, truth, 0.5), 100, seed=7) for each in (p, p))
    other = resampled(Scores.of(p, truth, 0.5), 100, seed=8)
    assert np.array_equal(ours["f1"], theirs["f1"])
    assert not np.array_equal(ours["f1"], other["f1"])
    assert interval(Scores.of(p, truth, 0.5), "f1", 100, 7) == interval(Scores.of(p, truth, 0.5), "f1", 100, 7)


def test_rows_taken_out_keep_their_clusters_apart() -> None:
    taken = Scores.of([0.1, 0.2, 0.3, 0.4], [True] * 4, 0.5, [7, 7, 9, 3]).take([1, 2, 3])
    assert taken.clusters is not None
    assert len(set(taken.clusters.tolist())) == 3
    assert max(taken.clusters) == 2
