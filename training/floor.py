"""The floor under every model: multinomial naive Bayes over words and pairs of words. What does not beat it is no use."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from training.data import Example
from training.metrics import Floats

_FOLDS: Final = 5
_URL: Final = re.compile(r"https?://\S+|www\.\S+|\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,6}/\S*", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Floor:
    """Naive Bayes on some texts."""

    p: Floats
    """P(spam) of each text, from a model that was not trained on it (unless `note` says otherwise)."""
    note: str
    """What it was trained on."""


def naive_bayes(
    examples: Sequence[Example], clusters: Sequence[int] | None, training: Sequence[Example] | None, seed: int
) -> Floor | None:
    """Judge `examples` by naive Bayes trained on `training`, else cross-validated on the examples themselves.

    Folds keep near-duplicates together where `clusters` are given. None where there is too little of a class to learn
    from: fewer than one text (or cluster) per fold.
    """
    texts = [each.text for each in examples]
    if training is not None:
        if len({each.label for each in training}) < 2:
            return None
        model = fit([each.text for each in training], [each.label == "spam" for each in training])
        return Floor(model.predict_proba(texts)[:, 1], f"trained on the model's own {len(training)} training texts")
    is_spam = np.array([each.label == "spam" for each in examples])
    groups = np.arange(len(texts)) if clusters is None else np.asarray(clusters)
    if min(len(np.unique(groups[is_spam])), len(np.unique(groups[~is_spam]))) < _FOLDS:
        return None
    from sklearn.model_selection import StratifiedGroupKFold

    p = np.zeros(len(texts))
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed).split(texts, is_spam, groups)
    for known, asked in folds:
        if len(np.unique(is_spam[known])) < 2:
            return None
        model = fit([texts[i] for i in known], is_spam[known].tolist())
        p[asked] = model.predict_proba([texts[i] for i in asked])[:, 1]
    by = "by text" if clusters is None else "by near-duplicate cluster"
    return Floor(p, f"trained on these very data sets, {_FOLDS}-fold cross-validation {by}")


def fit(texts: Sequence[str], is_spam: Sequence[bool]) -> Any:
    """Return a fitted sklearn pipeline from texts to (P(ham), P(spam)): words and pairs, URLs and numbers as one word each."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    words = CountVectorizer(preprocessor=_words, token_pattern=r"\b\w+\b", ngram_range=(1, 2))  # noqa: S106 - a word
    return make_pipeline(words, MultinomialNB()).fit(list(texts), np.asarray(is_spam, dtype=bool))


def _words(text: str) -> str:
    return _NUMBER.sub(" numbertoken ", _URL.sub(" urltoken ", text.lower()))
