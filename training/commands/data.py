"""`smsift data`: describe, keep and fetch labelled data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.settings import Settings
    from training.snapshots import Snapshot

CORPUS = "PATH[:TEXT_COLUMN:LABEL_COLUMN]: a file, an address, a hub data set, or clickhouse:DATE"

app = typer.Typer(help="Describe, keep and fetch labelled data.", no_args_is_help=True)


def register(front_desk: typer.Typer, panel: str) -> None:
    """Add the commands to the front desk."""
    front_desk.add_typer(app, name="data", rich_help_panel=panel)


@app.command()
def describe(
    data: Annotated[list[str], typer.Argument(metavar="DATA...", help=CORPUS)],
    against: Annotated[
        list[str] | None, typer.Option(help="Data, or digest of a snapshot, that it should share nothing with; repeat")
    ] = None,
    snapshots: Annotated[bool, typer.Option(help="Compare with the test sets of all snapshots, too")] = True,
    html: Annotated[Path | None, typer.Option(help="Write a page to this file, too")] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a corpus")] = False,
) -> None:
    """Count balance, lengths, encodings, languages, repetition, signals and overlap."""
    settings = _settings()
    import json

    from schemas.corpus import parse_spec
    from schemas.storage import write_bytes
    from training.corpora import read
    from training.describe import describe as count

    others = _others(settings, against or [], snapshots=snapshots)
    found = [count(spec.name, read(spec, settings), others) for spec in map(parse_spec, data)]
    if json_lines:
        for each in found:
            print(json.dumps(each.as_json(), ensure_ascii=False))
    else:
        from rich.console import Console

        from training.description_page import grids

        Console().print(*grids(found), sep="\n")
    if html is not None:
        from training.description_page import html as page

        write_bytes(str(html), page(found).encode())


@app.command()
def add(
    data: Annotated[list[str], typer.Argument(metavar="DATA...", help=CORPUS)],
    held_out: Annotated[list[str] | None, typer.Option(help="Data to judge on and never learn from; repeat")] = None,
    seed: Annotated[int, typer.Option(help="Same seed and data, same split")] = 0,
    validation_share: Annotated[float, typer.Option(min=0.01, max=0.5, help="Part of the clusters to tune on")] = 0.15,
    test_share: Annotated[float, typer.Option(min=0, max=0.5, help="Part of the clusters to judge on")] = 0.15,
) -> None:
    """Split data as training does, keep it as a snapshot, and print its digest."""
    settings = _settings()
    import sys

    from schemas.corpus import parse_spec
    from schemas.storage import shown
    from training.corpora import read_and_split
    from training.snapshots import add as keep

    splits = read_and_split(
        [parse_spec(each) for each in data],
        [parse_spec(each) for each in held_out or []],
        validation_share=validation_share,
        test_share=test_share,
        seed=seed,
        settings=settings,
    )
    options: dict[str, str | int | float | list[str]] = {
        "data": [shown(each) for each in data],
        "held_out": [shown(each) for each in held_out or []],
        "seed": seed,
        "validation_share": validation_share,
        "test_share": test_share,
    }
    digest = keep(settings.data_folder, splits, options)
    tests = ", ".join(f"{name} {len(part):,}" for name, part in splits.tests.items())
    print(
        f"train {len(splits.train):,}, validation {len(splits.validation):,}; tests: {tests or 'none'}", file=sys.stderr
    )
    print(f"left out: {splits.dropped}", file=sys.stderr)
    print(digest)


@app.command("list")
def list_(json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a snapshot")] = False) -> None:
    """List the snapshots, the newest first."""
    settings = _settings()
    from schemas.storage import shown
    from training.snapshots import list_ as kept

    found = kept(settings.data_folder)
    if json_lines:
        for each in found:
            print(each.model_dump_json())
    elif not found:
        print(f"{shown(settings.data_folder)} holds no snapshots; `smsift data add` makes one.")
    else:
        _print_snapshots(found)


@app.command()
def pull(
    digest: Annotated[str, typer.Argument(help="Digest of a snapshot, or its first 6 characters or more")],
    out: Annotated[Path | None, typer.Option(help="Write the rows to this file, JSON Lines")] = None,
) -> None:
    """Fetch a snapshot, check that it is what its digest says, and write its rows."""
    settings = _settings()
    from schemas.storage import write_bytes
    from training.snapshots import as_json_lines
    from training.snapshots import pull as fetch

    splits = fetch(settings.data_folder, digest)
    rows = len(splits.train) + len(splits.validation) + sum(map(len, splits.tests.values()))
    if out is None:
        print(f"{splits.version}: {rows:,} rows, as they were added; --out FILE writes them.")
        return
    write_bytes(str(out), as_json_lines(splits))
    print(f"wrote {rows:,} rows of {splits.version} to {out}")


def _settings() -> "Settings":
    from consumer.logs import configure_logs
    from consumer.settings import load_settings

    settings = load_settings()
    configure_logs(settings)
    return settings


def _others(settings: "Settings", against: "Sequence[str]", *, snapshots: bool) -> dict[str, list[str]]:
    """What a corpus is compared with: name → texts."""
    from schemas.corpus import parse_spec
    from training.corpora import read
    from training.snapshots import is_digest, pull, test_sets

    others: dict[str, list[str]] = {}
    if snapshots:
        others |= {f"test set {name}": texts for name, texts in test_sets(settings.data_folder).items()}
    for each in against:
        if is_digest(each) and not Path(each).exists():
            splits = pull(settings.data_folder, each)
            parts = (splits.train, splits.validation, *splits.tests.values())
            others[f"snapshot {each[:12]}"] = [example.original for part in parts for example in part]
        else:
            others[each] = [message.text for message in read(parse_spec(each), settings).messages]
    return others


def _print_snapshots(snapshots: "Sequence[Snapshot]") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    grid = Table(box=SIMPLE_HEAD)
    for name in ("digest", "added (UTC)", "train", "spam", "validation", "tests", "left out"):
        numeric = name in {"train", "spam", "validation", "left out"}
        grid.add_column(name, justify="right" if numeric else "left", no_wrap=name == "digest", overflow="fold")
    for each in snapshots:
        tests = [
            f"{name.removeprefix('test:')} {rows:,}" for name, rows in each.rows.items() if name.startswith("test:")
        ]
        grid.add_row(
            each.digest[:12],
            f"{each.created:%Y-%m-%d %H:%M}",
            f"{each.rows.get('train', 0):,}",
            f"{each.spam.get('train', 0):,}",
            f"{each.rows.get('validation', 0):,}",
            escape("\n".join(tests)),
            f"{sum(sum(counts.values()) for counts in each.dropped.values()):,}",
        )
    Console().print(grid)
