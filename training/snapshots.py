"""Kept splits of labelled data, each named by its data version, in a folder or at an fsspec address.

    <store>/<digest>/rows.parquet     one row per example: split, label, text, original, source, …
    <store>/<digest>/snapshot.json    written last: without it there is no snapshot

The digest is that of the rows, so a snapshot vouches for itself: what does not add up to its name is refused.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from consumer.classifier.normalise import NORMALISER_VERSION, normalise
from schemas.errors import UserError
from schemas.storage import exists, join, names_in, read_bytes, shown, write_bytes
from training.data import Dropped, Example, Splits, version_of

log = logging.getLogger("smsift.snapshots")

ROWS: Final = "rows.parquet"
INFO: Final = "snapshot.json"
_DIGEST: Final = re.compile("[0-9a-f]{64}")
_START: Final = re.compile("[0-9a-f]{6,64}")
_TEST: Final = "test:"
_COLUMNS: Final = tuple(field.name for field in fields(Example))


class Snapshot(BaseModel):
    """What a store tells about a snapshot without reading its rows."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: str
    created: datetime
    normaliser_version: str
    rows: dict[str, int]
    """Split → examples."""
    spam: dict[str, int]
    """Split → those of them that are spam."""
    dropped: dict[str, dict[str, int]]
    """Corpus → reason → rows that were left out."""
    options: dict[str, str | int | float | list[str]] = {}
    """What made the split: corpora, seed, shares."""


def add(store: str, splits: Splits, options: Mapping[str, str | int | float | list[str]] | None = None) -> str:
    """Keep the splits and return their digest. Does nothing where the store has them already.

    Raises UserError where the store cannot be written; what an add that was cut short leaves is no snapshot.
    """
    folder = join(store, splits.version)
    if exists(join(folder, INFO)):
        return splits.version
    parts = dict(_parts(splits))
    info = Snapshot(
        digest=splits.version,
        created=datetime.now(UTC),
        normaliser_version=NORMALISER_VERSION,
        rows={name: len(part) for name, part in parts.items()},
        spam={name: sum(each.label == "spam" for each in part) for name, part in parts.items()},
        dropped={name: dict(counts) for name, counts in splits.dropped.by_corpus.items()},
        options=dict(options or {}),
    )
    write_bytes(join(folder, ROWS), _as_parquet(parts))
    write_bytes(join(folder, INFO), info.model_dump_json(indent=1).encode() + b"\n")
    return splits.version


def pull(store: str, digest: str) -> Splits:
    """The splits with this digest (or the only ones whose digest starts so, 6 characters or more), verified.

    Texts that an older normaliser made are made anew from the originals; the version is then another one, and the log
    says so. Raises UserError where there is no such snapshot, or where its rows are not those that were added.
    """
    digest = _resolve(store, digest)
    info = _info(store, digest)
    parts = _read_parts(store, digest)
    tests = {name.removeprefix(_TEST): part for name, part in parts.items() if name.startswith(_TEST)}
    train, validation = parts.get("train", ()), parts.get("validation", ())
    version = version_of(train, validation, tests)
    if version != digest:
        raise _damaged(store, digest)
    if info.normaliser_version != NORMALISER_VERSION:
        train, validation = _normalised(train), _normalised(validation)
        tests = {name: _normalised(part) for name, part in tests.items()}
        version = version_of(train, validation, tests)
        log.warning(
            "snapshot %s is of normaliser %s; normalised anew it is %s", digest, info.normaliser_version, version
        )
    return Splits(train, validation, tests, Dropped(info.dropped), version)


def list_(store: str) -> list[Snapshot]:
    """The snapshots of a store, the newest first; none where there is no store yet. The log names damaged ones."""
    found: list[Snapshot] = []
    for name in names_in(store):
        if _DIGEST.fullmatch(name) and exists(join(store, name, INFO)):
            try:
                found.append(_info(store, name))
            except UserError as error:
                log.warning("%s", error)
    return sorted(found, key=lambda each: each.created, reverse=True)


