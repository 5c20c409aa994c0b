"""Digits and signs that stand for letters: `fr33 c@sh` is free cash, and `gr8`, `4u` and `W1J 6HL` are what they are.

A token is read as a word only where the word is a common English one, so codes, prices and the abbreviations that
people really use stay as they are. The word list is pyspellchecker's, with its counts.
"""

import itertools
import re
from collections.abc import Mapping
from functools import cache
from typing import Final

_LETTERS: Final = {
    "0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "il", "|": "il",
}  # fmt: skip
_STANDS_FOR_LETTERS: Final = "".join(_LETTERS)
_COMMON: Final = 1_000
"""Occurrences, in the list's corpus, from which a word of four letters or more is common: 17,000 words are."""
_COMMON_SHORT: Final = 10_000
"""The same for words of three letters, which codes resemble by chance."""
_MOST_SIGNS: Final = 6
"""A token with more of them is a code."""
# A token of letters and such signs; in an address, neighbours tell that it is none. Where a run of them does not begin
# with a token none begins within it, so it is passed over whole: tried again at each sign, a text of nothing but `!`
# would take a thousand times as long as any other.
_TOKEN: Final = re.compile(
    r"(?<![\w@$|./:-])(?:(?=[^\W\d_]|[0-9@$!|]+[^\W\d_])(?P<token>[A-Za-z0-9@$!|]{3,})(?![\w@$|/:-]|\.\w)|[A-Za-z0-9@$!|]+)"
)
_SIGN: Final = re.compile(r"[A-Za-z][0134578@$!|]|[01345@$!|7][A-Za-z]")


def decode_leetspeak(text: str) -> str:
    """Return the text with every token that spells a common English word in digits and signs spelt in letters."""
    return _TOKEN.sub(_decoded, text) if _SIGN.search(text) else text


def is_word(letters: str) -> bool:
    """Whether this is a common English word, in any case."""
    return _counts().get(letters.lower(), 0) >= (_COMMON if len(letters) > 3 else _COMMON_SHORT)


def _decoded(match: re.Match[str]) -> str:
    token: str | None = match["token"]
    if token is None:
        return match.group()
    core = token.rstrip("!|")
    signs = sum(each in _LETTERS for each in core)
    letters = sum(each.isalpha() for each in core)
    if not 0 < signs <= min(letters, _MOST_SIGNS) or signs + letters != len(core) or len(core) < 3:
        return token
    if is_word(core.strip(_STANDS_FOR_LETTERS)):  # "4you", "iphone5": the digits are digits
        return token
    ways = (_LETTERS.get(each, each) for each in core.lower())
    word = max(("".join(way) for way in itertools.product(*ways)), key=lambda way: _counts().get(way, 0))
    if not is_word(word):
        return token
    return (word.upper() if core.isupper() else _cased(word, core)) + token[len(core) :]


def _cased(word: str, like: str) -> str:
    return "".join(letter.upper() if old.isupper() else letter for letter, old in zip(word, like, strict=True))


@cache
def _counts() -> Mapping[str, int]:
    """The counts of words, less the rare ones. Loaded when the first such token is met: 0.2 s."""
    from spellchecker import SpellChecker

    counts: Mapping[str, int] = SpellChecker(language="en").word_frequency.dictionary
    return {word: count for word, count in counts.items() if count >= _COMMON and word.isalpha()}
