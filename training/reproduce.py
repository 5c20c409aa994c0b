"""Published claims, repeated: accuracy on a random 80/20 split of the SMS Spam Collection, before and after tuning.

Beside them what the claims leave out: what calling everything ham is worth, what naive Bayes is worth, and the same on
a split that keeps near-duplicates together. Every model labels a text spam from a score of 0.5 on, as published.
"""

import logging
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from consumer.classifier.normalise import normalise
from consumer.settings import Settings
from schemas.corpus import CorpusSpec, Message, parse_spec
from schemas.errors import UserError
from training import corpora
from training.data import Dropped, Example, Splits, split_corpora, version_of
from training.floor import fit
from training.metrics import Metrics, Scores, measure
from training.recipe import load_recipe
from training.scorer import BEFORE, Scorer, untuned

log = logging.getLogger("smsift.evaluation")

HUB_ID: Final = "ucirvine/sms_spam"
_IN_CORPUS_DIR: Final = "uci_sms_spam/SMSSpamCollection"
_NAME: Final = "uci"
_TEST_SHARE: Final = 0.2
_VALIDATION_SHARE: Final = 0.1
"""Of all texts, taken from the training part: calibration needs texts that training has not seen."""
_AFTER: Final = "after tuning"


@dataclass(frozen=True, slots=True)
class Claim:
    """What was published of a model, and the recipe that makes it here."""

    name: str
    recipe: str
    before: str = ""
    """Published accuracy before tuning, per cent; empty: none."""
    after: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"claim": self.name, "recipe": self.recipe, "published": {"before": self.before, "after": self.after}}


CLAIMS: Final = {
    claim.name: claim
    for claim in (
        Claim("tinyllama", "tinyllama-qlora", after="98\u2013100"),
        Claim("gpt2", "gpt2-lora", before="84\u201385", after="91"),
        Claim("gpt2-large", "gpt2-large-lora"),
        Claim("distilbert", "distilbert-lora"),
        Claim("minilm", "minilm-qlora"),
    )
}


@dataclass(frozen=True, slots=True)
class Row:
    """A model on the test part of a split."""

    split: str
    model: str
    metrics: Metrics | None
    """None where the model could not be made; the note says why."""
    published: str = ""
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def claim_named(name: str) -> Claim:
    """Raises UserError for a name that is not one of CLAIMS."""
    if name not in CLAIMS:
        raise UserError(f"There is no claim {name}: choose {', '.join(CLAIMS)}.")
    return CLAIMS[name]


def reproduced(
    claim: Claim,
    settings: Settings,
    *,
    data: str | None = None,
    base: str | None = None,
    seed: int = 0,
    max_steps: int | None = None,
) -> Iterator[Row]:
    """Yield the rows of a claim: four per split. A base that is not at hand is a note in its rows.

    `data`: the collection; None: in the corpus folder of the settings, else from the hub. `max_steps` ends each training
    early. Raises UserError where the collection cannot be read.
    """
    messages = corpora.read(_collection(data, settings), settings).messages
    missing = ""
    for split, splits in (
        ("random 80/20", random_split(messages, seed)),
        (
            "by near-duplicate cluster",
            split_corpora({_NAME: messages}, {}, validation_share=_VALIDATION_SHARE, test_share=_TEST_SHARE, seed=seed),
        ),
    ):
        test = splits.tests[_NAME]
        is_spam = np.array([each.label == "spam" for each in test])
        yield Row(split, "always ham", measure(Scores.of(np.zeros(len(test)), is_spam, 0.5)))
        known = (*splits.train, *splits.validation)
        bayes = fit([each.text for each in known], [each.label == "spam" for each in known])
        p = bayes.predict_proba([each.text for each in test])[:, 1]
        yield Row(split, "naive Bayes", measure(Scores.of(p, is_spam, 0.5)))
        scorers: tuple[Scorer, Scorer] | None = None
        if not missing:
            try:
                scorers = _tuned(claim, splits, settings, base, seed, max_steps)
            except UserError as error:
                missing = str(error)
        for model, published, place in ((BEFORE, claim.before, 0), (_AFTER, claim.after, 1)):
            if scorers is None:
                yield Row(split, model, None, published, missing)
            else:
                p = scorers[place].score([each.text for each in test])
                yield Row(split, model, measure(Scores.of(p, is_spam, 0.5)), published)


def random_split(messages: Sequence[Message], seed: int) -> Splits:
    """Split by row as most papers do, duplicates and all: variants of one text are on both sides.

    Raises UserError where a part lacks one of the classes.
    """
    examples = [Example(normalise(each.text).text, each.text, each.label, _NAME) for each in messages]
    random.Random(seed).shuffle(examples)
    tested, validated = round(len(examples) * _TEST_SHARE), round(len(examples) * _VALIDATION_SHARE)
    test, validation = examples[:tested], examples[tested : tested + validated]
    train = examples[tested + validated :]
    if any({each.label for each in part} != {"spam", "ham"} for part in (test, validation, train)):
        raise UserError("The collection is too small to be split: each part needs both spam and ham.")
    tests = {_NAME: tuple(test)}
    return Splits(tuple(train), tuple(validation), tests, Dropped({}), version_of(train, validation, tests))


def _tuned(
    claim: Claim, splits: Splits, settings: Settings, base: str | None, seed: int, max_steps: int | None
) -> tuple[Scorer, Scorer]:
    """Train, and return the model before and after, with 0.5 for a threshold. Raises UserError: the base is not at hand."""
    from consumer.classifier.model import load_engine
    from training.train import train_on

    with tempfile.TemporaryDirectory() as work:
        artifact = train_on(
            load_recipe(claim.recipe), splits, Path(work) / "model", seed=seed, base=base, max_steps=max_steps
        )
        before = untuned(artifact, base, splits.validation, device=settings.device, threshold=0.5)
        engine = load_engine(artifact, base, settings.device)
    return before, replace(Scorer.of(artifact, engine), threshold=0.5)


def _collection(data: str | None, settings: Settings) -> CorpusSpec:
    if data is not None:
        return parse_spec(data)
    if settings.corpus_dir is not None and (path := settings.corpus_dir / _IN_CORPUS_DIR).is_file():
        return CorpusSpec(path)
    return CorpusSpec(HUB_ID)
