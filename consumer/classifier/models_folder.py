"""The models folder: versions beside each other, and `aliases.json`, which says which of them serves.

    <models>/minilm-qlora-20261121.090105/manifest.json, …
    <models>/aliases.json

The address is a path or anything fsspec reads (s3, gs, hdfs, …). Training writes there (`training.registry`); who
serves only reads. An alias names a version and the digest of its manifest, which in turn pins every file: a version
that was changed behind its alias is never served.
"""

import hashlib
import logging
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import fsspec
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from consumer.classifier.artifact import MANIFEST, MAX_MANIFEST_BYTES, Manifest, Sha256, load_artifact
from schemas.errors import UserError
from schemas.storage import shown

log = logging.getLogger("smsift.models")

ALIASES: Final = "aliases.json"
MAX_ALIASES_BYTES: Final = 1 << 16


class Alias(BaseModel):
    """One version of the models folder."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    folder: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,256}$")]
    """A plain name in the models folder: `<name>-<version>`."""
    digest: Sha256
    """SHA-256 (hex) of its manifest."""


class Aliases(BaseModel):
    """What `aliases.json` says. All None where nothing was promoted yet."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    champion: Alias | None = None
    """The one that serves."""
    challenger: Alias | None = None
    """The last that passed the gate; after a rollback it is no longer the champion."""
    previous: Alias | None = None
    """The champion before: what a rollback restores."""
    updated: datetime | None = None
    """When this was written (UTC)."""

    def of(self, folder: str) -> list[str]:
        """Return the names under which a version goes."""
        named = {"champion": self.champion, "challenger": self.challenger, "previous": self.previous}
        return [name for name, alias in named.items() if alias is not None and alias.folder == folder]


def chosen(model: str | None, models: str, cache: Path) -> Path | None:
    """Return the folder of the model to serve: the one asked for, else the champion of the models folder.

    None: neither is there, so the model that comes with smsift serves. `cache`: where remote versions are copied to.
    Raises UserError where there is a champion that cannot be had: serving another in its place would go unseen.
    """
    if model is not None:
        return Path(model)
    found = champion(models, cache)
    if found is not None:
        log.info("the champion of the models folder serves", extra={"folder": str(found), "models": shown(models)})
    return found


def champion(models: str, cache: Path) -> Path | None:
    """Return a local folder of the champion, or None where nothing was promoted. Raises UserError; see `fetch`."""
    alias = read_aliases(models).champion
    return None if alias is None else fetch(models, alias, cache)


def fetch(models: str, alias: Alias, cache: Path) -> Path:
    """Return a local folder of a version. Raises UserError where it is gone, or is not what the alias was given to.

    In a local models folder that is the version itself. A remote one is copied to `cache` once, verified, under its digest.
    """
    filesystem, root = open_models(models)
    return _in_place(Path(root), alias) if is_local(filesystem) else _copy(filesystem, root, alias, cache)


def read_aliases(models: str) -> Aliases:
    """Raises UserError where the models folder cannot be reached or its aliases make no sense."""
    filesystem, root = open_models(models)
    try:
        content = filesystem.cat_file(f"{root}/{ALIASES}", start=0, end=MAX_ALIASES_BYTES)
    except FileNotFoundError:
        return Aliases()
    except Exception as error:  # every kind of store fails with types of its own
        raise unreachable(models, error) from error
    try:
        return Aliases.model_validate_json(content)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "document"
        raise UserError(
            f"{ALIASES} in {shown(models)} is not valid ({where}): restore it, or remove it and promote a model again."
        ) from None


def open_models(models: str) -> tuple[Any, str]:
    """Return fsspec's filesystem and the root in it. Raises UserError for an address of an unknown kind."""
    try:
        filesystem, root = fsspec.core.url_to_fs(models)
    except (ValueError, ImportError, OSError) as error:
        raise unreachable(models, error) from error
    filesystem.invalidate_cache()  # of listings: another process may have written since
    return filesystem, str(root).rstrip("/")


def is_local(filesystem: Any) -> bool:
    return "file" in ([filesystem.protocol] if isinstance(filesystem.protocol, str) else filesystem.protocol)


def unreachable(models: str, error: Exception) -> UserError:
    why = str(error).replace(models, shown(models)) or type(error).__name__
    return UserError(f"The models folder {shown(models)} cannot be used ({why}): check SMSIFT_MODELS.")


def _in_place(root: Path, alias: Alias) -> Path:
    folder = root / alias.folder
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise _gone(alias) from error
    if hashlib.sha256(content).hexdigest() != alias.digest:
        raise _changed(alias)
    return folder


def _copy(filesystem: Any, root: str, alias: Alias, cache: Path) -> Path:
    folder = cache / alias.digest
    if folder.is_dir():
        return folder  # it was verified when it came, and is again when it is loaded
    source = f"{root}/{alias.folder}"
    try:
        content = filesystem.cat_file(f"{source}/{MANIFEST}", start=0, end=MAX_MANIFEST_BYTES)
        if hashlib.sha256(content).hexdigest() != alias.digest:
            raise _changed(alias)
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".partial-") as work:
            partial = Path(work) / alias.folder
            partial.mkdir()
            (partial / MANIFEST).write_bytes(content)
            for name in Manifest.model_validate_json(content).files:
                filesystem.get_file(f"{source}/{name}", str(partial / name))
            load_artifact(partial)
            _appear(partial, folder)
    except UserError:
        raise
    except (FileNotFoundError, ValidationError) as error:
        raise _gone(alias) from error
    except Exception as error:  # every kind of store fails with types of its own; a full disk is among them
        raise UserError(f"The model {alias.folder} cannot be copied to {cache} ({type(error).__name__}).") from error
    return folder


def _appear(partial: Path, folder: Path) -> None:
    try:
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process of this machine was faster, with the same bytes
            raise


def _gone(alias: Alias) -> UserError:
    return UserError(
        f"The model {alias.folder} is not in the models folder: restore it, or go back with `smsift rollback`."
    )


def _changed(alias: Alias) -> UserError:
    return UserError(
        f"The model {alias.folder} is not the one that was promoted, its manifest has changed: restore it, or go back "
        "with `smsift rollback`."
    )
