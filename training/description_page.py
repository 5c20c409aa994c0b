"""Descriptions of corpora as a table for the terminal and as one page of HTML that needs nothing beside it.

Neither holds a text of a message. Names of files, columns' values and the like are somebody's too: both are escaped.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as Grid

from training.data import SIMILAR
from training.describe import Count, Description, Table

_TEMPLATES: Final = Path(__file__).parent / "templates"
_SHOWN: Final = 8
"""Values of a table that a page shows by themselves; the others become one row."""
_SPACE: Final = "\u00a0"  # does not break
_GUESSED: Final = "Guessed from the text; often wrong for short or informal ones."


def html(descriptions: Sequence[Description]) -> str:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("describe.html.jinja")
    return template.render(corpora=[_view(each) for each in descriptions], similar=SIMILAR) + "\n"


def grids(descriptions: Sequence[Description]) -> Iterator[Grid]:
    """One column per corpus; then, where there is any, the overlap with other sets."""
    grid = Grid(title="Labelled data", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    grid.add_column(no_wrap=True)
    for each in descriptions:
        grid.add_column(escape(each.name), justify="right")
    signals = {name: True for each in descriptions for name, count in each.signals.items() if count.total}
    facts = [dict(_facts(each, signals)) for each in descriptions]
    for name in dict.fromkeys(name for each in facts for name in each):
        grid.add_row(escape(name), *(escape(each.get(name, "")) for each in facts))
    yield grid
    if any(each.overlaps for each in descriptions):
        grid = Grid(title="Overlap", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
        for name in ("corpus", "with", "its texts", "same rows", "similar rows"):
            grid.add_column(name, justify="left" if name in {"corpus", "with"} else "right")
        for each in descriptions:
            for other in each.overlaps:
                numbers = (f"{number:,}" for number in (other.size, other.same, other.similar))
                grid.add_row(escape(each.name), escape(other.name), *numbers)
        yield grid


def _facts(about: Description, signals: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What the terminal shows of a corpus: name and value."""
    rows = about.labels
    yield "messages", f"{rows.total:,}"
    yield "spam", f"{rows.spam:,} ({_percent(rows.spam, rows.total)})"
    yield "ham", f"{rows.ham:,}"
    for reason, number in sorted(about.left_out.items()):
        yield f"left out: {reason.replace('_', ' ')}", f"{number:,}"
    for label, lengths in about.characters.items():
        yield f"{label} length: median, 95{_SPACE}%, most", f"{lengths.median}, {lengths.p95}, {lengths.most:,}"
    for name, found in (*about.encodings.items(), *((f"{parts} SMS", found) for parts, found in about.parts.items())):
        yield name, _percent(found.total, rows.total)
    yield "scripts", _most(about.scripts, rows.total)
    yield "languages" if about.languages_told else "languages, guessed", _most(about.languages, rows.total)
    if about.countries:
        yield "countries", _most(about.countries, rows.total)
    if about.categories:
        yield "categories", _most(about.categories, rows.total)
    for name in signals:
        yield f"{name.replace('_', ' ')}: spam, ham", _of_each(about.signals[name], rows)
    yield from _repetition(about)


def _repetition(about: Description) -> Iterator[tuple[str, str]]:
    said = about.repetition
    yield "identical rows", f"{said.identical:,}"
    yield "duplicates", f"{said.duplicates:,}"
    yield "near duplicates", f"{said.near_duplicates:,}"
    yield "conflicting: texts, rows", f"{said.conflicting_texts:,}, {said.conflicting_rows:,}"
    yield "clusters: all, spam", f"{said.clusters:,}, {said.spam_clusters:,}"
    yield "largest cluster", f"{said.largest:,}"


def _view(about: Description) -> dict[str, Any]:
    """What the page shows of a corpus, as strings."""
    rows, said = about.labels, about.repetition
    left_out = sum(about.left_out.values())
    sizes = [(f"clusters of {size} texts", f"{number:,}") for size, number in said.sizes.items()]
    return {
        "name": about.name,
        "balance": f"{rows.spam:,} spam, {rows.ham:,} ham",
        "spam_width": _width(rows.spam, rows.total),
        "ham_width": _width(rows.ham, rows.total),
        "tiles": [
            ("messages", f"{rows.total:,}", f"{left_out:,} left out" if left_out else ""),
            ("spam", f"{rows.spam:,}", _percent(rows.spam, rows.total)),
            ("ham", f"{rows.ham:,}", _percent(rows.ham, rows.total)),
            ("independent texts", f"{said.clusters:,}", f"{said.spam_clusters:,} of them spam"),
            ("conflicting texts", f"{said.conflicting_texts:,}", "labelled spam and ham"),
        ],
        "characters": about.characters,
        "repetition": [
            *_repetition(about),
            *sizes,
            *((f"left out: {reason.replace('_', ' ')}", f"{number:,}") for reason, number in about.left_out.items()),
        ],
        "overlaps": about.overlaps,
        "tables": [
            {"title": title, "note": note, "rows": list(_rows(counts, rows))}
            for title, counts, note in (
                ("What the texts hold", _named(about.signals), "As the normaliser finds it."),
                ("Encoding on the air", about.encodings, ""),
                ("SMS that a text takes", about.parts, ""),
                ("Scripts", about.scripts, "The script of most letters."),
                ("Languages", about.languages, "" if about.languages_told else _GUESSED),
                ("Countries", about.countries, ""),
                ("Kinds", about.categories, ""),
            )
            if counts
        ],
    }


def _named(signals: Table) -> Table:
    found = sorted(signals.items(), key=lambda each: -each[1].total)
    return {name.replace("_", " "): count for name, count in found if count.total}


def _rows(counts: Table, all_rows: Count) -> Iterator[dict[str, str]]:
    """One per value; bars are as long as the value's share of all rows."""
    for name, count in _gathered(counts):
        yield {
            "name": name,
            "rows": f"{count.total:,}",
            "of_spam": _percent(count.spam, all_rows.spam),
            "of_ham": _percent(count.ham, all_rows.ham),
            "spam_width": _width(count.spam, all_rows.total),
            "ham_width": _width(count.ham, all_rows.total),
        }


def _gathered(counts: Table) -> Iterable[tuple[str, Count]]:
    shown = list(counts.items())
    if len(shown) <= _SHOWN + 1:
        return shown
    rest = [count for _, count in shown[_SHOWN:]]
    others = Count(sum(count.spam for count in rest), sum(count.ham for count in rest))
    return [*shown[:_SHOWN], (f"{len(rest)} others", others)]


def _most(counts: Table, rows: int) -> str:
    return "\n".join(f"{name} {_percent(count.total, rows)}" for name, count in list(counts.items())[:3])


def _of_each(found: Count, rows: Count) -> str:
    return f"{_percent(found.spam, rows.spam)}, {_percent(found.ham, rows.ham)}"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}{_SPACE}%" if whole else "\u2013"


def _width(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}" if whole else "0"
