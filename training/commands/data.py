"""`smsift data`: describe, keep and fetch labelled data."""

import typer


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to the front desk."""
