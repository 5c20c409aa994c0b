"""The same training over all combinations of some fields' values, ending in one table."""

import hashlib
import itertools
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from consumer.classifier.artifact import MANIFEST, Artifact
from schemas.errors import UserError

Changes = Mapping[str, Any]
_SWEEP: Final = "sweep.json"
"""In the folder of a sweep: which one it is."""


@dataclass(frozen=True, slots=True)
class Point:
    """One combination and the model it made."""

    changes: Changes
    artifact: Artifact


def value_of(text: str) -> Any:
    """A field's value as one types it: TOML, or else a plain word."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def values_of(text: str) -> list[Any]:
    """Values with commas between them: `8,16,32`, `float32,bfloat16`, `["query"],["query","value"]`."""
    try:
        found: list[Any] = tomllib.loads(f"values = [{text}]")["values"]
    except tomllib.TOMLDecodeError:
        found = [value_of(part.strip()) for part in text.split(",")]
    return found


def assignments(given: Iterable[str], option: str) -> dict[str, str]:
    """`field=value` by field. Raises UserError for what is not of that form or names a field twice."""
    fields: dict[str, str] = {}
    for each in given:
        name, found, value = each.partition("=")
        if not found or not value or name in fields:
            raise UserError(f"{option} takes field=value, each field once, such as {option} lora.r=8; not {each!r}.")
        fields[name.strip()] = value.strip()
    return fields


def combinations(axes: Mapping[str, Sequence[Any]]) -> list[Changes]:
    """Every combination of one value per field, the last field changing fastest."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def sweep(axes: Mapping[str, Sequence[Any]], out: Path, train: Callable[[Changes, Path], Artifact]) -> list[Point]:
    """Train each combination into a folder of its own under `out`; what a sweep that was cut short made is kept."""
    from consumer.classifier.artifact import load_artifact

    points = []
    for changes in combinations(axes):
        folder = out / folder_name(changes)
        done = (folder / MANIFEST).exists()
        points.append(Point(changes, load_artifact(folder) if done else train(changes, folder)))
    return points


def claim(out: Path, facts: Sequence[Any]) -> None:
    """Mark a folder as one sweep's: what else decides a model (recipe, data, seed, …) must be alike for all in a table.

    Raises UserError where it is another's, or cannot be written.
    """
    sweep_id = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    path = out / _SWEEP
    try:
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) != {"sweep": sweep_id}:
            raise UserError(
                f"{out} holds a sweep with another recipe, data or seed: repeat those to go on with it, or choose "
                "another folder."
            )
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"sweep": sweep_id}), encoding="utf-8")
    except OSError as error:
        raise UserError(f"Cannot write the sweep to {out}: {error.strerror or error}.") from error
    except ValueError:
        raise UserError(f"{path} is damaged: choose another folder for the sweep.") from None


def folder_name(changes: Changes) -> str:
    name = ",".join(f"{field}={value}" for field, value in changes.items())
    return re.sub(r"[^A-Za-z0-9.,=_-]+", "-", name)[:200]


def table(points: Sequence[Point]) -> Table:
    """One row per combination, the lowest validation loss first."""
    fields = list(points[0].changes)
    tests = sorted({name for point in points for name in point.artifact.manifest.metrics} - {"validation"})
    grid = Table(title=f"{points[0].artifact.manifest.recipe}, the best on validation first", title_justify="left")
    for field in fields:
        grid.add_column(field)
    for heading in ("NLL", "F1", "recall", "FPR %", *(f"F1 {name}" for name in tests), "seconds"):
        grid.add_column(heading, justify="right")
    for point in sorted(points, key=_loss):
        manifest = point.artifact.manifest
        judged = manifest.metrics["validation"]
        fpr = judged["fpr"]
        grid.add_row(
            *(str(point.changes[field]) for field in fields),
            _number(judged["nll"], 4),
            _number(judged["f1"]),
            _number(judged["recall"]),
            _number(fpr if fpr is None else 100 * fpr, 2),
            *(_number(manifest.metrics.get(name, {}).get("f1")) for name in tests),
            str(manifest.training["seconds"]),
        )
    return grid


def _loss(point: Point) -> float:
    return point.artifact.manifest.metrics["validation"]["nll"] or 0.0


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
