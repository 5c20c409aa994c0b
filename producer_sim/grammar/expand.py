"""Templates: `{slot}` is replaced by a slot's value, `[a|b|]` by one of its alternatives; both nest.

A template is compiled once into a closure, so that a draw costs a few microseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Memory = dict[str, Any]
"""What one message has settled on so far (its bank, its country), so that a second mention agrees with the first."""

Piece = Callable[[Callable[[], float], Memory], str]
"""Makes text from a source of uniform numbers in [0, 1) and the message's memory."""


def compile_template(template: str, slot: Callable[[str], Piece]) -> Piece:
    """Compile `template`; `slot` gives the maker of a slot by name. ValueError for unbalanced brackets."""
    piece, end = _sequence(template, 0, slot, nested=False)
    if end != len(template):
        raise ValueError(f"unbalanced {template[end]!r} in {template!r}")
    return piece


def one_of(options: Sequence[Piece | str]) -> Piece:
    """A piece that is one of `options`, all equally likely."""
    count = len(options)
    if all(isinstance(option, str) for option in options):
        texts = [option for option in options if isinstance(option, str)]
        return lambda uniform, _memory: texts[int(uniform() * count)]
    pieces = [_constant(option) if isinstance(option, str) else option for option in options]
    return lambda uniform, memory: pieces[int(uniform() * count)](uniform, memory)


def _constant(text: str) -> Piece:
    return lambda _uniform, _memory: text


def _sequence(template: str, start: int, slot: Callable[[str], Piece], *, nested: bool) -> tuple[Piece, int]:
    """Parse up to the end, or inside a choice up to its `|` or `]`."""
    parts, at = _parts(template, start, slot, nested=nested)
    return _joined(parts), at


def _parts(template: str, start: int, slot: Callable[[str], Piece], *, nested: bool) -> tuple[list[Piece | str], int]:
    parts: list[Piece | str] = []
    at = start
    while at < len(template):
        character = template[at]
        if character == "{":
            close = template.find("}", at)
            if close < 0:
                raise ValueError(f"unbalanced '{{' in {template!r}")
            parts.append(slot(template[at + 1 : close]))
            at = close + 1
        elif character == "[":
            choice, at = _choice(template, at + 1, slot)
            parts.append(choice)
        elif character in "]|}":
            if nested and character != "}":
                return parts, at
            raise ValueError(f"unbalanced {character!r} in {template!r}")
        else:
            end = at
            while end < len(template) and template[end] not in "{}[]|":
                end += 1
            parts.append(template[at:end])
            at = end
    if nested:
        raise ValueError(f"unbalanced '[' in {template!r}")
    return parts, at


def _choice(template: str, start: int, slot: Callable[[str], Piece]) -> tuple[Piece, int]:
    options: list[Piece | str] = []
    at = start
    while True:
        parts, at = _parts(template, at, slot, nested=True)
        options.append("".join(map(str, parts)) if all(isinstance(p, str) for p in parts) else _joined(parts))
        at += 1
        if template[at - 1] == "]":
            return one_of(options), at


def _joined(parts: list[Piece | str]) -> Piece:
    if len(parts) == 1:
        only = parts[0]
        return _constant(only) if isinstance(only, str) else only
    pieces = [_constant(part) if isinstance(part, str) else part for part in parts]
    return lambda uniform, memory: "".join([piece(uniform, memory) for piece in pieces])
