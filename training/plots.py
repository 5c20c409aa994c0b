"""The pictures of a report. Each is drawn once and saved twice: as SVG that follows the page's colours, and as PNG."""

import io
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from training.evaluate import Evaluation, Measured
from training.metrics import Floats, Scores, operating_points

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Light-page colours. In an SVG each becomes the page's variable of that name, so that a dark page has its own.
INK: Final = "#1f2933"
MUTED: Final = "#8a94a0"
GRID: Final = "#e4e7eb"
SPAM: Final = "#c2513a"
HAM: Final = "#3b6ea5"
PALE: Final = "#a9c1da"
_VARIABLES: Final = {INK: "ink", MUTED: "muted", GRID: "grid", SPAM: "spam", HAM: "ham", PALE: "pale"}
_STYLE: Final[dict[Any, Any]] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "smsift",
}
_SIZE: Final = (5.0, 3.3)
"""Inches of most pictures."""
_EDGE: Final = 7.0
"""Log-odds at which the histogram ends: scores beyond .001 and .999 are one bin on either side."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture."""

    name: str
    title: str
    caption: str
    """What it shows, in words: also what a screen reader says."""
    svg: str
    png: bytes


def plots_of(evaluation: Evaluation) -> list[Plot]:
    """Draw what the texts can tell: curves need both classes, bars need attacks."""
    import matplotlib as mpl

    mpl.use("Agg", force=False)
    scores = evaluation.overall.scores
    both = bool(scores.is_spam.any() and not scores.is_spam.all())
    wanted: list[tuple[str, str, str, tuple[float, float], Callable[[Figure], None]]] = [
        (
            "confusion",
            "Confusion",
            "Labels against the truth: counts, and shares of each true class.",
            _SIZE,
            lambda figure: _confusion(figure, scores),
        ),
        (
            "scores",
            "Scores",
            "Share of each class by its score, on a scale of log-odds; the line is the threshold.",
            _SIZE,
            lambda figure: _histogram(figure, scores),
        ),
    ]
    if both:
        wanted += [
            (
                "precision-recall",
                "Precision and recall",
                "Precision at every recall; the dot is the model at its threshold.",
                _SIZE,
                lambda figure: _precision_recall(figure, evaluation),
            ),
            (
                "reliability",
                "Reliability",
                "How often a text with a given score is spam, with 95 % intervals; a calibrated model is on the line.",
                _SIZE,
                lambda figure: _reliability(figure, scores),
            ),
        ]
    if evaluation.attacks:
        wanted.append(
            (
                "attacks",
                "Attacks",
                "Recall and FPR under each attack: as the filter reads, and without the normaliser. The line is clean text.",
                (9.0, 0.62 + 0.42 * len(evaluation.attacks)),
                lambda figure: _attacks(figure, evaluation),
            )
        )
    with mpl.rc_context(_STYLE):
        return [_draw(*each) for each in wanted]


def _draw(name: str, title: str, caption: str, size: tuple[float, float], draw: "Callable[[Figure], None]") -> Plot:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    svg, png = io.StringIO(), io.BytesIO()
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return Plot(name, title, caption, _inline(svg.getvalue()), png.getvalue())


