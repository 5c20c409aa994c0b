"""The built-in corpus: an endless, seeded stream of messages drawn from a grammar of several hundred forms.

A form is one line of a file under forms/; its id is its category's file and a digest of the line, so it stays the
same whatever is added around it, and whole forms can be kept out of training. The same seed gives the same bytes.
"""

from __future__ import annotations

import hashlib
import random
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import accumulate, islice
from typing import Final, Literal

from producer_sim.grammar.expand import Memory, Piece, compile_template
from producer_sim.grammar.noise import Register, with_noise
from producer_sim.grammar.slots import BRAND_KINDS, COMPUTED, brand, brand_fake, brand_link, brand_site
from schemas.corpus import Message
from schemas.events import LabelName

Forms = Literal["all", "train", "test"]
SPAM_SHARE: Final = 0.14  # the SMS Spam Collection has 13.4 %
TEST_SHARE: Final = 5  # one form in five is a test form


@dataclass(frozen=True, slots=True)
class Source:
    """One file of forms: its share among the files of its label, and how its writers type."""

    label: LabelName
    stem: str
    weight: float
    register: Register

    @property
    def category(self) -> str:
        return self.stem.partition(".")[0]


SOURCES: Final = (
    Source("ham", "personal.chat", 33, "casual"),
    Source("ham", "personal.long", 4, "casual"),
    Source("ham", "personal.short", 19, "casual"),
    Source("ham", "personal.mixed", 5, "casual"),
    Source("ham", "personal.formal", 3, "plain"),
    Source("ham", "code", 8, "printed"),
    Source("ham", "transaction", 7, "printed"),
    Source("ham", "delivery", 5, "printed"),
    Source("ham", "appointment", 4, "printed"),
    Source("ham", "work", 6, "casual"),
    Source("ham", "service", 4.5, "printed"),
    Source("ham", "promotion", 1.5, "printed"),
    Source("spam", "prize", 13, "pushy"),
    Source("spam", "loan", 7, "pushy"),
    Source("spam", "parcel", 9, "pushy"),
    Source("spam", "toll", 5, "pushy"),
    Source("spam", "tax", 5, "pushy"),
    Source("spam", "bank", 12, "pushy"),
    Source("spam", "job", 6, "pushy"),
    Source("spam", "wrong_number", 7, "plain"),
    Source("spam", "impersonation", 4, "plain"),
    Source("spam", "adult", 4, "pushy"),
    Source("spam", "crypto", 5, "pushy"),
    Source("spam", "premium", 9, "pushy"),
    Source("spam", "pharmacy", 3, "pushy"),
    Source("spam", "gambling", 4, "pushy"),
    Source("spam", "charity", 2.5, "pushy"),
    Source("spam", "account", 8, "pushy"),
    Source("spam", "marketing", 6.5, "pushy"),
)


def _tidied(text: str) -> str:
    """Without the gaps that empty options leave behind."""
    text = " ".join(text.split())
    return text.replace(". .", ".").replace("? .", "?").replace("! .", "!").replace(" .", ".").replace(" ,", ",")


@dataclass(frozen=True, slots=True)
class Form:
    """One line of the grammar, compiled."""

    id: str
    source: Source
    piece: Piece

    @property
    def held_out(self) -> bool:
        """Whether it is a test form: decided by its id alone."""
        return hashlib.blake2s(self.id.encode()).digest()[0] % TEST_SHARE == 0


def stream(seed: int, forms: Forms = "all", spam_share: float = SPAM_SHARE) -> Iterator[Message]:
    """Messages without end. `forms` limits them to the train or the test forms, which have no form in common."""
    uniform = random.Random(seed).random
    weights, chosen = _table(forms, spam_share)
    draw, drawn = bisect, len(chosen) - 1
    while True:
        form = chosen[min(draw(weights, uniform()), drawn)]
        memory: Memory = {}
        text = _tidied(form.piece(uniform, memory))
        if text:
            source = form.source
            yield Message(with_noise(text, source.register, uniform), source.label, source.category, form.id)


def generate(seed: int, n: int, forms: Forms = "all", spam_share: float = SPAM_SHARE) -> Iterator[Message]:
    """The first `n` messages of the stream."""
    return islice(stream(seed, forms, spam_share), n)


@cache
def all_forms() -> tuple[Form, ...]:
    """Every form, compiled. ValueError names the file and line of one that cannot be."""
    slot = _slots()
    found = []
    for source in SOURCES:
        text = files(__package__).joinpath("forms", source.label, f"{source.stem}.txt").read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                piece = compile_template(line, slot.__getitem__)
            except (KeyError, ValueError) as error:
                raise ValueError(f"{source.stem}.txt, line {number}: {error}") from error
            digest = hashlib.blake2s(line.encode(), digest_size=5).hexdigest()
            found.append(Form(f"{source.stem}-{digest}", source, piece))
    return tuple(found)


@cache
def _table(forms: Forms, spam_share: float) -> tuple[list[float], tuple[Form, ...]]:
    """Cumulative probabilities and the forms they belong to."""
    chosen = tuple(form for form in all_forms() if forms == "all" or form.held_out == (forms == "test"))
    share = {"spam": spam_share, "ham": 1.0 - spam_share}
    lines: dict[Source, int] = {}
    for form in chosen:
        lines[form.source] = lines.get(form.source, 0) + 1
    total = {label: sum(source.weight for source in lines if source.label == label) for label in share}
    weights = [
        share[form.source.label] * form.source.weight / total[form.source.label] / lines[form.source]
        for form in chosen
    ]  # fmt: skip
    return list(accumulate(weights)), chosen


class _Slots(dict[str, Piece]):
    """Slots by name; those made of words are compiled when first asked for."""

    def __init__(self, words: dict[str, list[str]]) -> None:
        super().__init__(COMPUTED)
        self._words = words

    def __missing__(self, name: str) -> Piece:
        kind, _, part = name.partition(".")
        if part:
            made = {"site": brand_site, "link": brand_link, "fake": brand_fake}[part](self[kind])
        else:
            made = compile_template("[" + "|".join(self._words[kind]) + "]", self.__getitem__)
            if kind in BRAND_KINDS:
                made = brand(kind, made)
        self[name] = made
        return made


def _slots() -> _Slots:
    words: dict[str, list[str]] = {}
    text = files(__package__).joinpath("words.txt").read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, options = line.partition(":")
        if not colon:
            raise ValueError(f"words.txt, line {number}, has no colon")
        words.setdefault(name.strip(), []).extend(option.strip() for option in options.split("|"))
    return _Slots(words)
