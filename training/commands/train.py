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
    from schemas.corpus import parse_spec
    from training.recipe import load_recipe

    chosen = load_recipe(recipe)  # a wrong name costs no import of the libraries
    from training.train import train as make

    made = make(
        chosen,
        [parse_spec(path) for path in data],
        out,
        held_out=[parse_spec(path) for path in held_out or []],
        seed=seed,
        base=settings.base,
        hub_token=settings.hub_token.get_secret_value() if settings.hub_token else None,
        say=print,
    )
    print(f"saved {out}: {made.manifest.name} {made.manifest.version}")
