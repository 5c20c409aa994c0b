"""What an attack does to a text, and what it leaves alone."""

import random
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.attacks import ATTACKS, attack

OFFER = "Congratulations! Claim your free prize at http://www.example.com/win before Friday or call our office today"


@pytest.mark.parametrize("name", ATTACKS)
def test_the_same_seed_makes_the_same_attack_and_another_seed_another(name: str) -> None:
    once, again = (attack(OFFER, name, random.Random(4)) for _ in range(2))
    assert once == again != OFFER
    assert {attack(OFFER, name, random.Random(seed)) for seed in range(12)} != {once}


@pytest.mark.parametrize("name", ATTACKS)
@given(text=st.text(max_size=60))
def test_any_text_can_be_attacked(name: str, text: str) -> None:
    assert isinstance(attack(text, name, random.Random(0)), str)


@pytest.mark.parametrize("name", ["", "ok", "42", "https://example.com/a"])
def test_a_text_without_a_longer_word_is_left_as_it_is(name: str) -> None:
    for edit in ("homoglyph", "zero_width", "leetspeak", "spacing", "deletion", "swap"):
        assert attack(name, edit, random.Random(1)) == name


def test_look_alikes_are_of_the_same_length_and_no_longer_ascii() -> None:
    altered = attack(OFFER, "homoglyph", random.Random(2))
    assert len(altered) == len(OFFER)
    assert not altered.isascii()
    assert "http://www.example.com/win" in altered


def test_invisible_characters_are_all_that_zero_width_adds() -> None:
    altered = attack(OFFER, "zero_width", random.Random(2))
    assert "".join(c for c in altered if unicodedata.category(c) != "Cf") == OFFER


def test_about_three_in_ten_words_are_touched() -> None:
    words = " ".join(["kitchen"] * 100)
    assert attack(words, "swap", random.Random(5)).split().count("kitchen") == 70


def test_swapped_words_are_the_same_words() -> None:
    altered = attack(OFFER, "word_swap", random.Random(2))
    assert sorted(altered.split()) == sorted(OFFER.split())


def test_a_disguised_link_is_no_link_any_more_but_can_be_read() -> None:
    for seed in range(10):
        altered = attack(OFFER, "url_disguise", random.Random(seed))
        assert "example.com" not in altered
        assert re.search(r"www\.example.{1,6}com/win", altered)


def test_a_composed_attack_shows_the_marks_of_several() -> None:
    altered = attack(OFFER, "composed", random.Random(3))
    assert not altered.isascii()
    assert "example.com" not in altered
