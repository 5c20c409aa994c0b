"""Labelled texts for training: cleaned, free of duplicates, split by near-duplicate cluster.

Spam comes in campaigns: a third of the spam in public corpora is a variant of another row. A split by row would put
variants of one text on both sides and measure memory, so clusters of similar texts never cross a split, and a cluster
counts once where a model is judged.
"""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Final, Literal

from consumer.classifier.normalise import normalise
from schemas.corpus import Message
from schemas.errors import UserError
from schemas.events import LONE_SURROGATE, LabelName

SIMILAR: Final = 0.6
"""Jaccard similarity of word 3-shingles from which two texts are variants of one."""
_PERMUTATIONS: Final = 128
_SHINGLE: Final = 3

SplitName = Literal["train", "validation", "test"]
Row = tuple[str, str] | Message
"""Text and label, as given."""


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled text."""

    text: str
    """Normalised, as the model reads it."""
    original: str
    """As given."""
    label: LabelName
    source: str
    """Name of its corpus."""
    country: str | None = None
    language: str | None = None
    category: str | None = None
    """Kind of spam or ham."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows that were left out, and why."""

    by_corpus: Mapping[str, Mapping[str, int]]
    """Corpus → reason → rows. What a reader left out (unlabelled, unreadable, text_gone) has its own reasons."""

    @property
    def empty(self) -> int:
        """No text, or none that a reader could see."""
        return self.total("empty")

    @property
    def duplicate(self) -> int:
        """The same text with the same label is there already."""
        return self.total("duplicate")

    @property
    def conflicting(self) -> int:
        """The same text is labelled both spam and ham: all its rows are left out."""
        return self.total("conflicting")

    @property
    def overlapping(self) -> int:
        """Rows of a held-out corpus that are in the others, word for word or as a variant."""
        return self.total("overlapping")

    @property
    def variant(self) -> int:
        """Rows for judging that are variants of a row there: a campaign counts once."""
        return self.total("variant")

    def total(self, reason: str) -> int:
        return sum(counts.get(reason, 0) for counts in self.by_corpus.values())

    def __str__(self) -> str:
        reasons = sorted({reason for counts in self.by_corpus.values() for reason in counts})
        return ", ".join(f"{reason} {self.total(reason)}" for reason in reasons) or "nothing"


