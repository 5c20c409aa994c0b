"""Undo what senders do to hide words from a filter, and say what was found.

The model reads the normalised text; verdicts keep the original. Text in another script stays as it is: look-alike
letters are mapped to Latin only in words that mix scripts, or that consist of look-alikes amid Latin text.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Final

from consumer.classifier.leetspeak import decode_leetspeak, is_word

NORMALISER_VERSION: Final = "2"
"""Changes with every change of the output: a model is served behind the version that it was trained behind."""

SIGNALS: Final = {
    "disguised_url": "a link written so that no filter sees one: hxxp, [.], dot com",
    "homoglyphs": "letters of another script stand in for Latin ones",
    "invisible_characters": "zero-width, bidirectional or control characters inside a word",
    "leetspeak": "digits or signs stand in for the letters of a word",
    "mixed_script": "a word mixes Latin with Cyrillic, Greek, Armenian, Coptic or Cherokee letters",
    "money": "an amount with a currency",
    "phone_number": "a number of at least seven digits, as one dials it",
    "shortened_url": "a link behind a shortening service",
    "spaced_letters": "a word spelt with a separator between its letters",
    "styled_letters": "mathematical, full-width, circled or small-capital letters",
    "url": "a link or a host name",
}


@dataclass(frozen=True, slots=True)
class Normalised:
    """What the model reads, and the signals met on the way (keys of SIGNALS, alphabetical)."""

    text: str
    signals: tuple[str, ...]


def normalise(text: str) -> Normalised:
    """Return the text as the model reads it. Accepts any string, lone surrogates included; idempotent in its text."""
    signals: set[str] = set()
    plain = text.isascii()
    if not plain:
        text = _to_plain_forms(text, signals)
    elif _CONTROL.search(text):
        text = _drop_invisible(text, signals)
    # Before the spaces are collapsed, because two of them part words ("F R E E  C A S H").
    text = _join_spaced_letters(text, signals)
    text = " ".join(text.split())
    # What one step makes plain another may see through, so until nothing changes; mostly that is at once.
    before = ""
    while text != before:
        before = text
        if not plain:
            text = _map_look_alikes(text, signals)
        text = _reveal_links(_spell_out(_join_spaced_letters(text, signals), signals), signals)
    signals.update(name for name, pattern in _PATTERNS if pattern.search(text))
    return Normalised(text, tuple(sorted(signals)))


def _to_plain_forms(text: str, signals: set[str]) -> str:
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    text = _drop_invisible(text, signals)
    if _STYLED.search(text):
        signals.add("styled_letters")
    text = unicodedata.normalize("NFKC", text).translate(_PLAIN)
    return _drop_invisible(_LOOSE_MARKS.sub("", text), signals)  # compatibility forms may contain invisible ones


def _drop_invisible(text: str, signals: set[str]) -> str:
    if _INVISIBLE_IN_WORD.search(text):
        signals.add("invisible_characters")
    return _INVISIBLE.sub("", text)


def _map_look_alikes(text: str, signals: set[str]) -> str:
    table = _look_alikes()
    if not any(ord(letter) in table for letter in text):
        if any(_mixes_scripts(word) for word in _WORD.findall(text)):
            signals.add("mixed_script")
        return text
    # Text really written in another script has letters that resemble no Latin one; then its short words are its own.
    is_latin_text = bool(_LATIN.search(text)) and not any(ord(c) not in table for c in _OTHER_SCRIPT.findall(text))

    def plain(match: re.Match[str]) -> str:
        word = match.group()
        if word.isascii():
            return word
        if _mixes_scripts(word):
            signals.add("mixed_script")
        hidden = len(word) > 1 and is_latin_text and all(ord(c) in table for c in word if c.isalpha())
        if not hidden and not _LATIN.search(word):
            return word
        mapped = word.translate(table)
        if mapped != word:
            signals.add("homoglyphs")
        return mapped

    return _WORD.sub(plain, text)


def _mixes_scripts(word: str) -> bool:
    return bool(_LATIN.search(word) and _OTHER_SCRIPT.search(word))


def _join_spaced_letters(text: str, signals: set[str]) -> str:
    joined = _SPACED.sub(_joined, text)
    if joined != text:
        signals.add("spaced_letters")
    return joined


def _joined(match: re.Match[str]) -> str:
    word = match.group().replace(match.group(1), "")
    # A single letter before or after may be a word of its own: "I w o n a" holds three.
    if match.group(1) == " " and not is_word(word):
        for first, last in ((1, 0), (0, 1), (1, 1)):
            middle = word[first : len(word) - last]
            if len(middle) > 2 and is_word(middle):
                return " ".join(filter(None, (word[:first], middle, word[len(word) - last :])))
    return word


def _spell_out(text: str, signals: set[str]) -> str:
    spelt = decode_leetspeak(text)
    if spelt != text:
        signals.add("leetspeak")
    return spelt


def _reveal_links(text: str, signals: set[str]) -> str:
    if not _MAYBE_DISGUISED.search(text):
        return text
    revealed = _SPELT_DOT.sub(".", _BRACKETED_DOT.sub(".", _DISGUISED_SCHEME.sub(r"http\1", text)))
    if revealed != text:
        signals.add("disguised_url")
    return revealed


@cache
def _look_alikes() -> dict[int, str]:
    """Letters of other scripts that look like one ASCII letter (about 270), for str.translate."""
    from confusable_homoglyphs.confusables import confusables_data

    table: dict[int, str] = {}
    for letter, twins in confusables_data.items():
        if len(letter) != 1 or letter.isascii() or not letter.isalpha():
            continue
        name = unicodedata.name(letter, "LATIN")
        latin = next((twin["c"] for twin in twins if len(twin["c"]) == 1 and twin["c"].isascii()), "")
        if latin.isalpha() and not name.startswith("LATIN") and unicodedata.normalize("NFKC", letter) == letter:
            table[ord(letter)] = latin
    return table | dict.fromkeys(map(ord, "\u04c0\u04cf"), "l")  # the table takes the palochka for an i first


def _small_capitals() -> dict[str, str]:
    """Latin small capitals, which no compatibility form resolves: they are mapped wherever they stand."""
    found = {}
    for code in (*range(0x0250, 0x02B0), *range(0x1D00, 0x1D80), *range(0xA720, 0xA800)):
        prefix, _, latin = unicodedata.name(chr(code), "").partition("LATIN LETTER SMALL CAPITAL ")
        if not prefix and len(latin) == 1:
            found[chr(code)] = latin.lower()
    return found


_SURROGATE = re.compile("[\ud800-\udfff]")
# C0 and C1 controls except white space.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f]")
# Controls, soft hyphen, grapheme joiner, Arabic letter mark, Hangul and Khmer fillers, Mongolian selectors, zero-width
# and bidirectional characters, word joiner to deprecated format controls, variation selectors, byte order mark,
# interlinear annotation, shorthand and musical controls, tags and the supplementary selectors.
_INVISIBLE_CLASS = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_INVISIBLE = re.compile(f"[{_INVISIBLE_CLASS}]")
# Joiners inside emoji, Persian or Indic words are orthography: only those amid Latin letters and digits tell something.
_INVISIBLE_IN_WORD = re.compile(f"[A-Za-z0-9][{_INVISIBLE_CLASS}]+[A-Za-z0-9]")
_STYLED = re.compile("[\u1d00-\u1d2b\u24b6-\u24e9\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff\U0001f130-\U0001f189]")
# Curly quotes, and hyphens, dashes and the minus sign.
_PLAIN = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201b\u02bc", "'")
    | dict.fromkeys("\u201c\u201d", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")
    | _small_capitals()
)
_LOOSE_MARKS = re.compile("[\u0300-\u036f]")  # strokes and heaps of accents: real ones have been composed by NFKC
_WORD = re.compile(r"[^\W_]+")
_LATIN = re.compile("[A-Za-z]")
# Greek and Coptic, Cyrillic, Armenian, Cherokee with their extensions.
_OTHER_SCRIPT = re.compile(
    "[\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f-\u03ff\u0400-\u0481\u048a-\u0556\u0560-\u0588\u13a0-\u13fd"
    "\u1c80-\u1c88\u1f00-\u1fff\u2c80-\u2cee\ua640-\ua66e\ua680-\ua69d\uab70-\uabbf]"
)
# At least four single letters with one and the same separator between them.
_SPACED = re.compile(r"(?<![^\W_])[^\W\d_]([ .*_\-])(?:[^\W\d_]\1){2,}[^\W\d_](?![^\W_])")
_MAYBE_DISGUISED = re.compile(r"hxxp|[\[({<]\s?(?:\.|dot)|\w\s(?:\.|dot)\s", re.IGNORECASE)
_DISGUISED_SCHEME = re.compile(r"\bhxxp(s?)(?!\w)", re.IGNORECASE)
_BRACKETED_DOT = re.compile(r"(?<=\w)\s?[\[({<]\s?(?:\.|dot)\s?[\])}>]\s?(?=\w)", re.IGNORECASE)
# Endings that are words too (in, me, to, shop) count only before a path.
_SPELT_DOT = re.compile(
    r"(?<=\w)\s(?:\.|dot)\s(?=(?:com|net|org|biz|xyz|ly|gl|gd|uk|tk|cc|vip|cfd|icu|sbs)\b|[a-z]{2,10}/)", re.IGNORECASE
)
_PATTERNS = (
    (
        "url",
        re.compile(
            r"https?://|\bwww\.|\b[a-z0-9-]{2,63}\.(?:com|net|org|info|biz|io|co|me|ly|gl|gd|in|uk|us|ru|cn|top|xyz|vip|club|"
            r"online|site|shop|link|live|app|cc|tk|cfd|icu|buzz|sbs)(?:/|\b(?![.@]?\w))",
            re.IGNORECASE,
        ),
    ),
    (
        "shortened_url",
        re.compile(
            r"\b(?:bit\.ly|tinyurl\.com|goo\.gl|t\.co|is\.gd|ow\.ly|cutt\.ly|rb\.gy|t\.ly|shorturl\.at|rebrand\.ly|buff\.ly|"
            r"tiny\.cc|bl\.ink|s\.id|v\.gd|qr\.ae|lnkd\.in|u\.to|1u\.fi|urlz\.fr)/",
            re.IGNORECASE,
        ),
    ),
    ("phone_number", re.compile(r"(?<![\w.,])\+?\(?\d(?:[ ()-]{0,2}\d){6,14}(?![\w]|[.,]\d)")),
    (
        "money",
        re.compile(
            r"[£$€₹]\s?\d|\b(?:rs\.?|inr|usd|gbp|eur)\s?\d|\d\s?(?:£|€|₹|\b(?:usd|gbp|eur|pounds?|dollars?)\b)",
            re.IGNORECASE,
        ),
    ),
)
