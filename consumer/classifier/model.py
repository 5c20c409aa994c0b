"""A served model: normalisation, engine, calibration and the decision, behind the `Classifier` contract."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from tokenizers import Tokenizer

from consumer.classifier.architecture import architecture_of, pad_id
from consumer.classifier.artifact import (
    ADAPTER,
    CONFIG,
    MODEL,
    TOKENIZER,
    Artifact,
    Calibration,
    Review,
    load_artifact,
)
from consumer.classifier.base import WEIGHTS, find_base
from consumer.classifier.bert import Bert, Shape
from consumer.classifier.contract import Action, Classification, Label, ModelIdentity
from consumer.classifier.engine import Engine, Network, Reading
from consumer.classifier.merge import merged_weights
from consumer.classifier.normalise import NORMALISER_VERSION, Normalised, normalise
from schemas.errors import UserError

DEFAULT_MODEL: Final = Path(__file__).parent / "default"


class Model:
    """A `Classifier` over an engine and a verified manifest."""

    def __init__(self, artifact: Artifact, engine: Engine) -> None:
        manifest = artifact.manifest
        self._engine = engine
        self._calibration = manifest.calibration
        self._threshold = manifest.threshold
        self._review = manifest.review
        self.identity = ModelIdentity(
            name=manifest.name,
            version=manifest.version,
            digest=artifact.digest,
            labels=manifest.labels,
            threshold=manifest.threshold,
            normaliser_version=manifest.normaliser_version,
        )

    def classify(self, texts: Sequence[str]) -> list[Classification]:
        normalised = [normalise(text) for text in texts]
        readings = self._engine.read([each.text for each in normalised])
        return [self._judge(text, reading) for text, reading in zip(normalised, readings, strict=True)]

    def warm_up(self) -> None:
        # The last word and the one before make the normaliser load its tables.
        self.classify(["warm up", "warm up " * 40] * 8 + ["warm w4rm w\u0430rm"])

    def _judge(self, text: Normalised, reading: Reading) -> Classification:
        score = calibrated(reading.margin, self._calibration)
        signals = tuple(sorted((*text.signals, "truncated"))) if reading.truncated else text.signals
        label: Label = "spam" if score >= self._threshold else "ham"
        action = action_for(score, self._threshold, self._review)
        return Classification(label, None, score, reading.margin, action, signals)


def load_model(folder: Path, base: str | None, device: str, threads: int | None) -> Model:
    """Load and verify a model folder; see `consumer.classifier.load`."""
    artifact = load_artifact(folder)
    if artifact.manifest.normaliser_version != NORMALISER_VERSION:
        raise UserError(
            f"The model in {folder} was trained behind normaliser {artifact.manifest.normaliser_version}, this is "
            f"{NORMALISER_VERSION}: train it again, or run the version of smsift that made it."
        )
    if threads:
        torch.set_num_threads(threads)
    return Model(artifact, load_engine(artifact, base, device))


def load_engine(artifact: Artifact, base: str | None, device: str) -> Engine:
    """Put the weights of a verified artifact together and make them ready to run."""
    manifest = artifact.manifest
    try:
        config = json.loads(artifact.read(CONFIG))
        if manifest.lora is None:
            weights = load_tensors(artifact.read(MODEL))
        else:
            through = manifest.quantisation if manifest.merge == "dequantised" else None
            weights = merged_weights(
                find_base(manifest.base, base) / WEIGHTS,
                load_tensors(artifact.read(ADAPTER)),
                manifest.lora,
                through,
                architecture_of(config),
            )
        tokenizer = Tokenizer.from_buffer(artifact.read(TOKENIZER))
        return build_engine(
            config, weights, tokenizer, max_length=manifest.max_length, labels=manifest.labels, device=device
        )
    except (SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"The parts of the model in {artifact.folder} do not fit together: {error}.") from error


def build_engine(
    config: dict[str, Any],
    weights: dict[str, torch.Tensor],
    tokenizer: Tokenizer,
    *,
    max_length: int,
    labels: Sequence[str],
    device: str = "auto",
) -> Engine:
    """Put merged weights on a device. Raises UserError for an unknown network or a device that is not there."""
    network = _network(config, weights, _device(device))
    return Engine(network, tokenizer, max_length, labels, pad_id(config))


def _network(config: dict[str, Any], weights: dict[str, torch.Tensor], device: torch.device) -> Network:
    """The slim forward pass where it computes the network, else the model library's."""
    architecture = architecture_of(config)
    if architecture.name == "bert" and config.get("hidden_act", "gelu") == "gelu":
        return Bert(Shape.of(config), {name: weight.to(device) for name, weight in weights.items()})
    try:
        from consumer.classifier.network import SequenceClassifier
    except ImportError as error:
        raise UserError(
            f"Serving a {architecture.name} model needs the package transformers: install smsift[train]."
        ) from error
    return SequenceClassifier.from_weights(config, weights).to(device)


def calibrated(margin: float, calibration: Calibration) -> float:
    """Return P(spam) for a margin. Written for both signs, so that no exponential overflows."""
    x = calibration.a * margin + calibration.b
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def action_for(score: float, threshold: float, review: Review) -> Action:
    """Uncertain scores go to a person, whichever side of the threshold they are on."""
    if review.low <= score < review.high:
        return "review"
    return "block" if score >= threshold else "deliver"


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"{name!r} is not a device: use auto, cpu, cuda or cuda:N.") from None
    if device.type not in {"cpu", "cuda"}:
        raise UserError(f"{name!r} is not a device that smsift runs on: use auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"There is no device {name} on this machine: use auto or cpu.")
    return device
