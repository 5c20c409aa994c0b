"""What a recipe is worth over several seeds: each seed splits the data anew, trains, and is judged on what it never saw.

The clusters held back of the training data, whole corpora held out, and the composed attack on both, read through the
normaliser. Means over the seeds with 95 % intervals of the mean (Student's t).
`python -m tests.bench.models --data SMSSpamCollection --held-out india.csv [--seeds 5] [--recipe NAME] [--json]`.
"""

import argparse
import hashlib
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from consumer.settings import load_settings
from schemas.corpus import parse_spec
from tests.bench.report import Case, Report
from training.corpora import read_and_split
from training.data import Example, Splits
from training.evaluate import evaluate
from training.recipe import Recipe, load_recipe
from training.scorer import load_scorer
from training.sweep import assignments, value_of
from training.train import train_on

METRICS: Final = ("f1", "precision", "recall", "fpr", "auprc", "recall_at_fpr_0.1", "recall_at_fpr_1", "ece")
ATTACK: Final = "composed"
# Student's t for a two-sided 95 % interval of the mean, by degrees of freedom.
_T: Final = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


def run(recipe: Recipe, data: Sequence[str], held_out: Sequence[str], seeds: int, out: Path) -> Report:
    """Train and judge one model a seed. Models that lie in `out` already, from a run that was stopped, are kept."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    digest = None
    for seed in range(seeds):
        settings = load_settings()
        splits = read_and_split(
            [parse_spec(each) for each in data],
            [parse_spec(each) for each in held_out],
            validation_share=recipe.data.validation_share,
            test_share=recipe.data.test_share,
            seed=seed,
            settings=settings,
        )
        kind = hashlib.sha256(recipe.model_dump_json().encode()).hexdigest()[:8]
        folder = out / f"{recipe.name}-{kind}-{splits.version[:8]}-seed{seed}"
        if not folder.exists():
            train_on(recipe, splits, folder, seed=seed, base=settings.base, say=print)
        artifact, _ = load_scorer(folder, settings.base)
        digest = artifact.digest
        for (test, metric), value in judge(folder, splits, settings.base, seed).items():
            found[test, metric].append(value)
    return Report({"seeds": seeds}, digest if seeds == 1 else None, list(cases(recipe.name, found)))


def judge(folder: Path, splits: Splits, base: str | None, seed: int) -> Mapping[tuple[str, str], float]:
    """Return a value per test set and metric."""
    artifact, scorer = load_scorer(folder, base)
    values: dict[tuple[str, str], float] = {("training", "seconds"): float(artifact.manifest.training["seconds"])}
    values["training", "peak memory"] = float(artifact.manifest.training["peak_memory_mb"])
    for test, examples in splits.tests.items():
        judged: Any = evaluate(
            scorer, {test: list[Example](examples)}, attacks=[ATTACK], samples=0, floor=False, seed=seed
        ).as_json()
        values |= {(test, metric): judged[metric] for metric in METRICS if judged.get(metric) is not None}
        attacked = judged["attacks"][0]
        for reading in ("normalised", "raw"):
            for effect in ("recall_loss", "fpr_rise"):
                if attacked[reading][effect] is not None:
                    values[f"{test}, {ATTACK}, {reading}", effect] = attacked[reading][effect]
    return values


def cases(name: str, found: Mapping[tuple[str, str], Sequence[float]]) -> list[Case]:
    """One case a mean, and one for each end of its interval."""
    made = []
    for (test, metric), values in found.items():
        unit = {"seconds": "s", "peak memory": "MB"}.get(metric, "share")
        mean = statistics.mean(values)
        made.append(Case("models", f"{name}: {test}", metric, round(mean, 5), unit))
        if len(values) > 1:
            half = _T.get(len(values) - 1, 1.96) * statistics.stdev(values) / len(values) ** 0.5
            made.append(Case("models", f"{name}: {test}", f"{metric} low", round(mean - half, 5), unit))
            made.append(Case("models", f"{name}: {test}", f"{metric} high", round(mean + half, 5), unit))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--data", action="append", required=True, help="labelled data to learn from and be judged on")
    parser.add_argument("--held-out", action="append", default=[], help="labelled data to be judged on only")
    parser.add_argument("--recipe", default="minilm-qlora")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change a field of the recipe"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(".smsift/bench-models"), help="where the models go")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    recipe = load_recipe(given.recipe)
    if given.set:
        recipe = recipe.changed({name: value_of(value) for name, value in assignments(given.set, "--set").items()})
    report = run(recipe, given.data, given.held_out, given.seeds, given.out)
    print("\n".join(report.json_lines() if given.json else report.table()))


if __name__ == "__main__":
    main()
