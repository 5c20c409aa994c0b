"""An evaluation as a page for people: report.html, one file that needs nothing beside it, and report.md with its pictures.

Messages are written by senders who mean harm. In the HTML every value is escaped by the template engine, and the page
forbids scripts; in the Markdown every value is escaped by the same means, so neither has a place where one could forget.
"""

import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from consumer.classifier.normalise import normalise
from training.bootstrap import SAMPLES, Interval
from training.evaluate import SHOWN_ERRORS, Evaluation, Measured, Prediction, Slice
from training.plots import plots_of
from training.redaction import shape, visible

HTML: Final = "report.html"
MARKDOWN: Final = "report.md"
PLOTS: Final = "plots"
_TEMPLATES: Final = Path(__file__).parent / "templates"
COLUMNS: Final = {
    "accuracy": "accuracy %",
    "precision": "precision %",
    "recall": "recall %",
    "f1": "F1 %",
    "fpr": "FPR %",
    "recall_at_fpr_0.1": "recall % at FPR 0.1 %",
    "recall_at_fpr_1": "recall % at FPR 1 %",
    "auprc": "AUPRC",
    "nll": "NLL",
    "brier": "Brier",
    "ece": "ECE",
}
_DECIMALS: Final = frozenset({"auprc", "nll", "brier", "ece"})
_TILES: Final = ("recall", "precision", "f1", "fpr", "ece")
_FEW: Final = 30
_OPEN_ERRORS: Final = 30
"""The page folds the rest."""
_MEANS_SOMETHING: Final = re.compile(r"[&<>`*_\[\]|~\\@$]|:(?=//)|(?<=www)\.", re.IGNORECASE)


def write_report(evaluation: Evaluation, folder: Path, *, show_text: bool = False) -> None:
    """Write report.html, report.md and plots/*.png into `folder`, which is made where it is absent.

    Messages are shown by their shape only, unless `show_text`. Raises OSError where the folder cannot be written.
    """
    plots = plots_of(evaluation)
    (folder / PLOTS).mkdir(parents=True, exist_ok=True)
    for plot in plots:
        (folder / PLOTS / f"{plot.name}.png").write_bytes(plot.png)
    view = _view(evaluation, show_text)
    pictures = {
        plot.name: {
            "title": plot.title,
            "caption": plot.caption,
            "svg": Markup(plot.svg),  # noqa: S704 - drawn here, with no text of a message in it
            "png": f"{PLOTS}/{plot.name}.png",
        }
        for plot in plots
    }
    for name, environment in ((HTML, _html()), (MARKDOWN, _markdown())):
        page = environment.get_template(f"{name}.jinja").render(view, plots=pictures)
        (folder / name).write_text(page, encoding="utf-8")


def _html() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _markdown() -> Environment:
    """Every value meets `markdown_text`; what HTML escapes is not what Markdown must, so nothing else is done to it."""
    environment = _html()
    environment.finalize = lambda value: value if isinstance(value, Markup) else Markup(markdown_text(value))  # noqa: S704
    return environment


def markdown_text(value: object) -> str:
    """Return a value as Markdown that shows it literally, in a line or in a table's cell.

    Characters that may begin markup become entities, which are text wherever they stand: no table, link, image, code
    or HTML can start in it.
    """
    line = " ".join(str(value).split())
    return _MEANS_SOMETHING.sub(lambda match: f"&#{ord(match.group())};", line)


