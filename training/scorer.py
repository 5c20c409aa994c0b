"""A model as evaluation sees it: a network, and the decision fitted to its margins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from consumer.classifier.artifact import ADAPTER, CONFIG, MODEL, TOKENIZER, Artifact, Calibration
from schemas.errors import UserError
from training.data import Example
from training.metrics import Floats

if TYPE_CHECKING:
    from torch import Tensor

    from consumer.classifier.engine import Reading

BEFORE: Final = "before tuning"
_FPR_BUDGET: Final = 0.002


class Reader(Protocol):
    """An engine: normalised texts in, one reading (with its `margin`) each out."""

    def read(self, texts: Sequence[str]) -> "Sequence[Reading]": ...


@dataclass(frozen=True, slots=True)
class Scorer:
    """A network with the decision fitted to its margins: all that evaluation needs of a model, saved or not."""

    name: str
    engine: Reader
    calibration: Calibration
    threshold: float
    facts: Mapping[str, str] = field(default_factory=dict)
    """What a report should say of it: version, digest, base, …"""

    @classmethod
    def of(cls, artifact: Artifact, engine: Reader) -> "Scorer":
        """A saved model, for reports named by its version and digest."""
        manifest = artifact.manifest
        facts = {
            "version": manifest.version,
            "digest": artifact.digest,
            "base": manifest.base.id,
            "recipe": manifest.recipe,
            "data version": manifest.data_version,
            "normaliser": manifest.normaliser_version,
        }
        return cls(manifest.name, engine, manifest.calibration, manifest.threshold, facts)

    def score(self, texts: Sequence[str]) -> Floats:
        """Return the calibrated P(spam) of texts that are read as they are: normalise them first, or not."""
        from consumer.classifier.model import calibrated

        return np.array([calibrated(each.margin, self.calibration) for each in self.engine.read(texts)])


def load_scorer(folder: Path, base: str | None, device: str = "auto") -> tuple[Artifact, Scorer]:
    """Load and verify a model folder as the filter does. Raises UserError where it, its base or the device is unusable."""
    from consumer.classifier.artifact import load_artifact
    from consumer.classifier.model import load_engine
    from consumer.classifier.normalise import NORMALISER_VERSION

    artifact = load_artifact(folder)
    if artifact.manifest.normaliser_version != NORMALISER_VERSION:
        raise UserError(
            f"The model in {folder} was trained behind normaliser {artifact.manifest.normaliser_version}, this is "
            f"{NORMALISER_VERSION}: train it again, or run the version of smsift that made it."
        )
    return artifact, Scorer.of(artifact, load_engine(artifact, base, device))


def untuned(
    artifact: Artifact,
    base: str | None,
    validation: Sequence[Example],
    *,
    device: str = "auto",
    threshold: float | None = None,
    note: str = "",
) -> Scorer:
    """Return what the model was before tuning: its base under a fresh head, seeded as in training.

    A network that has learnt nothing still has margins: calibration and, where none is given, the threshold are fitted
    to `validation`, which needs both classes, as they are after tuning. `note` says what was used for it.
    """
    from consumer.classifier.model import calibrated
    from training.calibrate import choose_threshold, fit_platt

    engine = _untuned_engine(artifact, base, device)
    is_spam = [each.label == "spam" for each in validation]
    margins = [each.margin for each in engine.read([each.text for each in validation])]
    calibration = fit_platt(margins, is_spam)
    if threshold is None:
        threshold = choose_threshold([calibrated(margin, calibration) for margin in margins], is_spam, _FPR_BUDGET)
    return Scorer(BEFORE, engine, calibration, threshold, {"note": note} if note else {})


def _untuned_engine(artifact: Artifact, base: str | None, device: str) -> Any:
    import json

    from safetensors.torch import load as load_tensors
    from tokenizers import Tokenizer

    from consumer.classifier.architecture import architecture_of
    from consumer.classifier.artifact import Lora
    from consumer.classifier.base import WEIGHTS, find_base
    from consumer.classifier.merge import merged_weights
    from consumer.classifier.model import build_engine

    manifest = artifact.manifest
    config = json.loads(artifact.read(CONFIG))
    architecture = architecture_of(config)
    tuned = load_tensors(artifact.read(ADAPTER if manifest.lora else MODEL))
    head = {
        name: tensor
        for name, tensor in tuned.items()
        if name.partition(".")[0] in architecture.head and not name.endswith((".lora_A", ".lora_B"))
    }
    weights = merged_weights(
        find_base(manifest.base, base) / WEIGHTS,
        _fresh(head, config.get("initializer_range", 0.02), manifest.seed),
        manifest.lora or Lora(rank=1, alpha=1),
        None,
        architecture,
    )
    tokenizer = Tokenizer.from_buffer(artifact.read(TOKENIZER))
    return build_engine(
        config, weights, tokenizer, max_length=manifest.max_length, labels=manifest.labels, device=device
    )


def _fresh(head: "Mapping[str, Tensor]", spread: float, seed: int) -> "dict[str, Tensor]":
    """A head as training begins with: normal weights, no bias."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.zeros_like(tensor, dtype=torch.float32)
        if tensor.ndim < 2
        else torch.randn(tensor.shape, generator=generator) * spread
        for name, tensor in sorted(head.items())
    }
