"""What attacks on the text cost a model, with its normaliser and without."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumer.classifier.normalise import normalise
from training.attacks import attack
from training.bootstrap import Interval
from training.data import Example
from training.metrics import Floats

_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Effect:
    """Quality on attacked texts, against the same texts as they were read the same way. Shares, not per cent."""

    recall: float | None
    recall_loss: float | None
    """Recall on the clean texts minus recall on the attacked ones; None without spam."""
    recall_loss_interval: Interval | None
    fpr: float | None
    fpr_rise: float | None
    """FPR on the attacked texts minus FPR on the clean ones; None without ham."""
    fpr_rise_interval: Interval | None

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Attacked:
    """One attack on a sample of the texts."""

    name: str
    spam: int
    ham: int
    normalised: Effect
    """As the filter reads: the attacked text is normalised first."""
    raw: Effect
    """The network reads the attacked text as it is."""

    def as_json(self) -> dict[str, Any]:
        return {
            "attack": self.name,
            "spam": self.spam,
            "ham": self.ham,
            "normalised": self.normalised.as_json(),
            "raw": self.raw.as_json(),
        }


def under_attack(
    score: Callable[[Sequence[str]], Floats],
    threshold: float,
    examples: Sequence[Example],
    names: Sequence[str],
    seed: int,
) -> Iterator[Attacked]:
    """Yield the effect of each attack on all of `examples`. `score` gives P(spam) of texts read as they are.

    Each text's edits follow from the seed, the attack and its place, so that two models meet the same texts.
    """
    is_spam = np.array([each.label == "spam" for each in examples], dtype=bool)
    known: dict[str, float] = {}

    def said(texts: Sequence[str]) -> NDArray[np.bool_]:
        # Normalisation turns many attacked texts back into the clean one, which has been read.
        new = list(dict.fromkeys(text for text in texts if text not in known))
        known.update(zip(new, score(new).tolist(), strict=True))
        return np.array([known[text] for text in texts]) >= threshold

    clean, clean_raw = said([each.text for each in examples]), said([each.original for each in examples])
    for name in names:
        edited = [attack(each.original, name, random.Random(f"{seed}:{name}:{i}")) for i, each in enumerate(examples)]
        yield Attacked(
            name,
            spam=int(is_spam.sum()),
            ham=int((~is_spam).sum()),
            normalised=_effect(clean, said([normalise(text).text for text in edited]), is_spam, seed),
            raw=_effect(clean_raw, said(edited), is_spam, seed),
        )


def _effect(clean: NDArray[np.bool_], attacked: NDArray[np.bool_], is_spam: NDArray[np.bool_], seed: int) -> Effect:
    change = attacked.astype(float) - clean
    spam, ham = change[is_spam], change[~is_spam]
    return Effect(
        recall=_mean(attacked[is_spam]),
        recall_loss=_mean(-spam),
        recall_loss_interval=_interval(-spam, seed),
        fpr=_mean(attacked[~is_spam]),
        fpr_rise=_mean(ham),
        fpr_rise_interval=_interval(ham, seed),
    )


def _mean(values: NDArray[Any]) -> float | None:
    return round(float(values.mean()), 6) if len(values) else None


def _interval(changes: Floats, seed: int) -> Interval | None:
    """The 95 % interval of the mean change of a text's label: a paired bootstrap, as each text is its own control.

    A change is -1, 0 or 1, so a draw is three counts.
    """
    if not len(changes):
        return None
    shares = [float((changes == value).mean()) for value in (-1, 0, 1)]
    counts = np.random.default_rng(seed).multinomial(len(changes), shares, size=_DRAWS)
    low, high = np.quantile((counts[:, 2] - counts[:, 0]) / len(changes), [0.025, 0.975])
    return round(float(low), 6), round(float(high), 6)
