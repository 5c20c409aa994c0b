"""What is added to the training split, and what is not."""

from collections import Counter

import pytest

from consumer.classifier.normalise import normalise
from training.attacks import ATTACKS
from training.augment import augment
from training.data import Example

SPAM = Example("Claim your free prize before Friday", "Claim your  free prize before Friday", "spam", "offers")
HAM = Example("See you at the station tomorrow evening", "See you at the station tomorrow evening", "ham", "friends")


def test_only_spam_is_copied_by_default_each_as_often_as_asked() -> None:
    made = augment([SPAM, HAM] * 50, ["deletion"], copies=2, seed=1)
    assert Counter(each.label for each in made) == {"spam": 100}
    assert {each.source for each in made} == {"offers"}


def test_copies_are_normalised_and_keep_what_the_attacker_wrote() -> None:
    for each in augment([SPAM] * 30, ATTACKS, copies=1, seed=1):
        assert each.text == normalise(each.original).text
        assert each.text != SPAM.text


def test_copies_that_normalisation_undoes_are_left_out() -> None:
    assert augment([SPAM] * 30, ["zero_width"], copies=3, seed=1) == []


def test_a_share_of_the_ham_is_copied_where_it_is_asked_for() -> None:
    made = augment([HAM] * 1000, ["swap"], copies=1, ham_share=0.25, seed=1)
    assert 200 < len(made) < 300
    assert {each.label for each in made} == {"ham"}


def test_the_same_seed_makes_the_same_copies() -> None:
    once, again, other = (augment([SPAM, HAM] * 9, ATTACKS, copies=1, seed=seed) for seed in (1, 1, 2))
    assert once == again != other


def test_an_unknown_attack_is_refused() -> None:
    with pytest.raises(ValueError, match="nosuch"):
        augment([SPAM], ["nosuch"], copies=1, seed=1)
