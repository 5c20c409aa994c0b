"""Text in, verdict out. No Kafka client is imported here, so a training or GPU machine needs none."""

from pathlib import Path

from consumer.classifier.contract import Action, Classification, Classifier, Label, ModelIdentity

__all__ = ["Action", "Classification", "Classifier", "Label", "ModelIdentity", "load"]


def load(
    folder: str | Path | None = None, base: str | None = None, device: str = "auto", threads: int | None = None
) -> Classifier:
    """Load a model folder, verified, merged and ready to classify.

    `folder`: None for the model that comes with smsift. `base`: a folder or hub id where the base model's weights lie;
    None looks in the hub's cache, in the installed package that carries them, and at the hub.
    `device`: auto, cpu, cuda or cuda:N. `threads`: of the process's matrix products on a CPU; None or 0 leaves the
    library's choice, one per core. Raises UserError where folder, base or device are not what they should be.
    """
    from consumer.classifier.model import (
        DEFAULT_MODEL,
        load_model,
    )  # here, so that only who loads a model imports torch

    return load_model(Path(folder) if folder is not None else DEFAULT_MODEL, base, device, threads)
