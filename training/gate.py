"""The gate: whether a candidate may serve in the champion's place. Numbers in, reasons out.

A candidate must be good enough whatever serves today (floors), and no worse than what serves today on the same texts.
"No worse" on a quality means both: the difference is not significantly on the bad side (the whole 95 % interval of a
paired bootstrap), and it is not on the bad side by more than a margin, which a small test could not show significantly.
"""

import dataclasses
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import numpy as np

from schemas.errors import UserError
from training.bootstrap import SAMPLES, resampled
from training.metrics import Metrics, Scores, measure

NO_CHAMPION: Final = "no champion yet: nothing to be worse than"
SHIPPED: Final = Path(__file__).parent / "gate.toml"
_TINY: Final = 1e-9
"""A number that meets a bound exactly meets it, whatever its last digits are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """What the gate asks. The defaults only keep the useless out; the shipped settings (gate.toml) are stricter."""

    accuracy: float = 0.7
    """Least accuracy."""
    recall: float = 0.5
    """Least share of spam found: a model that calls everything ham has 0."""
    f1: float = 0.5
    """Least F1."""
    fpr: float = 0.1
    """Largest share of ham called spam: a model that calls everything spam has 1."""
    ece: float = 0.1
    """Largest expected calibration error."""
    least_spam: int = 20
    """Fewer spam texts in the test prove nothing of recall."""
    least_ham: int = 20
    """Fewer ham texts in the test prove nothing of FPR."""

    f1_margin: float = 0.01
    """F1 may be below the champion's by no more than this."""
    recall_margin: float = 0.02
    """Recall at an FPR of 1 % may be below the champion's by no more than this."""
    fpr_margin: float = 0.003
    """FPR may be above the champion's by no more than this."""

    attack_recall_loss: float = 0.1
    """Recall may fall by no more than this under the composed attack, after normalisation."""
    attack_fpr_rise: float = 0.05
    """FPR may rise by no more than this under the composed attack, after normalisation."""

    speed: float = 0.0
    """Least texts a second, on the machine that runs the gate."""
    relative_speed: float = 0.25
    """Least share of the champion's texts a second, measured in the same run."""

    def __post_init__(self) -> None:
        shares = {field.name for field in dataclasses.fields(self)} - {"least_spam", "least_ham", "speed"}
        if any(not 0 <= getattr(self, name) <= 1 for name in shares):
            raise UserError("The gate's floors and margins are shares: each must lie between 0 and 1.")
        if min(self.least_spam, self.least_ham) < 1 or self.speed < 0:
            raise UserError("The gate's least_spam and least_ham must be at least 1, and speed not below 0.")

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read a TOML file with these fields and no others; absent ones keep their defaults."""
        try:
            given = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UserError(f"{path} is not a readable TOML file of floors: {error}.") from None
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(given.keys() - known):
            raise UserError(f"{path} has unknown floors: {', '.join(unknown)}; there are {', '.join(sorted(known))}.")
        if wrong := sorted(name for name, value in given.items() if type(value) not in {int, float}):
            raise UserError(f"{path}: {', '.join(wrong)} must be a number.")
        return cls(**given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one model did with the frozen test."""

    name: str
    """Name and version of the model."""
    test: str
    """Digest of the frozen test: only models judged on the same texts can be compared."""
    scores: Scores
    """Of the texts as they are."""
    attack_recall_loss: float | None = None
    """Recall on the texts minus recall on them under the composed attack, both normalised. None: not measured."""
    attack_fpr_rise: float | None = None
    """FPR on them under that attack minus FPR on the texts. None: not measured."""
    speed: float | None = None
    """Texts a second, measured in the same run as the other model's. None: not measured."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the gate asked."""

    name: str
    passed: bool
    reason: str
    """What was asked and what was found, in numbers."""

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}  {self.reason}"


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate says, with every number it used."""

    checks: tuple[Check, ...]
    metrics: Metrics
    """The candidate's, on the frozen test."""
    test: str
    """Digest of the frozen test."""

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        return [str(check) for check in self.checks]