@dataclass(frozen=True, slots=True)
class Splits:
    """What a model is made from and judged by. The examples are in an order of their own, the same for the same rows."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    tests: Mapping[str, tuple[Example, ...]]
    """Per corpus: the test clusters of the training corpora, and the whole of each held-out corpus."""
    dropped: Dropped
    version: str
    """SHA-256 (hex) of the sorted rows with their split: see `version_of`."""


def split_corpora(
    corpora: Mapping[str, Iterable[Row]],
    held_out: Mapping[str, Iterable[Row]],
    *,
    validation_share: float,
    test_share: float,
    seed: int,
    left_out: Mapping[str, Mapping[str, int]] | None = None,
) -> Splits:
    """Clean, de-duplicate, cluster and split the rows of each corpus; held-out corpora are only tested on.

    `left_out` (corpus → reason → rows) is what reading them left out already, for the report. The order of the rows does
    not matter. Raises UserError where a corpus has an unknown label, or where a split lacks one of the classes.
    """
    dropped: dict[str, Counter[str]] = {name: Counter() for name in (*corpora, *held_out)}
    for name, counts in (left_out or {}).items():
        dropped[name].update(counts)
    examples = _distinct(_clean({**corpora, **held_out}, dropped), held_out, dropped)
    clusters: dict[int, list[Example]] = defaultdict(list)
    for example, cluster in zip(examples, near_duplicates([each.text for each in examples]), strict=True):
        clusters[cluster].append(example)
    train: list[Example] = []
    validation: list[Example] = []
    tests: dict[str, list[Example]] = {name: [] for name in (*corpora, *held_out)}
    rank = {name: i for i, name in enumerate(dropped)}
    for members in clusters.values():
        members.sort(key=lambda each: rank[each.source])
        known = [each for each in members if each.source in corpora]
        split = _draw(known, validation_share, test_share, seed) if known else "test"
        for each in members[len(known) :] if known else ():
            dropped[each.source]["overlapping"] += 1
        if split == "train":
            train.extend(known)
            continue
        judged, *variants = known or members
        (validation if split == "validation" else tests[judged.source]).append(judged)
        for each in variants:
            dropped[each.source]["variant"] += 1
    for name, part in (("training", train), ("validation", validation)):
        if {each.label for each in part} != {"spam", "ham"}:
            raise UserError(f"The {name} split needs both spam and ham: give a larger corpus that has both.")
    parts = {name: tuple(part) for name, part in tests.items() if part}
    return Splits(
        tuple(train),
        tuple(validation),
        parts,
        Dropped({name: dict(counts) for name, counts in dropped.items() if counts}),
        version_of(train, validation, parts),
    )


def version_of(train: Iterable[Example], validation: Iterable[Example], tests: Mapping[str, Iterable[Example]]) -> str:
    """The data version: SHA-256 (hex) of the sorted rows, each with its split and everything known about it."""
    splits: dict[str, Iterable[Example]] = {"train": train, "validation": validation}
    splits |= {f"test:{name}": part for name, part in tests.items()}
    lines = sorted(json.dumps((name, *astuple(each))) for name, part in splits.items() for each in part)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def near_duplicates(texts: Sequence[str]) -> list[int]:
    """Return a cluster number per text: texts joined by a chain of similar pairs share one."""
    from datasketch import MinHash, MinHashLSH

    shingles = [_shingles(text) for text in texts]
    # LSH proposes pairs, the exact similarity decides; a lower threshold there makes it miss fewer of them.
    index = MinHashLSH(threshold=SIMILAR - 0.1, num_perm=_PERMUTATIONS)
    parents = list(range(len(texts)))
    hashes = MinHash.generator([[piece.encode() for piece in each] for each in shingles], num_perm=_PERMUTATIONS)
    for i, minhash in enumerate(hashes):
        for j in index.query(minhash):
            if _root(parents, i) != _root(parents, j) and _similarity(shingles[i], shingles[j]) >= SIMILAR:
                parents[_root(parents, i)] = _root(parents, j)
        index.insert(i, minhash)
    return [_root(parents, i) for i in range(len(texts))]


def _clean(corpora: Mapping[str, Iterable[Row]], dropped: Mapping[str, Counter[str]]) -> list[Example]:
    rows: list[Example] = []
    for source, corpus in corpora.items():
        for row in corpus:
            text, label = row[0], row[1]
            if label not in {"spam", "ham"}:
                raise UserError(f"The corpus {source} has a label that is neither spam nor ham: map its labels first.")
            original = LONE_SURROGATE.sub("\ufffd", text)
            plain = normalise(original).text
            if not text_key(plain):
                dropped[source]["empty"] += 1
                continue
            known = (row.country, row.language, row.category) if isinstance(row, Message) else ()
            rows.append(Example(plain, original, "spam" if label == "spam" else "ham", source, *known))
    return rows


def _distinct(
    rows: Iterable[Example], held_out: Mapping[str, Iterable[Row]], dropped: Mapping[str, Counter[str]]
) -> list[Example]:
    """Keep one of equal texts, none of them where their labels contradict each other; in an order that is not the input's.

    Of equal texts the one of the first corpus stays, so that a held-out corpus loses what the others have.
    """
    by_key: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        by_key[text_key(row.text)].append(row)
    kept: list[Example] = []
    order = {source: i for i, source in enumerate(dropped)}
    for same in by_key.values():
        agreed = len({row.label for row in same}) == 1
        first, *others = sorted(same, key=lambda row: (order[row.source], row.text, row.original))
        if agreed:
            kept.append(first)
        for row in others if agreed else same:
            known = row.source in held_out and first.source not in held_out
            dropped[row.source][("overlapping" if known else "duplicate") if agreed else "conflicting"] += 1
    return sorted(kept, key=lambda each: (hashlib.sha256(each.text.encode()).digest(), each.original))


def text_key(text: str) -> str:
    """Equal for texts that differ in case, digits, punctuation or spacing only: they are the same text."""
    return re.sub(r"[\W\d_]+", " ", text.casefold()).strip() or re.sub(r"\s+", "", text)


def _shingles(text: str) -> frozenset[str]:
    words = text_key(text).split()
    if len(words) < _SHINGLE:
        return frozenset([" ".join(words)])
    return frozenset(" ".join(words[i : i + _SHINGLE]) for i in range(len(words) - _SHINGLE + 1))


def _similarity(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b)


def _root(parents: list[int], i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


def _draw(cluster: Sequence[Example], validation_share: float, test_share: float, seed: int) -> SplitName:
    """A cluster's split follows from its text and the seed alone, so that adding rows moves few others."""
    digest = hashlib.sha256(f"{seed}:{min(each.text for each in cluster)}".encode()).digest()
    draw = int.from_bytes(digest[:8], "big") / 2**64
    if draw < test_share:
        return "test"
    return "validation" if draw < test_share + validation_share else "train"
