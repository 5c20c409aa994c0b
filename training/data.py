"""Labelled texts for training: cleaned, free of duplicates, split by near-duplicate cluster.

Spam comes in campaigns: a third of the spam in public corpora is a variant of another row. A split by row would put
variants of one text on both sides and measure memory, so clusters of similar texts never cross a split, and a cluster
counts once where a model is judged.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from consumer.classifier.normalise import normalise
from schemas.errors import UserError

SIMILAR: Final = 0.6
"""Jaccard similarity of word 3-shingles from which two texts are variants of one."""
_PERMUTATIONS: Final = 128
_SHINGLE: Final = 3

SplitName = Literal["train", "validation", "test"]
LabelName = Literal["spam", "ham"]


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled text, as the model reads it."""

    text: str
    """Normalised."""
    label: LabelName
    source: str
    """Name of its corpus."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows that were left out, and why."""

    empty: int
    duplicate: int
    conflicting: int
    overlapping: int
    """Rows of a held-out corpus that are variants of a text in the others."""


@dataclass(frozen=True, slots=True)
class Splits:
    """What a model is made from and judged by."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    tests: Mapping[str, tuple[Example, ...]]
    """Per corpus: the test clusters of the training corpora, and the whole of each held-out corpus."""
    dropped: Dropped
    version: str
    """SHA-256 (hex) of the sorted rows with their split."""


def split_corpora(
    corpora: Mapping[str, Iterable[tuple[str, str]]],
    held_out: Mapping[str, Iterable[tuple[str, str]]],
    *,
    validation_share: float,
    test_share: float,
    seed: int,
) -> Splits:
    """Clean, de-duplicate, cluster and split (text, label) rows per corpus; held-out corpora are only tested on.

    Raises UserError where a corpus has an unknown label, or where a split lacks one of the classes.
    """
    rows, empty = _clean({**corpora, **held_out})
    examples, duplicate, conflicting = _distinct(rows)
    clusters: dict[int, list[Example]] = defaultdict(list)
    for example, cluster in zip(examples, near_duplicates([each.text for each in examples]), strict=True):
        clusters[cluster].append(example)
    train: list[Example] = []
    validation: list[Example] = []
    tests: dict[str, list[Example]] = {name: [] for name in (*corpora, *held_out)}
    overlapping = 0
    for members in clusters.values():
        known = [each for each in members if each.source in corpora]
        overlapping += len(members) - len(known) if known else 0
        if not known:
            tests[members[0].source].append(members[0])
            continue
        split = _draw(known, validation_share, test_share, seed)
        if split == "train":
            train.extend(known)
        elif split == "validation":
            validation.append(known[0])
        else:
            tests[known[0].source].append(known[0])
    for name, part in (("training", train), ("validation", validation)):
        if {each.label for each in part} != {"spam", "ham"}:
            raise UserError(f"The {name} split needs both spam and ham: give a larger corpus that has both.")
    return Splits(
        tuple(train),
        tuple(validation),
        {name: tuple(part) for name, part in tests.items() if part},
        Dropped(empty, duplicate, conflicting, overlapping),
        _version(train, validation, tests),
    )


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


def _clean(corpora: Mapping[str, Iterable[tuple[str, str]]]) -> tuple[list[Example], int]:
    rows: list[Example] = []
    empty = 0
    for source, corpus in corpora.items():
        for text, label in corpus:
            if label not in {"spam", "ham"}:
                raise UserError(f"The corpus {source} has a label that is neither spam nor ham: map its labels first.")
            plain = normalise(text).text
            if _key(plain):
                rows.append(Example(plain, "spam" if label == "spam" else "ham", source))
            else:
                empty += 1
    return rows, empty


def _distinct(rows: Iterable[Example]) -> tuple[list[Example], int, int]:
    """Keep the first of equal texts; none of them where their labels contradict each other."""
    by_key: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        by_key[_key(row.text)].append(row)
    agreed = [same for same in by_key.values() if len({row.label for row in same}) == 1]
    duplicate = sum(len(same) - 1 for same in agreed)
    conflicting = sum(len(same) for same in by_key.values()) - sum(len(same) for same in agreed)
    return [same[0] for same in agreed], duplicate, conflicting


def _key(text: str) -> str:
    """Texts that differ in case, digits, punctuation or spacing only are the same text."""
    return re.sub(r"[\W\d_]+", " ", text.casefold()).strip() or re.sub(r"\s+", "", text)


def _shingles(text: str) -> frozenset[str]:
    words = _key(text).split()
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


def _version(train: Iterable[Example], validation: Iterable[Example], tests: Mapping[str, Iterable[Example]]) -> str:
    splits: dict[str, Iterable[Example]] = {"train": train, "validation": validation}
    splits |= {f"test:{name}": part for name, part in tests.items()}
    lines = sorted(f"{name}\t{each.label}\t{each.text}\n" for name, part in splits.items() for each in part)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
