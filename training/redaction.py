"""What a report shows of a message: its shape, or, if asked for, the text with nothing hidden in it."""

import re
import unicodedata
from typing import Final

SHOWN: Final = 320
"""Characters of a text that are shown; the length of the rest is told."""
_KEPT: Final = re.compile(r"https?://|www\.", re.IGNORECASE)
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def shape(text: str) -> str:
    """Return the text with every letter as x or X and every digit as 9: no word and no number can be read.

    Length, spacing, punctuation, symbols and the mark of a link (`https://`, `www.`) stay, which is mostly enough to
    tell what kind of message it was. Marks on letters go with them.
    """
    kept, start = [], 0
    for mark in _KEPT.finditer(text):
        kept += [_masked(text[start : mark.start()]), mark.group().lower()]
        start = mark.end()
    return _cut("".join([*kept, _masked(text[start:])]))


def visible(text: str) -> str:
    """Return the text with control, format and other invisible characters written as escapes, so that none acts or hides."""
    return _cut("".join(_escaped(letter) for letter in text))


def _masked(text: str) -> str:
    return "".join(_mask(letter) for letter in text)


def _mask(letter: str) -> str:
    category = unicodedata.category(letter)
    if category[0] == "L":
        return "X" if category in {"Lu", "Lt"} else "x"
    if category[0] == "N":
        return "9"
    if category == "So" and _spells(letter):
        return "x"
    return "" if category[0] == "M" else _escaped(letter)


def _spells(symbol: str) -> bool:
    """Whether one could write with such symbols: circled and squared letters, flags' halves, Braille."""
    name = unicodedata.name(symbol, "")
    plain = unicodedata.normalize("NFKC", symbol)
    return "LETTER" in name or "BRAILLE" in name or any(letter.isalnum() for letter in plain)


def _escaped(letter: str) -> str:
    if letter == "\n":
        return " \u23ce "
    if letter == " " or unicodedata.category(letter) not in _HIDDEN:
        return letter
    code = ord(letter)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} \u2026 (+{len(text) - SHOWN})"
