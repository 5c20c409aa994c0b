"""`smsift train`."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.settings import Settings
    from schemas.corpus import CorpusSpec
    from training.data import Splits
    from training.recipe import Recipe
    from training.run import Options, Run

_GOES_ON: Final = "the same command goes on from the last checkpoint"


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or path of a .toml file")],
    out: Annotated[Path, typer.Option(help="Folder for the model; must not exist")],
    data: Annotated[
        list[str] | None,
        typer.Option(help="Labelled data, PATH[:TEXT_COLUMN:LABEL_COLUMN], clickhouse:DATE or hub id; repeat for more"),
    ] = None,
    held_out: Annotated[
        list[str] | None, typer.Option(help="Labelled data to judge on and never learn from; repeat for more")
    ] = None,
    from_snapshot: Annotated[
        str | None, typer.Option(help="Digest of a snapshot to train on, in place of --data")
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of the text, where --data names none")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of the label, where --data names none")] = None,
    base: Annotated[str | None, typer.Option(help="Folder or hub id of the base model; default: the recipe's")] = None,
    seed: Annotated[int, typer.Option(help="Same seed and data, same split and same model")] = 0,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Change a field of the recipe, such as training.epochs=1; repeat")
    ] = None,
    sweep: Annotated[
        list[str] | None, typer.Option(help="Try several values, such as lora.r=8,16,32; repeat for combinations")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="End training early, for a trial")] = None,
    report: Annotated[bool, typer.Option(help="Judge the model in full and write OUT/report; not in a sweep")] = True,
) -> None:
    """Train a model and save it as a folder with a manifest. The same command again goes on where it was killed."""
    from consumer.classifier.artifact import MANIFEST
    from consumer.logs import configure_logs
    from consumer.settings import load_settings
    from schemas.corpus import parse_spec
    from schemas.errors import UserError
    from training.recipe import load_recipe
    from training.sweep import assignments, value_of

    # All that can be wrong with the arguments is said before the libraries are imported.
    settings = load_settings()
    configure_logs(settings)
    chosen = load_recipe(recipe).changed(
        {name: value_of(value) for name, value in assignments(change or [], "--set").items()}
    )
    if bool(data) == bool(from_snapshot):
        raise UserError("Training needs data: give --data PATH, or --from-snapshot DIGEST, and not both.")
    specs = [_with_columns(parse_spec(each), text_column, label_column) for each in data or []]
    judged = [_with_columns(parse_spec(each), text_column, label_column) for each in held_out or []]
    try:
        from training.run import Run, run
        from training.train import check_unused
    except ImportError as error:
        raise UserError(f"Training needs the package {error.name}: install smsift[train].") from error

    if not sweep:  # a sweep goes on in a folder of its own
        check_unused(out)
    splits = _splits(chosen, specs, judged, from_snapshot, seed, settings)
    how = Run(
        settings,
        seed=seed,
        base=base or settings.base,
        max_steps=max_steps,
        report=report,
        data=_options(chosen, specs, judged, seed),
        say=partial(print, flush=True),  # a log of both streams has them in order
    )
    try:
        if sweep:
            _sweep(chosen, splits, out, how, sweep)
            return
        made = run(chosen, splits, out, how)
    except KeyboardInterrupt:
        saved = (out / MANIFEST).exists()  # it was being judged
        what = f"the model in {out} is whole, its report is not" if saved else _GOES_ON
        print(f"smsift: interrupted; {what}", file=sys.stderr)
        raise typer.Exit(130) from None
    print(f"saved {out}: {made.manifest.name} {made.manifest.version}")


def _with_columns(spec: "CorpusSpec", text: str | None, label: str | None) -> "CorpusSpec":
    from dataclasses import replace

    return replace(spec, text_column=spec.text_column or text, label_column=spec.label_column or label)


def _splits(
    recipe: "Recipe",
    data: "Sequence[CorpusSpec]",
    held_out: "Sequence[CorpusSpec]",
    snapshot: str | None,
    seed: int,
    settings: "Settings",
) -> "Splits":
    if snapshot is not None:
        from training.snapshots import pull

        return pull(settings.data_folder, snapshot)
    from training.train import splits_for

    return splits_for(recipe, data, held_out, seed, settings)


def _options(recipe: "Recipe", data: "Sequence[CorpusSpec]", held_out: "Sequence[CorpusSpec]", seed: int) -> "Options":
    from schemas.storage import shown

    return {
        "data": [shown(str(each.spec)) for each in data],
        "held_out": [shown(str(each.spec)) for each in held_out],
        "seed": seed,
        "validation_share": recipe.data.validation_share,
        "test_share": recipe.data.test_share,
    }


def _sweep(recipe: "Recipe", splits: "Splits", out: Path, how: "Run", given: "Sequence[str]") -> None:
    from dataclasses import replace

    from rich.console import Console

    from schemas.errors import UserError
    from training.precision import processes
    from training.run import run
    from training.sweep import assignments, claim, combinations, sweep, table, values_of
    from training.tracking import open_sweep

    axes = {name: values_of(values) for name, values in assignments(given, "--sweep").items()}
    recipes = [recipe.changed(changes) for changes in combinations(axes)]  # wrong fields are told before the first run
    if any(each.data.validation_share != recipe.data.validation_share for each in recipes) or any(
        each.data.test_share != recipe.data.test_share for each in recipes
    ):
        raise UserError("A sweep compares models on the same split: change data's shares with --set.")
    parent = None
    if processes().is_main_process:
        fixed = {name: value for name, value in recipe.parameters().items() if name not in axes}
        claim(out, [fixed, splits.version, how.seed, how.base, how.max_steps])
        parent = open_sweep(how.settings.mlflow_uri, f"sweep of {recipe.name}", {"sweep": " ".join(given)})
    nested = replace(how, report=False, parent=parent)
    points = sweep(axes, out, lambda changes, folder: run(recipe.changed(changes), splits, folder, nested))
    if processes().is_main_process:
        Console().print(table(points))
