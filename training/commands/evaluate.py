"""`smsift evaluate` and `smsift reproduce`."""

import typer


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to the front desk."""
