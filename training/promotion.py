"""From a model folder to a champion: try candidate and champion on the frozen test, let the gate decide, promote.

Before there is a champion, the model that comes with smsift serves, and the candidate is compared with that one. The
frozen test is what neither model was trained on, in the same order for both. A refused model changes nothing in the
models folder; what the gate said of it is logged all the same.
"""

import hashlib
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from consumer.classifier.artifact import Artifact, load_artifact
from consumer.classifier.models_folder import Aliases, fetch, read_aliases
from consumer.classifier.normalise import NORMALISER_VERSION
from consumer.settings import Settings
from schemas.errors import UserError
from training import registry, snapshots, tracking
from training.data import Example, text_key
from training.gate import NO_CHAMPION, Decision, Floors, Judged, judge
from training.metrics import Scores

if TYPE_CHECKING:
    from consumer.classifier.engine import Engine

ATTACK: Final = "composed"
ATTACKED_SPAM: Final = 500
ATTACKED_HAM: Final = 1000
"""Texts attacked at most: enough to see a change of 0.1 % of the ham."""
TIMED: Final = 256
"""Texts a timed round."""
ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Frozen:
    """The texts on which models are compared."""

    examples: tuple[Example, ...]
    digest: str
    """SHA-256 (hex) of labels and texts, in order."""
    left_out: int
    """Texts that one of the models was trained on."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate said of a candidate, and of which aliases it stood when it did."""

    artifact: Artifact
    decision: Decision
    aliases: Aliases

    def as_json(self) -> dict[str, Any]:
        decision = self.decision
        champion = self.aliases.champion
        return {
            "passed": decision.passed,
            "model": self.artifact.manifest.name,
            "version": self.artifact.manifest.version,
            "champion": champion.folder if champion else None,
            "checks": [asdict(check) for check in decision.checks],
            "reasons": decision.reasons,
            "metrics": decision.metrics,
            "test": decision.test,
        }


@dataclass(frozen=True, slots=True)
class Contender:
    """A model that is ready to be tried."""

    artifact: Artifact
    engine: "Engine"
    name: str

    @classmethod
    def of(cls, artifact: Artifact, settings: Settings) -> Self:
        """Raises UserError where the model's base is not at hand."""
        return cls(artifact, _engine(artifact, settings), name_of(artifact))


def ask_gate(
    settings: Settings,
    artifact: Artifact,
    floors: Floors,
    data: Sequence[Example] | None = None,
    *,
    shipped: Path | None = None,
) -> Verdict:
    """Judge a candidate beside what serves today, and log the decision.

    That is the champion of the models folder, before there is one `shipped`: the folder of the model that comes with
    smsift (None: nothing serves). Where `shipped` cannot be loaded the floors decide, and the reasons say so. `data`:
    labelled texts to judge on; None: the tests of the snapshot that the candidate was made from. Raises UserError where
    the test, the candidate, the champion or the base of one of them cannot be had.
    """
    if artifact.manifest.normaliser_version != NORMALISER_VERSION:
        raise UserError(
            f"{name_of(artifact)} was trained behind normaliser {artifact.manifest.normaliser_version}, this is "
            f"{NORMALISER_VERSION}, so it could not serve: train it again."
        )
    aliases = read_aliases(settings.models_folder)
    serving, why_none = _serving(settings, aliases, shipped)
    frozen = frozen_test(settings.data_folder, artifact, serving.artifact if serving else None, data)
    candidate = Contender.of(artifact, settings)
    ours, *theirs = tried([candidate] if serving is None else [candidate, serving], frozen)
    decision = judge(ours, theirs[0] if theirs else None, floors, why_none=why_none)
    verdict = Verdict(artifact, decision, aliases)
    tracking.log_decision(settings.mlflow_uri, artifact, verdict.as_json())
    return verdict


def promote(settings: Settings, verdict: Verdict) -> Aliases:
    """Make a model that passed the gate champion, then mirror the aliases to MLflow. Raises UserError for one that did not."""
    if not verdict.decision.passed:
        raise UserError(f"The gate refused {name_of(verdict.artifact)}: it is not promoted.")
    aliases = registry.promote(settings.models_folder, verdict.artifact, verdict.aliases, verdict.as_json())
    mirror(settings, aliases)
    return aliases


def rollback(settings: Settings) -> Aliases:
    """Go back to the previous champion, else to the model that comes with smsift, then mirror the aliases to MLflow."""
    aliases = registry.rollback(settings.models_folder)
    mirror(settings, aliases)
    return aliases


def mirror(settings: Settings, aliases: Aliases) -> None:
    tracking.mirror(
        settings.mlflow_uri,
        aliases,
        lambda alias: load_artifact(fetch(settings.models_folder, alias, settings.models_cache)),
    )


