"""`smsift promote`, `smsift models` and `smsift rollback`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from consumer.classifier.models_folder import Aliases
    from training.registry import Version

_WIDE = 200  # nothing is cut off; the table takes what it needs, and a narrow terminal wraps it
_SHOWN = ("n", "accuracy", "recall", "f1", "fpr", "ece")


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to the front desk."""
    app.command(rich_help_panel=panel)(promote)
    app.command(rich_help_panel=panel)(models)
    app.command(rich_help_panel=panel)(rollback)


def promote(
    folder: Annotated[Path, typer.Argument(metavar="MODEL_FOLDER", help="What `smsift train` made")],
    data: Annotated[
        list[str] | None,
        typer.Option(help="Labelled file to judge on, PATH[:TEXT:LABEL]; default: the tests of the model's own data"),
    ] = None,
    accuracy_threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Least accuracy; default: the floors file's; the shipped one says 0.95"),
    ] = None,
    floors: Annotated[Path | None, typer.Option(help="TOML file of floors; default: training/gate.toml")] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="The decision as one JSON object")] = False,
) -> None:
    """Run the gate on a model and, if it passes, make it champion. Exit code 1: refused, and nothing has changed."""
    import dataclasses

    settings = _settings()
    from consumer.classifier.artifact import load_artifact
    from consumer.classifier.model import DEFAULT_MODEL
    from training import promotion
    from training.gate import SHIPPED, Floors

    asked = Floors.from_toml(floors or SHIPPED)
    if accuracy_threshold is not None:
        asked = dataclasses.replace(asked, accuracy=accuracy_threshold)
    artifact = load_artifact(folder)
    examples = promotion.labelled(data or [], settings)
    verdict = promotion.ask_gate(settings, artifact, asked, examples, shipped=DEFAULT_MODEL)
    if json_lines:
        print(json.dumps(verdict.as_json()))
    else:
        print("\n".join(verdict.decision.reasons))
    name = promotion.name_of(artifact)
    if not verdict.decision.passed:
        if not json_lines:
            print(f"refused: {name} stays out, nothing has changed")
        raise typer.Exit(1)
    aliases = promotion.promote(settings, verdict)
    if not json_lines:
        print(f"promoted: {name} is the champion{_before(aliases)}")


def models(
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a version")] = False,
) -> None:
    """List the versions of the models folder, the newest first."""
    settings = _settings()
    from training.registry import versions

    found = versions(settings.models_folder)
    if json_lines:
        for version in found:
            print(json.dumps(_as_json(version)))
    elif not found:
        print("No model was promoted yet: the one that comes with smsift serves.")
    else:
        _print_table(found)


def rollback() -> None:
    """Make the previous champion champion again; before the first, the model that comes with smsift serves again."""
    settings = _settings()
    from training import promotion

    aliases = promotion.rollback(settings)
    if aliases.champion is None:
        print("There is no champion any more: the model that comes with smsift serves again.")
        return
    print(f"{aliases.champion.folder} is the champion again{_before(aliases)}")


def _settings() -> Any:
    from consumer.logs import configure_logs
    from consumer.settings import load_settings

    settings = load_settings()
    configure_logs(settings)
    return settings


def _before(aliases: "Aliases") -> str:
    return f", {aliases.previous.folder} is the previous one" if aliases.previous else ""


def _as_json(version: "Version") -> dict[str, Any]:
    manifest = version.manifest
    return {
        "folder": version.folder,
        "name": manifest.name,
        "version": manifest.version,
        "aliases": version.aliases,
        "created": manifest.created.isoformat(),
        "base": manifest.base.id,
        "data_version": manifest.data_version,
        "gate": version.gate.get("metrics"),
        "metrics": manifest.metrics,
    }


def _print_table(versions: "list[Version]") -> None:
    """The numbers are the gate's, of the frozen test on which the version was promoted."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("version", "aliases", "created"):
        table.add_column(heading, no_wrap=True)
    for heading in _SHOWN:
        table.add_column(heading, justify="right")
    for version in versions:
        metrics = version.gate.get("metrics", {})
        numbers = [_number(metrics.get(name)) for name in _SHOWN]
        created = f"{version.manifest.created:%Y-%m-%d %H:%M}"
        table.add_row(version.folder, ", ".join(version.aliases), created, *numbers)
    Console(width=_WIDE).print(table)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
