"""`smsift train`."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or path of a .toml file")],
    data: Annotated[list[str], typer.Option(help="Labelled file; repeat for more")],
    out: Annotated[Path, typer.Option(help="Folder for the model; must not exist")],
    held_out: Annotated[list[str] | None, typer.Option(help="Labelled file to judge on and never learn from")] = None,
    seed: Annotated[int, typer.Option(help="Same seed and data, same split")] = 0,
) -> None:
    """Train a model and save it as a folder with a manifest."""
    from consumer.logs import configure_logs
    from consumer.settings import load_settings

    settings = load_settings()
    configure_logs(settings)
    from training.recipe import load_recipe
    from training.train import CorpusSpec
    from training.train import train as make

    made = make(
        load_recipe(recipe),
        [CorpusSpec(path) for path in data],
        out,
        held_out=[CorpusSpec(path) for path in held_out or []],
        seed=seed,
        base=settings.base,
    )
    print(f"saved {out}: {made.manifest.name} {made.manifest.version}")
