"""The front desk's commands about models. These modules are imported at once, so they import what they need when called."""

import typer

from training.commands import data, evaluate, models, train

PANEL = "Models and checks"


def register(app: typer.Typer) -> None:
    """Add the commands to the front desk."""
    app.command(rich_help_panel=PANEL)(train.train)
    for module in (data, evaluate, models):
        module.register(app, PANEL)
