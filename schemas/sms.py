"""How a text travels: in which alphabet, and in how many SMS.

3GPP TS 23.038: the GSM 7 bit default alphabet where it holds every character, otherwise UCS-2. National language
shift tables, which few networks use, are not counted with.
"""

from typing import Final, Literal

Encoding = Literal["GSM-7", "UCS-2"]

_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED: Final = frozenset("\f^{}\\[~]|€")
"""Sent as an escape and another septet."""
# 140 octets are 160 septets or 70 UTF-16 units; in each of several parts a header takes 6 octets (7 septets) of them.
_SINGLE: Final = {"GSM-7": 160, "UCS-2": 70}
_PART: Final = {"GSM-7": 153, "UCS-2": 67}


def encoding_of(text: str) -> Encoding:
    return "GSM-7" if _BASIC.union(_EXTENDED).issuperset(text) else "UCS-2"


def parts_of(text: str) -> int:
    """How many SMS the text takes; an empty one takes one. An escaped character or a surrogate pair is never torn."""
    encoding = encoding_of(text)
    widths = [_width(character, encoding) for character in text]
    if sum(widths) <= _SINGLE[encoding]:
        return 1
    parts, used = 1, 0
    for width in widths:
        used += width
        if used > _PART[encoding]:
            parts, used = parts + 1, width
    return parts


def _width(character: str, encoding: Encoding) -> int:
    """Septets or UTF-16 units."""
    if encoding == "GSM-7":
        return 2 if character in _EXTENDED else 1
    return 2 if ord(character) > 0xFFFF else 1
