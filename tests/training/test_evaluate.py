"""An evaluation says what a model is worth in all and in parts, beside a floor and under attack."""

import json
from typing import NamedTuple

import pytest

from consumer.classifier.artifact import Calibration
from consumer.classifier.normalise import normalise
from training import variants
from training.attacks import ATTACKS
from training.data import Example, near_duplicates
from training.evaluate import BEFORE_ROWS, evaluate
from training.floor import naive_bayes
from training.scorer import Scorer
from training.slices import script_of, traits_of


class Read(NamedTuple):
    margin: float


class Words:
    """A network that knows one word, and counts what it reads."""

    def __init__(self, word: str = "prize") -> None:
        self.word = word
        self.texts = 0

    def read(self, texts: list[str]) -> list[Read]:
        self.texts += len(texts)
        return [Read(4.0 if self.word in text.lower().split() else -4.0) for text in texts]


def scorer(word: str = "prize", name: str = "words") -> Scorer:
    return Scorer(name, Words(word), Calibration(a=1, b=0), 0.5)  # type: ignore[arg-type]


def example(text: str, label: str = "ham", **known: str) -> Example:
    return Example(normalise(text).text, text, label, "made", **known)  # type: ignore[arg-type]


def code(i: int) -> str:
    """A word of its own for each number: texts that differ in digits only are variants of one."""
    return "".join("abcdefghij"[int(digit)] for digit in f"{i:04}")


def spam(n: int) -> list[Example]:
    return [example(f"prize {code(i)}", "spam") for i in range(n)]


def ham(n: int) -> list[Example]:
    return [example(f"dinner {code(i)}") for i in range(n)]


def test_parts_are_judged_apart_and_together() -> None:
    missed = example("no word that it knows", "spam")
    found = evaluate(scorer(), {"first": [*spam(6), *ham(3)], "second": [*ham(5), missed]}, attacks=())
    assert (found.parts["first"].metrics["recall"], found.parts["second"].metrics["recall"]) == (1.0, 0.0)
    assert found.overall.metrics["recall"] == pytest.approx(6 / 7, abs=1e-6)
    assert found.overall.metrics["n"] == 15
    assert [(each.source, each.row, each.is_spam) for each in found.errors] == [("second", 6, True)]


def test_json_has_the_metrics_of_all_texts_on_top_and_no_text() -> None:
    found = json.loads(
        json.dumps(evaluate(scorer(), {"made": [*spam(8), *ham(8)]}, before=scorer("x", "before")).as_json())
    )
    assert {"recall", "precision", "f1", "fpr", "n", "accuracy", "auprc", "nll", "brier", "ece"} <= found.keys()
    assert (found["recall"], found["precision"], found["fpr"], found["n"]) == (1.0, 1.0, 0.0, 16)
    assert found["peers"].keys() == {"before", "after tuning", "naive Bayes"}
    assert found["peers"]["before"]["recall"] == 0.0
    assert [each["attack"] for each in found["attacks"]] == list(ATTACKS)
    assert found["intervals"]["recall"][1] == 1.0
    assert "prize aa" not in json.dumps(found)


def test_a_model_before_tuning_stands_beside_itself_on_the_same_texts() -> None:
    found = evaluate(scorer(), {"made": [*spam(400), *ham(400)]}, before=scorer("x", "before"), attacks=(), samples=20)
    before, after = found.peers[:2]
    assert len(before.scores) == len(after.scores) == BEFORE_ROWS
    assert before.scores.is_spam.tolist() == after.scores.is_spam.tolist()
    assert f"{BEFORE_ROWS}" in before.note


def test_the_model_before_tuning_is_drawn_by_the_same_clusters_as_the_one_after() -> None:
    copies = [example(f"prize {code(i % 10)} {i}", "spam") for i in range(40)]
    before, after = evaluate(scorer(), {"made": [*copies, *ham(40)]}, before=scorer("x", "before"), attacks=()).peers[
        :2
    ]
    assert before.scores.clusters is not None
    assert after.scores.clusters is not None
    assert before.scores.clusters.tolist() == after.scores.clusters.tolist()
    assert len(set(before.scores.clusters.tolist())) == 50


def test_thousands_of_copies_of_one_text_are_one_cluster_and_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def near(texts: list[str]) -> list[int]:
        compared.append(len(texts))
        return near_duplicates(texts)

    monkeypatch.setattr(variants, "near_duplicates", near)
    other = "please call me when you get home from work tonight"
    texts = [*(f"Rs {i} was debited from your account" for i in range(3000)), other, f"{other} ok", "fishing"]
    found = variants.clusters_of(texts)
    assert compared == [4]
    assert len(set(found[:3000])) == 1
    assert found[3000] == found[3001]
    assert len(set(found)) == 3


def test_an_attack_that_normalisation_undoes_costs_only_the_network_alone() -> None:
    found = evaluate(scorer(), {"made": [*spam(40), *ham(20)]}, attacks=("zero_width",)).attacks[0]
    assert (found.spam, found.ham) == (40, 20)
    assert (found.normalised.recall_loss, found.normalised.fpr_rise) == (0.0, 0.0)
    assert found.raw.recall_loss is not None
    assert found.raw.recall_loss > 0.1
    assert found.raw.recall == pytest.approx(1 - found.raw.recall_loss)
    assert found.raw.recall_loss_interval is not None
    assert found.raw.recall_loss_interval[0] > 0


