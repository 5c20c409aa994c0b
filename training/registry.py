"""The writing side of the models folder: register a version, make it champion, go back.

Every file is written whole or not at all, a version's manifest after its other files, and `aliases.json` last of all.
So whatever ends a promotion on its way, the old champion serves on, and promoting again completes what was begun.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from consumer.classifier.artifact import MANIFEST, MAX_MANIFEST_BYTES, Artifact, Manifest
from consumer.classifier.models_folder import (
    ALIASES,
    Alias,
    Aliases,
    is_local,
    open_models,
    read_aliases,
    unreachable,
)
from schemas.errors import UserError
from schemas.storage import shown

GATE: Final = "gate.json"
"""Beside a version's manifest: what the gate said when it was promoted."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the models folder."""

    folder: str
    aliases: list[str]
    """A champion is no challenger to itself, so the latter is not said of it."""
    manifest: Manifest
    gate: dict[str, Any]
    """The gate's decision; empty where none lies beside the version."""


def promote(models: str, artifact: Artifact, expected: Aliases, decision: dict[str, Any] | None = None) -> Aliases:
    """Register a model that passed the gate and make it champion. Returns the aliases as they are now.

    `expected`: the aliases when the champion was judged. Raises UserError where they have changed since: the model was
    compared with another champion then. Promoting the champion again changes nothing.
    """
    alias = register(models, artifact, decision)
    now = read_aliases(models)
    if now != expected:
        raise UserError("Somebody else has changed the champion meanwhile: run `smsift promote` again.")
    if now.champion == alias:
        return now
    aliases = Aliases(champion=alias, challenger=alias, previous=now.champion, updated=datetime.now(UTC))
    _write_aliases(models, aliases)
    return aliases


def rollback(models: str) -> Aliases:
    """Swap champion and previous, so that a second rollback undoes the first. Returns the aliases as they are now.

    With no previous champion there is none at all afterwards: the model that comes with smsift serves again. Raises
    UserError where there is no champion, or the previous one is no longer whole: what cannot be loaded would serve nobody.
    """
    now = read_aliases(models)
    if now.champion is None:
        raise UserError(f"There is no champion in {shown(models)} to go back from.")
    changes: dict[str, Alias | datetime | None] = {"champion": now.previous, "updated": datetime.now(UTC)}
    if now.previous is not None:
        filesystem, root = open_models(models)
        with _explained(models):
            _verify(filesystem, f"{root}/{now.previous.folder}", now.previous.digest)
        changes["previous"] = now.champion
    aliases = now.model_copy(update=changes)
    _write_aliases(models, aliases)
    return aliases


def register(models: str, artifact: Artifact, decision: dict[str, Any] | None = None) -> Alias:
    """Copy a verified model folder to `<models>/<name>-<version>` and read it back. No alias changes.

    Raises UserError where another model goes by that name and version, or the models folder cannot be written.
    """
    manifest = artifact.manifest
    alias = Alias(folder=f"{manifest.name}-{manifest.version}", digest=artifact.digest)
    filesystem, root = open_models(models)
    target = f"{root}/{alias.folder}"
    with _explained(models):
        there = _sha256(filesystem, f"{target}/{MANIFEST}")
        if there not in {None, alias.digest}:
            raise UserError(
                f"Another model is registered as {alias.folder}: versions do not change; train it under a new version."
            )
        for name, listed in manifest.files.items():
            if _sha256(filesystem, f"{target}/{name}") != listed.sha256:
                _put(filesystem, f"{target}/{name}", artifact.folder / name)
                _digest_is(filesystem, f"{target}/{name}", listed.sha256)
        if decision is not None:
            _put(filesystem, f"{target}/{GATE}", json.dumps(decision, indent=1).encode())
        if there is None:
            _put(filesystem, f"{target}/{MANIFEST}", artifact.folder / MANIFEST)
        _digest_is(filesystem, f"{target}/{MANIFEST}", alias.digest)
    return alias


def versions(models: str) -> list[Version]:
    """Every registered version, newest first. A folder without a manifest is what an ended promotion left: no version."""
    aliases = read_aliases(models)
    filesystem, root = open_models(models)
    found = []
    with _explained(models):
        entries = filesystem.ls(root, detail=False) if filesystem.exists(root) else []
        for entry in entries:
            folder = str(entry).rstrip("/").rsplit("/", 1)[-1]
            try:
                content = filesystem.cat_file(f"{root}/{folder}/{MANIFEST}", start=0, end=MAX_MANIFEST_BYTES)
                manifest = Manifest.model_validate_json(content)
            except (FileNotFoundError, NotADirectoryError, ValidationError):
                continue
            found.append(
                Version(folder, _names(aliases, folder), manifest, _gate(filesystem, f"{root}/{folder}/{GATE}"))
            )
    return sorted(found, key=lambda version: version.manifest.created, reverse=True)


def _names(aliases: Aliases, folder: str) -> list[str]:
    names = aliases.of(folder)
    return [name for name in names if name != "challenger" or "champion" not in names]


def _write_aliases(models: str, aliases: Aliases) -> None:
    filesystem, root = open_models(models)
    with _explained(models):
        _put(filesystem, f"{root}/{ALIASES}", aliases.model_dump_json(indent=1).encode() + b"\n")


def _put(filesystem: Any, path: str, content: bytes | Path) -> None:
    """Write a file so that readers see the old one or the new one, also after a power cut.

    An object store's single put does that by itself; on a local disk it takes a rename, and the file on disk before it.
    """
    if not is_local(filesystem):
        if isinstance(content, Path):
            filesystem.put_file(str(content), path)
        else:
            filesystem.pipe_file(path, content)
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=".partial-")
    try:
        with os.fdopen(handle, "wb") as file:
            if isinstance(content, Path):
                with content.open("rb") as source:
                    while block := source.read(1 << 20):
                        file.write(block)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(partial).chmod(0o644)  # mkstemp's is for its owner alone, and a filter may run as somebody else
        Path(partial).replace(target)
    except OSError:
        Path(partial).unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _sha256(filesystem: Any, path: str) -> str | None:
    try:
        with filesystem.open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _verify(filesystem: Any, folder: str, digest: str) -> None:
    _digest_is(filesystem, f"{folder}/{MANIFEST}", digest)
    manifest = Manifest.model_validate_json(filesystem.cat_file(f"{folder}/{MANIFEST}"))
    for name, listed in manifest.files.items():
        _digest_is(filesystem, f"{folder}/{name}", listed.sha256)


def _digest_is(filesystem: Any, path: str, digest: str) -> None:
    if _sha256(filesystem, path) != digest:
        folder, _, name = path.rpartition("/")
        raise UserError(
            f"{name} of {folder.rpartition('/')[2]} in the models folder is not as it was written: the aliases are as they were."
        )


def _gate(filesystem: Any, path: str) -> dict[str, Any]:
    try:
        decision = json.loads(filesystem.cat_file(path))
    except (FileNotFoundError, ValueError):
        return {}
    return decision if isinstance(decision, dict) else {}


@contextlib.contextmanager
def _explained(models: str) -> Iterator[None]:
    """Every kind of store fails with types of its own; all of them mean that the folder cannot be used."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise unreachable(models, error) from error
