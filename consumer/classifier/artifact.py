"""A model is a folder of safetensors, a tokenizer and `manifest.json`, which names and vouches for every file.

Nothing is unpickled and no code is taken from the folder. Files that the manifest does not list are never read.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from consumer.classifier.architecture import ArchitectureName
from schemas.errors import UserError

MANIFEST: Final = "manifest.json"
ADAPTER: Final = "adapter.safetensors"
"""Adapter and head, of a model tuned with LoRA."""
MODEL: Final = "model.safetensors"
"""All weights, of a model tuned whole."""
CONFIG: Final = "config.json"
TOKENIZER: Final = "tokenizer.json"
MAX_MANIFEST_BYTES: Final = 1 << 20
MAX_FILE_BYTES: Final = 1 << 33  # 8 GiB: a merged 1.1 B model in fp32 has 4.4 GB

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class Base(_Value):
    """The base model whose weights were tuned."""

    id: str
    """Hub id, e.g. `sentence-transformers/all-MiniLM-L6-v2`."""
    sha256: Sha256 | None = None
    """Of its `model.safetensors`. A recipe may leave it open; a manifest names the one that was found."""
    package: str | None = None
    """Python distribution that carries the same files, for machines that reach no hub."""


class Lora(_Value):
    rank: int = Field(ge=1)
    alpha: float = Field(gt=0)

    @property
    def scaling(self) -> float:
        return self.alpha / self.rank


class Quantisation(_Value):
    """How training held the base: serving can rebuild exactly those weights."""

    kind: Literal["nf4"] = "nf4"
    double: bool = True
    block_size: int = Field(64, ge=32)
    modules: tuple[str, ...]
    """Names of the linear layers that were quantised, as in the base's state dict without `.weight`."""


class Calibration(_Value):
    """Platt scaling: P(spam) = sigmoid(a * margin + b)."""

    a: float = Field(gt=0, allow_inf_nan=False)
    b: float = Field(allow_inf_nan=False)


class Review(_Value):
    """Scores in [low, high) are uncertain: a person should look."""

    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)


class File(_Value):
    sha256: Sha256
    size: int = Field(ge=0, le=MAX_FILE_BYTES)


class Manifest(_Value):
    """What made a model, what it is worth, and what it consists of."""

    format: Literal[1] = 1
    name: Name
    version: Name
    recipe: str
    created: datetime
    architecture: ArchitectureName
    base: Base
    labels: tuple[str, ...]
    """Classes in the order of the head's outputs."""
    max_length: int = Field(ge=8)
    """Tokens that the model reads of a text, special ones included; the rest is cut off."""
    lora: Lora | None
    """None: the whole network was tuned, and the folder holds all its weights."""
    quantisation: Quantisation | None = None
    """None: training held the base in full precision."""
    merge: Literal["dequantised", "full_precision"]
    """What the adapter is added to for serving: the weights that training saw (NF4 and back), or the base's own."""
    calibration: Calibration
    threshold: float = Field(gt=0, lt=1)
    review: Review
    normaliser_version: str
    data_version: str
    seed: int
    metrics: dict[str, dict[str, float | int | None]]
    """Per test set: measured at training time with the served engine at `threshold`."""
    training: dict[str, str | float | int]
    """What the training took: seconds, peak memory, steps, parameters."""
    libraries: dict[str, str]
    files: dict[str, File]

    @field_validator("files")
    @classmethod
    def _stays_in_folder(cls, files: dict[str, File]) -> dict[str, File]:
        for name in files:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", name) or name == MANIFEST:
                raise ValueError("a file's name must be a plain name inside the folder")
        return files

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if sorted(self.labels) != ["ham", "spam"]:
            raise ValueError("labels must be spam and ham")
        if not self.review.low <= self.threshold <= self.review.high:
            raise ValueError("the threshold must lie within the review band")
        if self.merge == "dequantised" and self.quantisation is None:
            raise ValueError("merge 'dequantised' needs a quantisation")
        if self.lora is not None and self.base.sha256 is None:
            raise ValueError("an adapter needs the digest of its base")
        missing = {ADAPTER if self.lora else MODEL, CONFIG, TOKENIZER} - self.files.keys()
        if missing:
            raise ValueError(f"files must list {', '.join(sorted(missing))}")
        return self


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified model folder."""

    folder: Path
    manifest: Manifest
    digest: str
    """SHA-256 (hex) of the manifest's bytes: it pins every file through the manifest's own digests."""

    def read(self, name: str) -> bytes:
        """Return the bytes of a listed file, verified as they are read. Raises UserError where they changed."""
        return _read_verified(self.folder, name, self.manifest.files[name])


def load_artifact(folder: Path) -> Artifact:
    """Read and verify a model folder: every listed file is present and has the digest and size that the manifest says.

    Raises UserError with the name of the file that is wrong.
    """
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            content = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError:
        raise UserError(f"There is no model in {folder}: it has no readable {MANIFEST}.") from None
    if len(content) > MAX_MANIFEST_BYTES:
        raise UserError(f"{path} is larger than {MAX_MANIFEST_BYTES} bytes: this is not a model's manifest.")
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "document"
        raise UserError(f"{path} is not a valid manifest: {where}: {problem['msg']}.") from None
    for name, listed in manifest.files.items():
        _verify(folder, name, listed)
    return Artifact(folder, manifest, hashlib.sha256(content).hexdigest())


def save(folder: Path, files: dict[str, bytes], manifest: Callable[[dict[str, File]], Manifest]) -> Artifact:
    """Write a model folder at once: it appears complete or not at all. `manifest` receives the digests of the files.

    Raises UserError where the folder already holds something, or cannot be written (a full disk, say).
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: choose another folder for the model.")
    listed = {name: File(sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for name, data in files.items()}
    content = manifest(listed).model_dump_json(indent=1).encode() + b"\n"
    partial: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        for name, data in {**files, MANIFEST: content}.items():
            _write_durably(partial / name, data)
        partial.chmod(0o755)  # mkdtemp's is for its owner alone, and a filter may run as somebody else
        partial.replace(folder)  # an empty folder in the way is replaced too
    except OSError as error:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        raise UserError(f"Cannot write the model to {folder}: {error.strerror or error}.") from error
    return load_artifact(folder)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_verified(folder: Path, name: str, listed: File) -> bytes:
    path = _inside(folder, name)
    try:
        data = path.read_bytes() if path.stat().st_size == listed.size else b""
    except OSError:
        raise UserError(f"The model in {folder} lacks {name}: restore the folder.") from None
    if len(data) != listed.size or hashlib.sha256(data).hexdigest() != listed.sha256:
        raise _changed(folder, name)
    return data


def _verify(folder: Path, name: str, listed: File) -> None:
    path = _inside(folder, name)
    try:
        same = path.stat().st_size == listed.size and sha256_of(path) == listed.sha256
    except OSError:
        raise UserError(f"The model in {folder} lacks {name}: restore the folder.") from None
    if not same:
        raise _changed(folder, name)


def _inside(folder: Path, name: str) -> Path:
    """The manifest's names are plain, but a link could still lead elsewhere."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise UserError(f"{name} in {folder} leads out of the folder: the model is not loaded.")
    return path


def _changed(folder: Path, name: str) -> UserError:
    return UserError(f"{name} in {folder} does not match its digest in {MANIFEST}: restore the folder.")


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
