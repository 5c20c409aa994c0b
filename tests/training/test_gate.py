"""The gate lets a model through only where its numbers are good enough and no worse than the champion's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import UserError
from training.gate import SHIPPED, Decision, Floors, Judged, judge
from training.metrics import Scores

SPAM, HAM = 200, 800
TRUTH = np.arange(SPAM + HAM) < SPAM


def judged(misses: int = 4, false_alarms: int = 4, name: str = "candidate 2", **changes: object) -> Judged:
    """A well-calibrated model that errs on the first texts of each class, and no more often under attack."""
    p = np.where(TRUTH, 0.995, 0.005)
    p[:misses], p[SPAM : SPAM + false_alarms] = 0.4, 0.6
    fields: dict[str, object] = {"test": "a" * 64, "scores": Scores.of(p, TRUTH, 0.5), "speed": 500.0}
    fields |= {"attack_recall_loss": 0.0, "attack_fpr_rise": 0.0}
    return Judged(**{"name": name, **fields, **changes})  # type: ignore[arg-type]


def constant(p: float) -> Judged:
    return judged(scores=Scores.of(np.full(len(TRUTH), p), TRUTH, 0.5))


def failed(decision: Decision) -> set[str]:
    return {check.name for check in decision.checks if not check.passed}


def test_a_good_model_passes_the_shipped_floors_with_and_without_a_champion() -> None:
    floors = Floors.from_toml(SHIPPED)
    assert judge(judged(), None, floors).passed
    assert judge(judged(), judged(5, 5, "champion 1"), floors).passed


def test_an_all_ham_and_an_all_spam_model_are_refused_even_with_no_champion() -> None:
    for floors in (Floors(), Floors.from_toml(SHIPPED)):
        assert {"recall", "f1"} <= failed(judge(constant(0.01), None, floors))
        assert {"accuracy", "fpr"} <= failed(judge(constant(0.99), None, floors))


def test_the_accuracy_of_an_all_ham_model_is_not_what_refuses_it() -> None:
    floors = replace(Floors(), accuracy=0.0, ece=1.0)
    assert judge(constant(0.01), None, floors).metrics["accuracy"] == 0.8
    assert not judge(constant(0.01), None, floors).passed


def test_an_overconfident_model_is_refused_for_its_calibration() -> None:
    p = np.where(TRUTH, 1.0, 0.0)
    p[:40], p[SPAM : SPAM + 60] = 0.0, 1.0
    decision = judge(judged(scores=Scores.of(p, TRUTH, 0.5)), None, replace(Floors(), ece=0.05))
    assert failed(decision) == {"ece"}


def test_a_significantly_worse_model_is_refused_however_wide_the_margin() -> None:
    wide = Floors(f1_margin=1, recall_margin=1, fpr_margin=1)
    decision = judge(judged(misses=40, false_alarms=2), judged(2, 2, "champion 1"), wide)
    assert failed(decision) == {"champion_f1"}


def test_a_difference_that_is_not_significant_is_refused_beyond_the_margin_and_passed_within() -> None:
    rare = np.arange(60) < 30
    p = np.where(rare, 0.99, 0.01)
    worse = p.copy()
    worse[0] = 0.4
    champion = judged(scores=Scores.of(p, rare, 0.5), name="champion 1")
    candidate = judged(scores=Scores.of(worse, rare, 0.5))
    assert "champion_f1" in failed(judge(candidate, champion, Floors(f1_margin=0.001)))
    assert judge(candidate, champion, Floors(f1_margin=0.05, ece=1)).passed


def test_more_false_alarms_than_the_champion_are_refused_and_fewer_are_not() -> None:
    assert "champion_fpr" in failed(judge(judged(false_alarms=20), judged(4, 4, "champion 1"), Floors()))
    assert judge(judged(false_alarms=4), judged(4, 20, "champion 1"), Floors()).passed


def test_a_model_equal_to_the_champion_is_no_worse() -> None:
    none = Floors(f1_margin=0, recall_margin=0, fpr_margin=0)
    assert judge(judged(), judged(name="champion 1"), none).passed


def test_models_judged_on_different_tests_are_not_compared() -> None:
    decision = judge(judged(), judged(20, 20, "champion 1", test="b" * 64), Floors())
    assert failed(decision) == {"champion"}
    assert "frozen test was not the same" in "\n".join(decision.reasons)


def test_a_model_that_breaks_under_attack_is_refused() -> None:
    assert failed(judge(judged(attack_recall_loss=0.2), None, Floors())) == {"attack_recall_loss"}
    assert failed(judge(judged(attack_fpr_rise=0.2), None, Floors())) == {"attack_fpr_rise"}
    unmeasured = judged(attack_recall_loss=None, attack_fpr_rise=None)
    assert failed(judge(unmeasured, None, Floors())) == {"attack_recall_loss", "attack_fpr_rise"}


def test_a_slow_model_is_refused_by_its_own_speed_and_by_the_champions() -> None:
    assert failed(judge(judged(speed=10.0), None, Floors(speed=20))) == {"speed"}
    champion = judged(name="champion 1", speed=1000.0)
    assert failed(judge(judged(speed=100.0), champion, Floors())) == {"relative_speed"}
    assert failed(judge(judged(speed=None), None, Floors())) == {"speed"}


def test_a_test_too_small_to_prove_anything_is_refused() -> None:
    few = Scores.of([0.99, 0.01, 0.01], [True, False, False], 0.5)
    assert "size" in failed(judge(judged(scores=few), None, Floors()))


def test_a_test_of_one_class_cannot_pass_and_says_what_it_cannot_tell() -> None:
    ham = Scores.of(np.full(100, 0.01), np.zeros(100, dtype=bool), 0.5)
    candidate = judged(scores=ham, attack_recall_loss=None)
    decision = judge(candidate, replace(candidate, name="champion 1"), Floors())
    assert {"size", "recall", "f1", "attack_recall_loss", "champion"} <= failed(decision)
    assert "recall cannot be told" in "\n".join(decision.reasons)


def test_every_check_gives_its_numbers_and_the_same_numbers_give_the_same_decision() -> None:
    decisions = [judge(judged(8, 8), judged(5, 5, "champion 1"), Floors(), seed=3) for _ in range(2)]
    assert decisions[0] == decisions[1]
    assert all(any(letter.isdigit() for letter in reason) for reason in decisions[0].reasons)


def test_floors_are_read_from_a_file_that_has_these_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "floors.toml"
    path.write_text("accuracy = 0.8\nspeed = 3\n")
    assert Floors.from_toml(path) == Floors(accuracy=0.8, speed=3)
    for wrong, sentence in (("acuracy = 1.0", "acuracy"), ("f1 = 'high'", "f1"), ("fpr = 2", "between"), ("=", "TOML")):
        path.write_text(wrong)
        with pytest.raises(UserError, match=sentence):
            Floors.from_toml(path)


def test_the_shipped_floors_are_stricter_than_the_defaults() -> None:
    shipped, default = Floors.from_toml(SHIPPED), Floors()
    assert min(shipped.accuracy - default.accuracy, shipped.recall - default.recall, shipped.f1 - default.f1) > 0
    assert shipped.fpr < default.fpr
    assert shipped.ece < default.ece
    assert default.accuracy == 0.7