def judge(
    candidate: Judged,
    champion: Judged | None,
    floors: Floors,
    *,
    why_none: str = NO_CHAMPION,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Decision:
    """Decide whether the candidate may become champion. Pure: the same numbers give the same decision.

    `champion`: what serves today, champion or the model that comes with smsift. None, for the reason `why_none`: there is
    nothing to compare with, and the floors alone decide. `samples`, `seed`: of the bootstrap.
    """
    found = measure(candidate.scores)
    checks = [*_floors(found, floors), *_robustness(candidate, floors), *_speed(candidate, champion, floors)]
    if champion is None:
        checks.append(Check("champion", passed=True, reason=why_none))
    else:
        checks += _no_worse(candidate, champion, found, floors, samples, seed)
    return Decision(tuple(checks), found, candidate.test)


def _floors(found: Metrics, floors: Floors) -> Iterator[Check]:
    spam, n = int(found["spam"] or 0), int(found["n"] or 0)
    yield Check(
        "size",
        spam >= floors.least_spam and n - spam >= floors.least_ham,
        f"the test has {spam} spam (at least {floors.least_spam}) and {n - spam} ham (at least {floors.least_ham})",
    )
    for name in ("accuracy", "recall", "f1"):
        yield _at_least(name, name, found[name], getattr(floors, name))
    for name in ("fpr", "ece"):
        yield _at_most(name, name.upper(), found[name], getattr(floors, name))


def _robustness(candidate: Judged, floors: Floors) -> Iterator[Check]:
    for name, what in (("attack_recall_loss", "recall loss"), ("attack_fpr_rise", "FPR rise")):
        yield _at_most(name, f"{what} under the composed attack", getattr(candidate, name), getattr(floors, name))


def _speed(candidate: Judged, champion: Judged | None, floors: Floors) -> Iterator[Check]:
    if candidate.speed is None:
        yield Check("speed", passed=False, reason="the speed was not measured")
        return
    yield Check(
        "speed",
        candidate.speed >= floors.speed,
        f"{candidate.speed:,.0f} texts/s, at least {floors.speed:,.0f}",
    )
    if champion is not None and champion.speed:
        share = candidate.speed / champion.speed
        yield _at_least("relative_speed", "share of the champion's texts/s", share, floors.relative_speed)


def _no_worse(
    candidate: Judged, champion: Judged, found: Metrics, floors: Floors, samples: int, seed: int
) -> Iterator[Check]:
    ours, theirs = candidate.scores, champion.scores
    same = candidate.test == champion.test and np.array_equal(ours.is_spam, theirs.is_spam)
    if not same or not ours.is_spam.any() or ours.is_spam.all():
        why = "needs both classes" if same else "was not the same for both models"
        yield Check("champion", passed=False, reason=f"no comparison with {champion.name}: the frozen test {why}")
        return
    # The same seed draws the same texts for both: the differences of the draws are paired.
    before = measure(theirs)
    draws = [resampled(each, samples, seed) for each in (ours, replace(theirs, clusters=ours.clusters))]
    for name, what, good_sign, margin in (
        ("f1", "F1", 1, floors.f1_margin),
        ("recall_at_fpr_1", "recall at 1 % FPR", 1, floors.recall_margin),
        ("fpr", "FPR", -1, floors.fpr_margin),
    ):
        value, difference = found[name] or 0.0, (found[name] or 0.0) - (before[name] or 0.0)
        low, high = np.nanquantile(draws[0][name] - draws[1][name], (0.025, 0.975))
        best = high if good_sign > 0 else -low
        yield Check(
            f"champion_{name}",
            bool(best >= -_TINY and good_sign * difference >= -margin - _TINY),
            f"{what} {value:.4f}, {difference:+.4f} [{low:+.4f}, {high:+.4f}] to {champion.name}: "
            f"{'below' if good_sign > 0 else 'above'} by no more than {margin:g}, and not significantly",
        )


def _at_least(name: str, what: str, value: float | None, floor: float) -> Check:
    if value is None:
        return Check(name, passed=False, reason=f"{what} cannot be told from this test (at least {floor:g})")
    return Check(name, value >= floor - _TINY, f"{what} {value:.4f}, at least {floor:g}")


def _at_most(name: str, what: str, value: float | None, ceiling: float) -> Check:
    if value is None:
        return Check(name, passed=False, reason=f"{what} cannot be told from this test (at most {ceiling:g})")
    return Check(name, value <= ceiling + _TINY, f"{what} {value:.4f}, at most {ceiling:g}")
