"""Model folders whose weights are a few bytes: enough for all that copies, verifies and names them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from consumer.classifier.artifact import (
    ADAPTER,
    CONFIG,
    TOKENIZER,
    Artifact,
    Base,
    Calibration,
    File,
    Lora,
    Manifest,
    Review,
    save,
)


def make_folder(folder: Path, version: str, *, weights: bytes = b"weights") -> Artifact:
    def manifest(files: dict[str, File]) -> Manifest:
        return Manifest(
            name="tiny",
            version=version,
            recipe="tiny",
            created=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=len(version)),
            architecture="bert",
            base=Base(id="tiny/base", sha256="0" * 64),
            labels=("ham", "spam"),
            max_length=32,
            lora=Lora(rank=4, alpha=8.0),
            merge="full_precision",
            calibration=Calibration(a=1.0, b=0.0),
            threshold=0.5,
            review=Review(low=0.4, high=0.6),
            normaliser_version="1",
            data_version="0" * 64,
            seed=0,
            metrics={"made": {"n": 100, "f1": 0.99}},
            training={"steps": 12},
            libraries={"torch": "2"},
            files=files,
        )

    return save(folder, {ADAPTER: weights + version.encode(), CONFIG: b"{}", TOKENIZER: b"{}"}, manifest)
