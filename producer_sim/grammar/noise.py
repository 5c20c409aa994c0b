"""How people and senders really type: case, missing apostrophes, texting spellings, slips of the thumb, tricks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal

Uniform = Callable[[], float]
Register = Literal["casual", "plain", "printed", "pushy"]

TEXTING: Final = {
    "you": "u", "are": "r", "your": "ur", "you're": "ur", "to": "2", "for": "4", "please": "pls", "tonight": "2nite",
    "tomorrow": "tmrw", "thanks": "thx", "because": "cos", "be": "b", "see": "c", "and": "n", "with": "wiv", "great": "gr8",
    "later": "l8r", "before": "b4", "have": "hav", "what": "wat", "the": "da", "about": "abt", "going": "goin",
    "something": "sumthing", "people": "ppl", "message": "msg", "text": "txt", "today": "2day", "good": "gd", "love": "luv",
    "really": "rly", "though": "tho", "okay": "k", "that": "dat", "where": "wer", "night": "nite", "coming": "comin",
    "don't": "dont", "can't": "cant", "probably": "prob", "at": "@", "hope": "hope", "just": "jus", "know": "kno",
    "week": "wk", "weekend": "wknd", "was": "woz", "this": "dis", "will": "wil", "yes": "ya", "back": "bk", "in": "in",
}  # fmt: skip
WORD: Final = re.compile(r"[A-Za-z']+")
LOOK_ALIKES: Final = {"a": "а", "e": "е", "o": "о", "i": "і", "c": "с", "p": "р"}  # noqa: RUF001  (Cyrillic on purpose)
LEET: Final = {"a": "@", "e": "3", "o": "0", "i": "1", "s": "$"}
ZERO_WIDTH: Final = "\u200b"


def with_noise(text: str, register: Register, uniform: Uniform) -> str:
    """`text` as somebody of that register would have sent it; printed text (banks, systems) is left as it is."""
    if register == "casual":
        return _casual(text, uniform)
    if register == "pushy":
        return _pushy(text, uniform)
    if register == "plain" and uniform() < 0.06:
        return _slip(text, uniform)
    return text


def _casual(text: str, uniform: Uniform) -> str:
    habit = uniform()
    if habit < 0.42:
        text = text[0].upper() + text[1:]
    elif habit < 0.68:
        text = text.lower()
    elif habit < 0.73:
        text = text.lower().replace("'", "")
    elif habit < 0.85:
        text = _texting(text, uniform, share=0.2 + 0.6 * uniform())
    elif habit < 0.88:
        text = text.replace(",", "..").replace(". ", "... ")
    elif habit < 0.90:
        text = re.sub(r"[.,!?']", "", text)
    elif habit < 0.91:
        text = text.upper()
    if uniform() < 0.06:
        text = _slip(text, uniform)
    return text


def _pushy(text: str, uniform: Uniform) -> str:
    habit = uniform()
    if habit < 0.80:
        return text
    if habit < 0.85:
        return " ".join(word if "." in word[:-1] or "/" in word else word.upper() for word in text.split(" "))
    if habit < 0.90:
        return _texting(text, uniform, share=0.5)
    if habit < 0.94:
        return _slip(text, uniform)
    if habit < 0.96:
        return _swapped(text, LEET, uniform, share=0.25)
    if habit < 0.98:
        return _swapped(text, LOOK_ALIKES, uniform, share=0.3)
    if habit < 0.985:
        at = int(uniform() * len(text))
        return f"{text[:at]}{ZERO_WIDTH}{text[at:]}"
    return f"{text}!!!" if habit < 0.995 else text.replace(" ", "  ")


def _texting(text: str, uniform: Uniform, share: float) -> str:
    def shorten(match: re.Match[str]) -> str:
        word = match.group()
        short = TEXTING.get(word.lower())
        if short is None or uniform() > share:
            return word
        return short

    return " ".join(part if "." in part[:-1] or "@" in part else WORD.sub(shorten, part) for part in text.split(" "))


def _slip(text: str, uniform: Uniform) -> str:
    """One letter dropped, doubled or swapped with its neighbour."""
    if len(text) < 6:
        return text
    at, kind = int(uniform() * (len(text) - 1)), uniform()
    if not (text[at].isalpha() and text[at + 1].isalpha()):
        return text
    if kind < 0.4:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + text[at + 1 :] if kind < 0.75 else text[:at] + text[at] + text[at:]


def _swapped(text: str, table: dict[str, str], uniform: Uniform, share: float) -> str:
    """Letters outside links replaced by others that look like them."""
    return " ".join(
        part if "." in part[:-1] or "/" in part
        else "".join(table[c] if c in table and uniform() < share else c for c in part)
        for part in text.split(" ")
    )  # fmt: skip