def frozen_test(
    store: str, candidate: Artifact, champion: Artifact | None, data: Sequence[Example] | None = None
) -> Frozen:
    """Return `data`, or the tests of the candidate's snapshot, without what either model was trained on.

    That is known of models whose snapshot is in the store. Raises UserError where nothing is left.
    """
    seen: set[str] = set()
    examples = None if data is None else list(data)
    for model in (candidate, champion):
        if model is None:
            continue
        try:
            splits = snapshots.pull(store, model.manifest.data_version)
        except UserError as error:
            if model is candidate and data is None:
                raise UserError(f"{error} Or name labelled files to judge on with --data.") from error
            continue
        seen |= {text_key(each.text) for each in (*splits.train, *splits.validation)}
        if examples is None:
            examples = [each for name in sorted(splits.tests) for each in splits.tests[name]]
    given = examples or []
    kept = tuple(each for each in given if text_key(each.text) not in seen)
    if not kept:
        raise UserError("No labelled texts are left to judge on: both models were trained on them, or there were none.")
    lines = "\n".join(json.dumps((each.label, each.text)) for each in kept)
    return Frozen(kept, hashlib.sha256(lines.encode()).hexdigest(), len(given) - len(kept))


def labelled(data: Sequence[str], settings: Settings) -> list[Example] | None:
    """Read corpora (PATH[:TEXT_COLUMN:LABEL_COLUMN]) to judge on, near-duplicates once. None for none."""
    if not data:
        return None
    from schemas.corpus import parse_spec
    from training.judge import read_parts

    parts = read_parts([parse_spec(each) for each in data], settings, distinct=True)
    return [each for part in parts.values() for each in part]


def tried(
    models: Sequence[Contender], frozen: Frozen, *, clock: Callable[[], float] = time.perf_counter
) -> list[Judged]:
    """Run each model on the frozen test, as it is and under attack, and time them in turns."""
    from consumer.classifier.model import Model
    from training.robustness import under_attack
    from training.scorer import Scorer

    is_spam = np.array([each.label == "spam" for each in frozen.examples])
    draw = random.Random(frozen.digest)
    spam, ham = ([each for each in frozen.examples if each.label == label] for label in ("spam", "ham"))
    attacked = [*_some(spam, ATTACKED_SPAM, draw), *_some(ham, ATTACKED_HAM, draw)]
    scorers = [Scorer.of(each.artifact, each.engine) for each in models]
    served = [Model(each.artifact, each.engine) for each in models]
    speeds = _speeds(served, [each.original for each in _some(frozen.examples, TIMED, draw)], clock)
    found = []
    for contender, scorer, speed in zip(models, scorers, speeds, strict=True):
        scores = Scores.of(scorer.score([each.text for each in frozen.examples]), is_spam, scorer.threshold)
        (effect,) = under_attack(scorer.score, scorer.threshold, attacked, [ATTACK], seed=0)
        found.append(
            Judged(
                name=contender.name,
                test=frozen.digest,
                scores=scores,
                attack_recall_loss=effect.normalised.recall_loss,
                attack_fpr_rise=effect.normalised.fpr_rise,
                speed=speed,
            )
        )
    return found


def name_of(artifact: Artifact) -> str:
    return f"{artifact.manifest.name} {artifact.manifest.version}"


def _serving(settings: Settings, aliases: Aliases, shipped: Path | None) -> tuple[Contender | None, str]:
    """Return what serves today; where there is nothing to compare with, why."""
    if aliases.champion is not None:
        folder = fetch(settings.models_folder, aliases.champion, settings.models_cache)
        return Contender.of(load_artifact(folder), settings), ""
    if shipped is None:
        return None, NO_CHAMPION
    try:
        found = Contender.of(load_artifact(shipped), settings)
    except UserError as error:
        why = str(error).rstrip(".")
        return (
            None,
            f"no champion yet, and no comparison with the model that comes with smsift, which does not load: {why}",
        )
    return replace(found, name=f"{found.name}, which comes with smsift"), ""


def _engine(artifact: Artifact, settings: Settings) -> "Engine":
    """Of two models with different bases, SMSIFT_BASE can only be the one's; the other's is looked for as usual."""
    from consumer.classifier.model import load_engine

    try:
        return load_engine(artifact, settings.base, settings.device)
    except UserError:
        if settings.base is None:
            raise
        return load_engine(artifact, None, settings.device)


def _speeds(models: Sequence[Any], texts: Sequence[str], clock: Callable[[], float]) -> list[float]:
    """Texts a second of each model's best round; in turns, so that what else the machine does meets all of them."""
    best = [0.0] * len(models)
    for model in models:
        model.warm_up()
    for _ in range(ROUNDS):
        for i, model in enumerate(models):
            started = clock()
            model.classify(texts)
            best[i] = max(best[i], len(texts) / max(clock() - started, 1e-9))
    return best


def _some(examples: Sequence[Example], most: int, draw: random.Random) -> Sequence[Example]:
    return examples if len(examples) <= most else draw.sample(examples, most)
