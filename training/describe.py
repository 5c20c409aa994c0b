"""What a labelled corpus is like: how balanced, how long, in which scripts, how repetitive, and what it shares with others.

A description holds counts only, never a text.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import quantiles
from typing import Any, Final

from consumer.classifier.normalise import SIGNALS, normalise
from schemas.corpus import Corpus, Message
from schemas.sms import encoding_of, parts_of
from training.data import text_key
from training.slices import script_of
from training.variants import clusters_of

_SHORT: Final = 20
"""Letters below which a language is not even guessed."""
_CLUSTER_SIZES: Final = (2, 3, 5, 10, 20, 50)


@dataclass(frozen=True, slots=True)
class Count:
    """Rows of something, by label."""

    spam: int
    ham: int

    @property
    def total(self) -> int:
        return self.spam + self.ham


Table = Mapping[str, Count]
"""Value → rows, in the order to show them."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Characters of the texts."""

    least: int
    median: int
    p95: int
    most: int


@dataclass(frozen=True, slots=True)
class Repetition:
    """Rows that say the same: word for word apart from case, digits and punctuation, or nearly."""

    distinct: int
    """Different texts."""
    identical: int
    """Rows that repeat another one character for character."""
    duplicates: int
    """Rows beyond the first of each text, the identical ones included."""
    conflicting_texts: int
    """Texts that are labelled both spam and ham."""
    conflicting_rows: int
    clusters: int
    """Distinct texts, those alike counted once: what a corpus is worth in independent messages."""
    spam_clusters: int
    """Clusters that hold spam."""
    near_duplicates: int
    """Distinct texts beyond the first of each cluster."""
    sizes: Mapping[str, int]
    """Distinct texts in a cluster → clusters; single texts left out."""
    largest: int
    """Distinct texts in the largest cluster."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """What the corpus shares with another set of texts."""

    name: str
    size: int
    """Texts of the other."""
    same: int
    """Rows here that are there word for word, apart from case, digits and punctuation."""
    similar: int
    """Other rows here that are variants of a text there."""


@dataclass(frozen=True, slots=True)
class Description:
    """One corpus in numbers."""

    name: str
    labels: Count
    left_out: Mapping[str, int]
    """Reason → rows that could not be read as labelled texts."""
    characters: Mapping[str, Lengths]
    """Label → lengths; only labels that occur."""
    encodings: Table
    parts: Table
    """SMS that a text takes → rows."""
    scripts: Table
    languages: Table
    """Guessed from the text, which is often wrong for a short one; told by the corpus where it has them."""
    languages_told: bool
    countries: Table
    categories: Table
    signals: Table
    """As the normaliser finds them."""
    repetition: Repetition
    overlaps: tuple[Overlap, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def describe(name: str, corpus: Corpus, against: Mapping[str, Iterable[str]] | None = None) -> Description:
    """Count what a corpus consists of; `against` (name → texts as given) are the sets that it should share nothing with."""
    messages = corpus.messages
    normalised = [normalise(message.text) for message in messages]
    texts = [each.text for each in normalised]
    others = {other: [normalise(text).text for text in given] for other, given in (against or {}).items()}
    told = any(message.language for message in messages)
    signals: dict[str, list[Message]] = {signal: [] for signal in SIGNALS}
    for message, each in zip(messages, normalised, strict=True):
        for signal in each.signals:
            signals[signal].append(message)
    return Description(
        name=name,
        labels=_count(messages),
        left_out=dict(corpus.left_out),
        characters={
            label: _lengths(lengths)
            for label in ("spam", "ham")
            if (lengths := [len(message.text) for message in messages if message.label == label])
        },
        encodings=_table(messages, lambda message: encoding_of(message.text)),
        parts=_table(messages, _parts, in_order=True),
        scripts=_table(messages, lambda message: script_of(message.text)),
        languages=_table(messages, (lambda message: message.language or "not told") if told else _guessed_language),
        languages_told=told,
        countries=_table([each for each in messages if each.country], lambda message: message.country or ""),
        categories=_table([each for each in messages if each.category], lambda message: message.category or ""),
        signals={signal: _count(found) for signal, found in signals.items()},
        repetition=_repetition(messages, texts),
        overlaps=tuple(_overlaps(texts, others)),
    )


def _count(messages: Sequence[Message]) -> Count:
    spam = sum(message.label == "spam" for message in messages)
    return Count(spam, len(messages) - spam)


def _table(messages: Sequence[Message], value_of: Callable[[Message], str], *, in_order: bool = False) -> Table:
    """The values by size, or in their own order."""
    by_value: dict[str, list[Message]] = defaultdict(list)
    for message in messages:
        by_value[value_of(message)].append(message)
    counts = [(value, _count(found)) for value, found in by_value.items()]
    counts.sort(key=lambda each: (0 if in_order else -each[1].total, each[0]))
    return dict(counts)


def _lengths(lengths: Sequence[int]) -> Lengths:
    points = quantiles(lengths, n=20, method="inclusive") if len(lengths) > 1 else [float(lengths[0])] * 19
    return Lengths(min(lengths), round(points[9]), round(points[18]), max(lengths))


def _parts(message: Message) -> str:
    parts = parts_of(message.text)
    return str(parts) if parts < 4 else "4 or more"


def _guessed_language(message: Message) -> str:
    import py3langid  # type: ignore[import-untyped]

    if sum(letter.isalpha() for letter in message.text) < _SHORT:
        return "too short"
    return str(py3langid.classify(message.text)[0])


def _repetition(messages: Sequence[Message], texts: Sequence[str]) -> Repetition:
    labels: dict[str, list[str]] = defaultdict(list)
    members: dict[int, set[str]] = defaultdict(set)
    spam: set[int] = set()
    for message, text, cluster in zip(messages, texts, clusters_of(texts), strict=True):
        key = text_key(text)
        labels[key].append(message.label)
        members[cluster].add(key)
        if message.label == "spam":
            spam.add(cluster)
    conflicting = [said for said in labels.values() if len(set(said)) > 1]
    sizes = sorted(len(keys) for keys in members.values())
    return Repetition(
        distinct=len(labels),
        identical=len(messages) - len({message.text for message in messages}),
        duplicates=len(texts) - len(labels),
        conflicting_texts=len(conflicting),
        conflicting_rows=sum(map(len, conflicting)),
        clusters=len(members),
        spam_clusters=len(spam),
        near_duplicates=len(labels) - len(members),
        sizes=_grouped(sizes),
        largest=sizes[-1] if sizes else 0,
    )


def _grouped(sizes: Iterable[int]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    names = {
        low: f"{low}\u2013{high - 1}" if high - 1 > low else str(low)
        for low, high in zip(_CLUSTER_SIZES, (*_CLUSTER_SIZES[1:], 0), strict=True)
    } | {_CLUSTER_SIZES[-1]: f"{_CLUSTER_SIZES[-1]} or more"}
    for size in sizes:
        low = max((each for each in _CLUSTER_SIZES if each <= size), default=0)
        if low:
            counts[names[low]] += 1
    return {name: counts[name] for name in names.values() if counts[name]}


def _overlaps(texts: Sequence[str], others: Mapping[str, Sequence[str]]) -> Iterator[Overlap]:
    if not others:
        return
    keys = [text_key(text) for text in texts]
    clusters = clusters_of([*texts, *(text for theirs in others.values() for text in theirs)])
    start = len(texts)
    for name, theirs in others.items():
        known = {text_key(text) for text in theirs}
        alike = set(clusters[start : start + len(theirs)])
        start += len(theirs)
        same = sum(key in known for key in keys)
        similar = sum(cluster in alike and key not in known for cluster, key in zip(clusters, keys, strict=False))
        yield Overlap(name, len(theirs), same, similar)
