"""`smsift evaluate` and `smsift reproduce`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from consumer.settings import Settings
    from training.evaluate import Evaluation
    from training.reproduce import Row


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to the front desk."""
    app.command(rich_help_panel=panel)(evaluate)
    app.command(rich_help_panel=panel)(reproduce)


def evaluate(
    model: Annotated[
        str | None, typer.Argument(help="Model folder; default: the champion, else the shipped model")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="Labelled file, address or data set, PATH[:TEXT_COLUMN:LABEL_COLUMN]; repeat for more"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object; of several files: all texts together")
    ] = False,
    report: Annotated[Path | None, typer.Option(help="Folder for report.html and report.md")] = None,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Show messages in the report as they are, not their shape only")
    ] = False,
    distinct: Annotated[bool, typer.Option("--distinct", help="Count near-duplicates once")] = False,
    attacks: Annotated[bool, typer.Option(help="Run the attack suite, on a sample of 900 texts")] = True,
    before: Annotated[
        str, typer.Option(help="What to put beside the model: untuned (its base), none, or a model folder")
    ] = "untuned",
    seed: Annotated[int, typer.Option(help="Of samples, attacks and intervals")] = 0,
) -> None:
    """Say what a model is worth on labelled texts, with intervals, slices, attacks and a floor."""
    from schemas.corpus import parse_spec
    from schemas.errors import UserError

    if not data:
        raise UserError("There is nothing to judge the model on: give --data PATH.")
    settings = _settings()
    from training.judge import judge_files

    evaluation = judge_files(
        settings,
        model,
        [parse_spec(each) for each in data],
        before=None if before == "none" else before,
        attacks=None if attacks else (),
        distinct=distinct,
        seed=seed,
    )
    if report is not None:
        from training.report import HTML, write_report

        try:
            write_report(evaluation, report, show_text=show_text)
        except OSError as error:
            raise UserError(f"The report cannot be written to {report}: {error.strerror}.") from error
    if evaluation.caution:
        import sys

        print(f"smsift: {evaluation.caution}", file=sys.stderr)
    if as_json:
        import json

        print(json.dumps(evaluation.as_json(), ensure_ascii=False))
        return
    _show(evaluation)
    if report is not None:
        print(f"report: {report / HTML}")


def reproduce(
    name: Annotated[str, typer.Argument(help="tinyllama, gpt2, gpt2-large, distilbert or minilm")],
    data: Annotated[
        str | None, typer.Option(help="The SMS Spam Collection; default: in SMSIFT_CORPUS_DIR, else from the hub")
    ] = None,
    base: Annotated[str | None, typer.Option(help="Folder or hub id of the base model")] = None,
    seed: Annotated[int, typer.Option(help="Of the splits and of training")] = 0,
    max_steps: Annotated[int | None, typer.Option(min=1, help="End training early, for a trial")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object")] = False,
) -> None:
    """Repeat a published claim: a random 80/20 split of the SMS Spam Collection, before and after tuning."""
    settings = _settings()
    from training.reproduce import claim_named, reproduced

    claim = claim_named(name)
    rows = list(reproduced(claim, settings, data=data, base=base or settings.base, seed=seed, max_steps=max_steps))
    if as_json:
        import json

        print(
            json.dumps({**claim.as_json(), "seed": seed, "rows": [row.as_json() for row in rows]}, ensure_ascii=False)
        )
        return
    _show_claim(claim.name, rows)


def _settings() -> "Settings":
    from consumer.logs import configure_logs
    from consumer.settings import load_settings

    settings = load_settings()
    configure_logs(settings)
    return settings


def _show(evaluation: "Evaluation") -> None:
    from rich.console import Console
    from rich.markup import escape

    from training.report import COLUMNS, row_of, signed

    console = Console()
    title = f"{evaluation.model.name} {evaluation.model.facts.get('version', '')}"
    table = _table(title, ["", "all texts", "95 % interval"])
    table.add_row("texts", f"{len(evaluation.overall.scores):,}")
    for name, (value, bounds) in row_of("", evaluation.overall)["cells"].items():
        table.add_row(COLUMNS[name], value, bounds)
    console.print(table)
    rows = [row_of(name, part) for name, part in evaluation.parts.items()] if len(evaluation.parts) > 1 else []
    rows += [row_of(peer.name, peer) for peer in evaluation.peers]
    shown = ("recall", "precision", "f1", "fpr", "auprc")
    table = _table("beside it", ["", "n", *(COLUMNS[each] for each in shown)])
    for row in rows:
        table.add_row(escape(row["name"]), row["n"], *(row["cells"][each][0] for each in shown))
    if rows:
        console.print(table)
    for peer in evaluation.peers:
        if peer.note:
            console.print(f"{peer.name}: {peer.note}", markup=False, highlight=False)
    if evaluation.attacks:
        table = _table(
            "changes under attack, in points",
            ["attack", "recall lost", "FPR gained", "recall lost, not normalised", "FPR gained, not normalised"],
        )
        for each in evaluation.attacks:
            changes = (
                signed(effect_change, bounds)[0]
                for effect in (each.normalised, each.raw)
                for effect_change, bounds in (
                    (effect.recall_loss, effect.recall_loss_interval),
                    (effect.fpr_rise, effect.fpr_rise_interval),
                )
            )
            table.add_row(each.name.replace("_", " "), *changes)
        console.print(table)


def _show_claim(name: str, rows: "list[Row]") -> None:
    from itertools import groupby

    from rich.console import Console

    from training.report import COLUMNS, number

    console = Console()
    shown = ("accuracy", "precision", "recall", "f1", "fpr")
    for split, part in groupby(rows, lambda row: row.split):
        table = _table(f"{name}, {split}", ["", "n", *(COLUMNS[each] for each in shown), "published %"])
        for row in part:
            found = row.metrics or dict.fromkeys(("n", *shown))
            count = "\u2013" if found["n"] is None else f"{found['n']:,}"
            table.add_row(row.model, count, *(number(each, found[each]) for each in shown), row.published or "\u2013")
        console.print(table)
    for note in dict.fromkeys(row.note for row in rows if row.note):
        console.print(note, markup=False, highlight=False)


def _table(title: str, columns: list[str]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title.strip()), title_justify="left", box=None, header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    return table
