"""Traits of a text by which quality is looked at apart: where a model is weak, one of them often says so."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from consumer.classifier.normalise import normalise
from training.data import Example

_LENGTHS: Final = (40, 80, 160)
"""Characters up to which a length slice goes; 160 is one part of an SMS in the GSM alphabet."""
_NUMBER: Final = re.compile(r"\d{3,}")


def traits_of(example: Example) -> Iterator[tuple[str, str]]:
    """Yield the (trait, value) pairs of a text: one value per trait, and none where it is not known."""
    normalised = normalise(example.original)
    yield "length", _length(len(example.original))
    yield "URL", _yes("url" in normalised.signals)
    yield "number of 3+ digits", _yes(bool(_NUMBER.search(normalised.text)))
    yield "phone number", _yes("phone_number" in normalised.signals)
    yield "script", script_of(example.original)
    if example.language:
        yield "language", example.language
    if example.country:
        yield "country", example.country


def script_of(text: str) -> str:
    """Return the script that most of the letters are of, as Unicode's names begin: Latin, Cyrillic, Devanagari, …"""
    scripts = Counter(_script(letter) for letter in text if letter.isalpha())
    return scripts.most_common(1)[0][0] if scripts else "no letters"


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    name = unicodedata.name(letter, "other").split()[0]
    # Full-width and mathematical letters are Latin ones in disguise.
    return "Latin" if name in {"LATIN", "FULLWIDTH", "MATHEMATICAL", "FEMININE", "MASCULINE"} else name.capitalize()


def _length(characters: int) -> str:
    low = 0
    for high in _LENGTHS:
        if characters <= high:
            return f"{low + 1}\u2013{high}"
        low = high
    return f"over {low}"


def _yes(found: bool) -> str:
    return "yes" if found else "no"
