"""What senders do to a text so that people still read it and a filter does not.

The families are those of the literature on evading SMS filters (Salman et al., IEEE Access 2024; SpamDam,
arXiv:2404.09481; EDA, arXiv:1901.11196). Every attack is a pure function of the text and a random generator.
"""

import random
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

WORDS_TOUCHED: Final = 0.3
"""Share of the words an attack changes; at least one, where the text has a word that it can change."""
WORDS_TOUCHED_COMPOSED: Final = 0.1
"""The same for each of the attacks that are composed."""

_HOMOGLYPHS: Final = {
    "a": "аɑα", "b": "Ьƅ", "c": "сϲ", "d": "ԁ", "e": "еҽ", "g": "ɡ", "h": "һ", "i": "іι", "j": "ј", "k": "κ",
    "l": "ӏ", "n": "ո", "o": "оοօ", "p": "рρ", "q": "ԛ", "s": "ѕ", "u": "υս", "v": "ѵν", "w": "ԝ", "x": "х", "y": "уү",
    "A": "АΑ", "B": "ВΒ", "C": "С", "E": "ЕΕ", "H": "НΗ", "I": "ІΙ", "J": "Ј", "K": "КΚ", "M": "МΜ", "N": "Ν",
    "O": "ОΟ", "P": "РΡ", "S": "Ѕ", "T": "ТΤ", "X": "ХΧ", "Y": "УΥ", "Z": "Ζ",
}  # fmt: skip
_INVISIBLE: Final = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
_LEET: Final = {"a": "4@", "e": "3", "i": "1!", "l": "1", "o": "0", "s": "5$", "t": "7"}
_SEPARATORS: Final = " .-*_"
_WORD: Final = re.compile(r"[^\W\d_]{4,}")
_URL: Final = re.compile(
    r"(?P<scheme>https?://)?(?P<host>(?:www\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,})(?P<path>/\S*)?", re.IGNORECASE
)


def attack(text: str, name: str, generator: random.Random) -> str:
    """Return the text as an attacker of that name (one of ATTACKS) would send it.

    A text that offers nothing to change, one without a link to `url_disguise` say, comes back as it is.
    """
    if name == "composed":
        for part in generator.sample(_COMPOSED, len(_COMPOSED)):
            text = _EDITS[part](text, WORDS_TOUCHED_COMPOSED, generator)
        return text
    return _EDITS[name](text, WORDS_TOUCHED, generator)


def _homoglyph(text: str, share: float, generator: random.Random) -> str:
    def disguised(word: str) -> str:
        return _some_letters(word, _HOMOGLYPHS, generator)

    return _some_words(text, share, generator, disguised)


def _zero_width(text: str, share: float, generator: random.Random) -> str:
    def parted(word: str) -> str:
        at = generator.randrange(1, len(word))
        return word[:at] + generator.choice(_INVISIBLE) + word[at:]

    return _some_words(text, share, generator, parted)


def _leetspeak(text: str, share: float, generator: random.Random) -> str:
    def written(word: str) -> str:
        return _some_letters(word, _LEET | {letter.upper(): twins for letter, twins in _LEET.items()}, generator)

    return _some_words(text, share, generator, written)


def _spacing(text: str, share: float, generator: random.Random) -> str:
    def spaced(word: str) -> str:
        return generator.choice(_SEPARATORS).join(word)

    return _some_words(text, share, generator, spaced)


def _deletion(text: str, share: float, generator: random.Random) -> str:
    def shortened(word: str) -> str:
        at = generator.randrange(1, len(word) - 1)  # readers recognise a word by its first and last letter
        return word[:at] + word[at + 1 :]

    return _some_words(text, share, generator, shortened)


def _swap(text: str, share: float, generator: random.Random) -> str:
    def swapped(word: str) -> str:
        at = generator.randrange(1, len(word) - 2)
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    return _some_words(text, share, generator, swapped)


def _word_swap(text: str, share: float, generator: random.Random) -> str:
    words = text.split(" ")
    for _ in range(max(1, round(share * len(words) / 2)) if len(words) > 1 else 0):
        at = generator.randrange(len(words) - 1)
        words[at], words[at + 1] = words[at + 1], words[at]
    return " ".join(words)


def _url_disguise(text: str, share: float, generator: random.Random) -> str:
    """Every link is disguised, whatever the share: one that is left alone gives the text away."""
    del share

    def disguised(match: re.Match[str]) -> str:
        dot = generator.choice(("[.]", "(.)", " . ", "[dot]", " dot "))
        head, last = match["host"].rsplit(".", 1)
        scheme = (match["scheme"] or "").lower().replace("http", generator.choice(("hxxp", "http")))
        return f"{scheme}{head}{dot}{last}{match['path'] or ''}"

    return _URL.sub(disguised, text)


def _some_words(text: str, share: float, generator: random.Random, change: Callable[[str], str]) -> str:
    """Change a share of the words of four letters or more; links are left to `url_disguise`."""
    links = [match.span() for match in _URL.finditer(text)]
    words = [
        match
        for match in _WORD.finditer(text)
        if not any(start <= match.start() < end for start, end in links)
    ]  # fmt: skip
    chosen = generator.sample(words, min(len(words), max(1, round(share * len(words)))))
    for match in sorted(chosen, key=lambda each: -each.start()):
        text = text[: match.start()] + change(match.group()) + text[match.end() :]
    return text


def _some_letters(word: str, twins: Mapping[str, str], generator: random.Random) -> str:
    """Replace half of the letters that have a twin, at least one."""
    places = [at for at, letter in enumerate(word) if letter in twins]
    letters = list(word)
    for at in generator.sample(places, (len(places) + 1) // 2):
        letters[at] = generator.choice(twins[letters[at]])
    return "".join(letters)


_EDITS: Final[Mapping[str, Callable[[str, float, random.Random], str]]] = MappingProxyType(
    {
        "homoglyph": _homoglyph,
        "zero_width": _zero_width,
        "leetspeak": _leetspeak,
        "spacing": _spacing,
        "deletion": _deletion,
        "swap": _swap,
        "word_swap": _word_swap,
        "url_disguise": _url_disguise,
    }
)
_COMPOSED: Final = tuple(_EDITS)
ATTACKS: Final = (*_EDITS, "composed")
"""Names of the attacks; `composed` applies all the others, each to a smaller share of the words."""