def _inline(svg: str) -> str:
    """The <svg> element alone, scaling with the page and in its colours and font."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 system-ui, sans-serif", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    return body


def _precision_recall(figure: "Figure", evaluation: Evaluation) -> None:
    axes = figure.add_subplot()
    peers = {peer.name: peer for peer in evaluation.peers}
    looks: Mapping[str, dict[str, Any]] = {
        "naive Bayes": {"color": MUTED, "linewidth": 1.2},
        "before tuning": {"color": MUTED, "linewidth": 1.2, "linestyle": (0, (4, 2))},
    }
    recall, precision = _curve(evaluation.overall.scores)
    axes.plot(recall, precision, color=HAM, linewidth=2, label=_with_area("model", evaluation.overall))
    found = evaluation.overall.metrics
    if found["precision"] is not None and found["recall"] is not None:
        axes.plot(found["recall"], found["precision"], "o", color=SPAM, markersize=7, label="at the threshold")
    # A good model fills the corner: begin where it begins to lose, so that the differences are seen.
    low = min(float(precision[recall <= 0.95].min(initial=1.0)), found["precision"] or 1.0, found["recall"] or 1.0)
    start = max(0.0, math.floor(low * 10 - 2) / 10)
    for name, look in looks.items():
        if name in peers:
            x, y = _curve(peers[name].scores)
            unseen = "" if bool((y[x > start] >= start).any()) else ", below the picture"
            axes.plot(x, y, label=_with_area(name, peers[name]) + unseen, zorder=1.5, **look)
    axes.set(xlabel="recall", ylabel="precision", xlim=(start, 1.005), ylim=(start, 1.005))
    figure.legend(loc="outside upper center", ncols=2)


def _curve(scores: Scores) -> tuple[Floats, Floats]:
    _, spam, ham = operating_points(scores)
    return np.append(0.0, spam / spam[-1]), np.append(1.0, spam / (spam + ham))


def _with_area(name: str, measured: Measured) -> str:
    area = measured.metrics["auprc"]
    return name if area is None else f"{name}, AUPRC {area:.3f}"


def _reliability(figure: "Figure", scores: Scores) -> None:
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 2)))
    bins = np.minimum((scores.p * 10).astype(int), 9)
    for each in range(10):
        rows = bins == each
        if not rows.any():
            continue
        n, share = int(rows.sum()), float(scores.is_spam[rows].mean())
        low, high = _wilson(share, n)
        x = float(scores.p[rows].mean())
        axes.plot([x, x], [low, high], color=PALE, linewidth=3, solid_capstyle="round")
        axes.plot(x, share, "o", color=HAM, markersize=6)
        axes.annotate(
            f"{n:,}",
            (x, high),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=INK,
            annotation_clip=False,
        )
    axes.set(
        xlabel="mean score of each tenth of the scale", ylabel="share of spam", xlim=(-0.06, 1.06), ylim=(-0.03, 1.08)
    )


def _wilson(share: float, n: int) -> tuple[float, float]:
    z = 1.96
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def _histogram(figure: "Figure", scores: Scores) -> None:
    axes = figure.add_subplot()
    p = np.clip(scores.p, 1e-9, 1 - 1e-9)
    odds = np.clip(np.log(p / (1 - p)), -_EDGE, _EDGE)
    edges = np.linspace(-_EDGE, _EDGE, 41)
    for rows, colour, name in ((~scores.is_spam, HAM, "ham"), (scores.is_spam, SPAM, "spam")):
        if rows.any():
            shares = np.histogram(odds[rows], edges)[0] / rows.sum()
            axes.stairs(shares, edges, fill=True, color=colour, alpha=0.35)
            axes.stairs(shares, edges, color=colour, linewidth=1.5, label=f"{name} ({int(rows.sum()):,})")
    threshold = min(max(scores.threshold, 1e-9), 1 - 1e-9)
    axes.axvline(math.log(threshold / (1 - threshold)), color=INK, linewidth=1, label=f"threshold {threshold:.3g}")
    marks = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
    axes.set_xticks([math.log(mark / (1 - mark)) for mark in marks], [f"{mark:g}" for mark in marks])
    axes.grid(visible=False, axis="x")
    axes.yaxis.set_major_formatter(_per_cent)
    axes.set(xlabel="score, P(spam)", ylabel="share of the class", xlim=(-_EDGE, _EDGE))
    figure.legend(loc="outside upper center", ncols=3)


def _confusion(figure: "Figure", scores: Scores) -> None:
    axes = figure.add_subplot()
    axes.grid(visible=False)
    for row, truth in enumerate((~scores.is_spam, scores.is_spam)):
        for column, said in enumerate((~scores.said, scores.said)):
            count, whole = int((truth & said).sum()), int(truth.sum())
            share = count / whole if whole else 0.0
            right = row == column
            axes.add_patch(_cell(column, row, HAM if right else SPAM, 0.08 + 0.32 * share))
            axes.text(column, row - 0.06, f"{count:,}", ha="center", va="center", fontsize=15)
            note = f"{share:.2%}" if whole else "none"
            axes.text(column, row + 0.24, note, ha="center", va="center", fontsize=9)
    axes.set_xticks([0, 1], ["says ham", "says spam"])
    axes.set_yticks([0, 1], ["is ham", "is spam"])
    axes.xaxis.tick_top()
    axes.set(xlim=(-0.5, 1.5), ylim=(1.5, -0.5))
    axes.spines[:].set_visible(False)


def _cell(column: int, row: int, colour: str, strength: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.485, row - 0.485), 0.97, 0.97, facecolor=colour, alpha=strength, linewidth=0)


def _attacks(figure: "Figure", evaluation: Evaluation) -> None:
    attacks = evaluation.attacks[::-1]
    first, places = attacks[0].normalised, np.arange(len(attacks))
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.08})
    for axes, quality, clean in (
        (left, "recall", (first.recall or 0) + (first.recall_loss or 0)),
        (right, "fpr", (first.fpr or 0) - (first.fpr_rise or 0)),
    ):
        for shift, colour, name, effects in (
            (0.19, HAM, "with normaliser", [each.normalised for each in attacks]),
            (-0.19, PALE, "without", [each.raw for each in attacks]),
        ):
            values = [getattr(effect, quality) or 0.0 for effect in effects]
            axes.barh(places + shift, values, height=0.34, color=colour, label=name)
        axes.axvline(clean, color=INK, linewidth=1, label="clean text")
        axes.xaxis.set_major_formatter(_per_cent)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
    left.set(xlim=(0, 1), xlabel=f"recall, {attacks[0].spam:,} spam")
    top = max([0.02, *(getattr(each, way).fpr or 0 for each in attacks for way in ("normalised", "raw"))])
    right.set(xlim=(0, top * 1.08), xlabel=f"FPR, {attacks[0].ham:,} ham")
    left.set_yticks(places, [each.name.replace("_", " ") for each in attacks])
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper right", ncols=3)


def _per_cent(value: float, _place: float | None = None) -> str:
    return f"{100 * value:.3g} %"