def test_sets(store: str) -> dict[str, list[str]]:
    """All texts, as given, that the store's snapshots judge by: test set → texts. The log names damaged snapshots."""
    found: dict[str, set[str]] = {}
    for snapshot in list_(store):
        try:
            tests = pull(store, snapshot.digest).tests
        except UserError as error:
            log.warning("%s", error)
            continue
        for name, part in tests.items():
            found.setdefault(name, set()).update(each.original for each in part)
    return {name: sorted(texts) for name, texts in sorted(found.items())}


def is_digest(word: str) -> bool:
    """Whether a word can name a snapshot."""
    return bool(_START.fullmatch(word))


def as_json_lines(splits: Splits) -> bytes:
    """The examples as a corpus that `read_corpus` reads: `text` is the original, `split` where it belongs."""
    lines = []
    for name, part in _parts(splits):
        for each in part:
            row = {"text": each.original, "label": each.label, "split": name, "source": each.source}
            kept = {"country": each.country, "language": each.language, "category": each.category}
            lines.append(json.dumps(row | {key: value for key, value in kept.items() if value}, ensure_ascii=False))
    return "".join(f"{line}\n" for line in lines).encode()


def _parts(splits: Splits) -> Iterator[tuple[str, tuple[Example, ...]]]:
    yield "train", splits.train
    yield "validation", splits.validation
    for name, part in sorted(splits.tests.items()):
        yield f"{_TEST}{name}", part


def _as_parquet(parts: Mapping[str, tuple[Example, ...]]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    rows = [{"split": name, **asdict(each)} for name, part in parts.items() for each in part]
    schema = pa.schema([pa.field(name, pa.string()) for name in ("split", *_COLUMNS)])
    buffer = BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows, schema), buffer, compression="zstd")
    return buffer.getvalue()


def _read_parts(store: str, digest: str) -> dict[str, tuple[Example, ...]]:
    import pyarrow as pa
    from pyarrow import parquet

    raw = read_bytes(join(store, digest, ROWS))
    parts: dict[str, list[Example]] = {}
    try:
        for row in parquet.read_table(BytesIO(raw), columns=["split", *_COLUMNS]).to_pylist():
            parts.setdefault(str(row.pop("split")), []).append(Example(**row))
    except (pa.ArrowException, OSError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise _damaged(store, digest) from error
    return {name: tuple(part) for name, part in parts.items()}


def _normalised(part: tuple[Example, ...]) -> tuple[Example, ...]:
    return tuple(replace(each, text=normalise(each.original).text) for each in part)


def _resolve(store: str, digest: str) -> str:
    if _DIGEST.fullmatch(digest):
        return digest
    found = [name for name in names_in(store) if name.startswith(digest) and _DIGEST.fullmatch(name)]
    if not found:
        raise UserError(f"No snapshot begins with {digest}: `smsift data list` names all that are kept.")
    if len(found) > 1:
        raise UserError(f"{len(found)} snapshots begin with {digest}: `smsift data list` names all that are kept.")
    if not _START.fullmatch(digest):
        raise UserError(
            f"{digest!r} is too short for a digest: give its first 6 characters; `smsift data list` names all."
        )
    return found[0]


def _info(store: str, digest: str) -> Snapshot:
    address = join(store, digest, INFO)
    if not exists(address):
        raise UserError(f"There is no snapshot {digest} in {shown(store)}: `smsift data list` names all that are kept.")
    try:
        info: Any = json.loads(read_bytes(address))
        snapshot = Snapshot.model_validate(info)
    except (ValueError, ValidationError):
        raise _damaged(store, digest) from None
    if snapshot.digest != digest:
        raise _damaged(store, digest)
    return snapshot


def _damaged(store: str, digest: str) -> UserError:
    return UserError(
        f"The snapshot {digest[:12]} in {shown(store)} is damaged or was changed: restore it, or delete it and add the data anew."
    )