def _view(evaluation: Evaluation, show_text: bool) -> dict[str, Any]:
    """Everything that the templates show, as strings."""
    overall = evaluation.overall
    show = visible if show_text else shape
    mistakes = int(overall.metrics["false_positives"] or 0) + int(overall.metrics["false_negatives"] or 0)
    return {
        "title": f"{evaluation.model.name} {evaluation.model.facts.get('version', '')}".strip(),
        "summary": _summary(overall),
        "caution": evaluation.caution,
        "facts": {
            **evaluation.model.facts,
            "threshold": f"{evaluation.model.threshold:.6g}",
            "data": ", ".join(f"{name} ({len(each.scores):,})" for name, each in evaluation.parts.items()),
            "scored": f"{len(overall.scores) / evaluation.seconds:,.0f} texts/s" if evaluation.seconds else "\u2013",
        },
        "tiles": [
            (
                COLUMNS[name].removesuffix(" %"),
                _unit(name, overall.metrics[name]),
                _bounds(name, overall.intervals.get(name)),
            )
            for name in _TILES
        ],
        "columns": list(COLUMNS.values()),
        "rows": [row_of("model", overall), *(row_of(peer.name, peer) for peer in evaluation.peers)],
        "parts": [row_of(name, each) for name, each in evaluation.parts.items()] if len(evaluation.parts) > 1 else [],
        "attacks": [
            {
                "name": each.name.replace("_", " "),
                **{
                    f"{way}_{what}": signed(getattr(effect, what), getattr(effect, f"{what}_interval"))
                    for way, effect in (("normalised", each.normalised), ("raw", each.raw))
                    for what in ("recall_loss", "fpr_rise")
                },
            }
            for each in evaluation.attacks
        ],
        "attacked": (evaluation.attacks[0].spam, evaluation.attacks[0].ham) if evaluation.attacks else (0, 0),
        "slices": _slices(evaluation),
        "samples": [_prediction(each, show) for each in evaluation.samples],
        "errors": [_prediction(each, show) for each in evaluation.errors],
        "open_errors": _OPEN_ERRORS,
        "mistakes": mistakes,
        "shown_errors": SHOWN_ERRORS,
        "show_text": show_text,
        "draws": SAMPLES,
        "unit": evaluation.unit,
        "seed": evaluation.seed,
        "few": _FEW,
    }


def _summary(overall: Measured) -> str:
    found = overall.metrics
    n, spam = int(found["n"] or 0), int(found["spam"] or 0)
    parts = []
    if spam:
        parts.append(f"{spam - int(found['false_negatives'] or 0):,} of {spam:,} spam were found")
    if n - spam:
        parts.append(f"{int(found['false_positives'] or 0):,} of {n - spam:,} ham were called spam")
    return f"{'; '.join(parts)}."


def row_of(name: str, measured: Measured) -> dict[str, Any]:
    return {
        "name": name,
        "note": measured.note,
        "n": f"{len(measured.scores):,}",
        "cells": {
            each: (number(each, measured.metrics[each]), _bounds(each, measured.intervals.get(each)))
            for each in COLUMNS
        },
    }


def _slices(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Slices by trait; the length in its order, other values by size."""
    grouped = {
        trait: list(rows)
        for trait, rows in groupby(sorted(evaluation.slices, key=lambda s: s.trait), lambda s: s.trait)
    }
    return [
        {
            "trait": trait,
            "rows": [
                {
                    "value": each.value,
                    "few": int(each.metrics["n"] or 0) < _FEW,
                    "n": f"{each.metrics['n']:,}",
                    "spam": f"{each.metrics['spam']:,}",
                    **{name: number(name, each.metrics[name]) for name in ("recall", "fpr", "f1", "auprc", "nll")},
                }
                for each in sorted(rows, key=_by_length if trait == "length" else _by_size)
            ],
        }
        for trait, rows in grouped.items()
    ]


def _prediction(each: Prediction, show: Callable[[str], str]) -> dict[str, Any]:
    signals = normalise(each.text).signals
    return {
        "where": f"{each.source} #{each.row}",
        "truth": "spam" if each.is_spam else "ham",
        "score": f"{each.p:.4f}",
        "length": len(each.text),
        "signals": ", ".join(name.replace("_", " ") for name in signals),
        "text": show(each.text),
    }


def _by_size(each: Slice) -> tuple[int, str]:
    return -int(each.metrics["n"] or 0), each.value


def _by_length(each: Slice) -> int:
    return int(re.sub(r"\D.*", "", each.value) or 10**9)


def number(name: str, value: float | None) -> str:
    if value is None:
        return "\u2013"
    return f"{value:.4f}" if name in _DECIMALS else f"{100 * value:.2f}"


def _unit(name: str, value: float | None) -> str:
    found = number(name, value)
    return found if value is None or name in _DECIMALS else f"{found} %"


def _bounds(name: str, found: Interval | None) -> str:
    return "" if found is None else f"{number(name, found[0])}\u2013{number(name, found[1])}"


def signed(value: float | None, bounds: Interval | None) -> tuple[str, str]:
    """A change in points, and its interval, which is left out where no text changed its label."""
    if value is None or bounds is None:
        return "\u2013", ""
    low, high = bounds
    return _points(value), f"{_points(low)} \u2026 {_points(high)}" if (low, high) != (0.0, 0.0) else ""


def _points(share: float) -> str:
    return f"{100 * share:+.2f}".replace("-", "\u2212") if share else "0"