def test_an_attack_on_ham_alone_has_no_recall_to_lose() -> None:
    found = evaluate(scorer(), {"made": ham(10)}, attacks=("swap",)).attacks[0]
    assert (found.spam, found.normalised.recall_loss, found.normalised.recall_loss_interval) == (0, None, None)
    assert found.normalised.fpr_rise == 0.0


def test_attacked_texts_that_normalise_to_a_text_read_before_are_not_read_again() -> None:
    model = scorer()
    evaluate(model, {"made": [*spam(8), *ham(8)]}, attacks=("zero_width",), floor=False)
    assert isinstance(model.engine, Words)
    assert model.engine.texts <= 16 + 16 + 16  # once for all, then clean and raw for the attack


def test_the_seed_decides_samples_and_attacks() -> None:
    parts = {"made": [*spam(30), *ham(30)]}
    first, again, other = (evaluate(scorer(), parts, attacks=("swap",), seed=seed) for seed in (1, 1, 2))
    assert first.samples == again.samples
    assert first.attacks == again.attacks
    assert first.samples != other.samples


def test_nothing_to_judge_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no texts"):
        evaluate(scorer(), {"made": []})


def test_the_floor_learns_from_the_training_split_where_there_is_one() -> None:
    test = [*spam(8), *ham(8)]
    trained = naive_bayes(test, None, [example("prize", "ham"), example("dinner", "spam")], 0)
    crossed = naive_bayes(test, list(range(16)), None, 0)
    assert trained is not None
    assert crossed is not None
    is_spam = [each.label == "spam" for each in test]
    assert [p >= 0.5 for p in trained.p] == [not each for each in is_spam]  # it was taught the reverse
    assert [p >= 0.5 for p in crossed.p] == is_spam
    assert "2 training texts" in trained.note
    assert "cross-validation by near-duplicate cluster" in crossed.note


def test_there_is_no_floor_where_a_class_is_too_small_to_learn_from() -> None:
    assert naive_bayes([*spam(4), *ham(20)], None, None, 0) is None
    assert naive_bayes([*spam(20), *ham(20)], [0] * 20 + list(range(1, 21)), None, 0) is None  # one text, 20 times


def test_folds_never_part_the_variants_of_a_text() -> None:
    """Every spam cluster has its own word: only who saw a variant could know it."""
    variants = [example(f"{'abcdefghij'[i % 10] * 6} {'klmno'[i // 10] * 3}", "spam") for i in range(50)]
    clusters = [i % 10 for i in range(50)] + list(range(10, 110))
    examples = [*variants, *(example(f"{'pqrstuvwxy'[i % 10] * 5} later") for i in range(100))]
    apart, mixed = naive_bayes(examples, clusters, None, 0), naive_bayes(examples, None, None, 0)
    assert apart is not None
    assert mixed is not None
    assert (mixed.p[:50] >= 0.5).all()
    assert apart.p[:50].max() < mixed.p[:50].min()


def test_slices_tell_traits_apart_and_leave_out_what_all_texts_share() -> None:
    texts = [
        example("claim your prize at http://a.example/x now", "spam", country="GB"),
        example("call 07700 900123 for a prize", "spam", country="IN"),
        example("see you at six"),
        example("x" * 200),
    ]
    found = {
        (each.trait, each.value): each.metrics["n"] for each in evaluate(scorer(), {"made": texts}, attacks=()).slices
    }
    assert found["URL", "yes"] == 1
    assert found["phone number", "yes"] == 1
    assert found["length", "over 160"] == 1
    assert (found["country", "GB"], found["country", "IN"]) == (1, 1)
    assert not [trait for trait, _ in found if trait in {"script", "language"}]


def test_texts_known_from_training_are_a_slice() -> None:
    test = [*spam(8), *ham(8)]
    evaluation = evaluate(scorer(), {"made": test}, training=[*test[:4], *test[8:10]], attacks=())
    assert evaluation.caution == "6 of 16 texts were trained on: these figures flatter the model"
    assert {each.value: each.metrics["n"] for each in evaluation.slices if each.trait == "in the training split"} == {
        "yes": 6,
        "no": 10,
    }


@pytest.mark.parametrize(("training", "told"), [(None, None), ([], 0)])
def test_no_caution_where_no_text_is_known_to_be_trained_on(training: list[Example] | None, told: int | None) -> None:
    evaluation = evaluate(scorer(), {"made": [*spam(8), *ham(8)]}, training=training, attacks=(), floor=False)
    assert (evaluation.trained_on, evaluation.caution) == (told, None)
    assert evaluation.as_json()["trained_on"] == told


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Hello you", "Latin"),
        ("Привет ok", "Cyrillic"),
        ("नमस्ते", "Devanagari"),
        ("123 !", "no letters"),
        ("你好", "Cjk"),
    ],
)
def test_the_script_is_that_of_most_letters(text: str, script: str) -> None:
    assert script_of(text) == script
    assert ("script", script) in set(traits_of(example(text)))
