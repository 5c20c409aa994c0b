"""The steps of training as a Metaflow flow: prepare, train every recipe in parallel, evaluate, gate, register.

    python -m training.flow run --data sms.csv --recipes minilm-qlora,distilbert-lora
    python -m training.flow --datastore s3 --with kubernetes:image=… run --data s3://…/sms.csv --recipes tinyllama-qlora

(or `--with batch`; the image holds smsift[flow], and Metaflow's own settings say where its datastore and cluster are.)
Each step calls the function that the command of its name calls. Steps may run on different machines: what one hands to
the next goes through the data store (SMSIFT_DATA_STORE), the models folder (SMSIFT_MODELS) and Metaflow's own datastore,
so away from one machine the first two must be addresses that all of them reach. Of the models that pass the gate the one
with the highest F1 on the frozen test becomes champion.
"""

import dataclasses
import getpass
import os
import tempfile
from pathlib import Path
from typing import Any

from metaflow import FlowSpec, Parameter, card, current, resources, step
from metaflow.cards import Markdown, Table


class TrainingFlow(FlowSpec):
    """Train models by several recipes on one split, and promote the best that passes the gate."""

    data = Parameter("data", help="Labelled files, PATH[:TEXT:LABEL], separated by commas", required=True)
    held_out = Parameter("held-out", help="Labelled files to judge on and never learn from", default="")
    recipes = Parameter("recipes", help="Recipes, separated by commas", default="minilm-qlora")
    seed = Parameter("seed", help="Same seed and data, same split", default=0)
    max_steps = Parameter("max-steps", help="End training early, for a trial; 0: do not", default=0)
    floors = Parameter("floors", help="TOML file of the gate's floors; empty: the shipped ones", default="")

    @card(type="blank")
    @step
    def start(self) -> None:
        """Prepare: read, clean and split the corpora, and keep the split as a snapshot."""
        from schemas.corpus import parse_spec
        from training import snapshots, tracking
        from training.corpora import read_and_split
        from training.gate import SHIPPED, Floors
        from training.recipe import load_recipe

        settings = _settings()
        self.names = [name.strip() for name in self.recipes.split(",") if name.strip()]
        first, *_ = [load_recipe(name) for name in self.names]  # a wrong name ends the flow here
        self.asked = dataclasses.asdict(Floors.from_toml(Path(self.floors or SHIPPED)))
        splits = read_and_split(
            [parse_spec(each) for each in _listed(self.data)],
            [parse_spec(each) for each in _listed(self.held_out)],
            validation_share=first.data.validation_share,
            test_share=first.data.test_share,
            seed=self.seed,
            settings=settings,
        )
        self.data_version = snapshots.add(settings.data_folder, splits)
        self.sweep = tracking.open_sweep(settings.mlflow_uri, f"flow-{current.run_id}", {"recipes": self.recipes})
        tests = [(f"test {name}", part) for name, part in splits.tests.items()]
        parts = [("train", splits.train), ("validation", splits.validation), *tests]
        counts = [[name, len(part), sum(each.label == "spam" for each in part)] for name, part in parts]
        _show(f"# Data {self.data_version[:12]}", counts, ["split", "texts", "spam"])
        current.card.append(Markdown(f"Left out: {splits.dropped}"))
        self.next(self.train, foreach="names")

    @card(type="blank")
    @resources(cpu=2, memory=8192)
    @step
    def train(self) -> None:
        """Make a model by one recipe."""
        from training import snapshots
        from training.recipe import load_recipe
        from training.train import train_on

        settings = _settings()
        token = settings.hub_token
        with tempfile.TemporaryDirectory() as work:
            made = train_on(
                load_recipe(self.input),
                snapshots.pull(settings.data_folder, self.data_version),
                Path(work) / "model",
                seed=self.seed,
                base=settings.base,
                max_steps=self.max_steps or None,
                hub_token=token.get_secret_value() if token else None,
            )
            self.files = {path.name: path.read_bytes() for path in made.folder.iterdir() if path.is_file()}
        _show(
            f"# {made.manifest.name} {made.manifest.version}", [list(each) for each in made.manifest.training.items()]
        )
        self.next(self.evaluate)

    @card(type="blank")
    @step
    def evaluate(self) -> None:
        """Judge the model on the tests of the split, write its report and log the run."""
        from training import snapshots, tracking
        from training.evaluate import evaluate
        from training.recipe import load_recipe
        from training.report import MARKDOWN, write_report
        from training.scorer import load_scorer, untuned

        settings = _settings()
        splits = snapshots.pull(settings.data_folder, self.data_version)
        with tempfile.TemporaryDirectory() as work:
            folder, report = _written(self.files, Path(work)), Path(work) / "report"
            artifact, scorer = load_scorer(folder, settings.base, settings.device)
            before = untuned(artifact, settings.base, splits.validation, device=settings.device)
            evaluation = evaluate(scorer, splits.tests, before=before, training=splits.train, seed=self.seed)
            write_report(evaluation, report)
            tracking.log_run(
                settings.mlflow_uri,
                artifact,
                load_recipe(self.input).parameters(),
                report_folder=report,
                parent=self.sweep,
            )
            current.card.append(Markdown((report / MARKDOWN).read_text(encoding="utf-8")))
        self.metrics = dict(evaluation.overall.metrics)
        self.next(self.gate)

    @card(type="blank")
    @step
    def gate(self, inputs: Any) -> None:
        """Judge every model beside the champion on the same frozen test."""
        from consumer.classifier.artifact import load_artifact
        from training.gate import Floors
        from training.promotion import ask_gate, name_of

        settings = _settings()
        floors = Floors(**inputs[0].asked)
        self.passed: list[tuple[float, dict[str, bytes], Any, Any]] = []
        for each in inputs:
            with tempfile.TemporaryDirectory() as work:
                verdict = ask_gate(settings, load_artifact(_written(each.files, Path(work))), floors)
            decision = verdict.decision
            current.card.append(
                Markdown(f"# {name_of(verdict.artifact)}: {'passed' if decision.passed else 'refused'}")
            )
            print("\n".join((f"{name_of(verdict.artifact)}:", *decision.reasons)), flush=True)
            current.card.append(Markdown("\n".join(f"- {reason}" for reason in decision.reasons)))
            if decision.passed:
                self.passed.append((decision.metrics["f1"] or 0.0, each.files, decision, verdict.aliases))
        self.next(self.register)

    @card(type="blank")
    @step
    def register(self) -> None:
        """Make the best model that passed champion; where none did, nothing changes."""
        from consumer.classifier.artifact import load_artifact
        from training.promotion import Verdict, name_of, promote

        self.champion: str | None = None
        if self.passed:
            _, files, decision, aliases = max(self.passed, key=lambda each: each[0])
            with tempfile.TemporaryDirectory() as work:
                artifact = load_artifact(_written(files, Path(work)))
                promote(_settings(), Verdict(artifact, decision, aliases))
            self.champion = name_of(artifact)
        current.card.append(Markdown(f"# {self.champion or 'No model passed the gate; the champion stays'}"))
        self.next(self.end)

    @step
    def end(self) -> None:
        """Say what came of it."""
        print(f"champion: {self.champion}" if self.champion else "no model passed the gate")


def _settings() -> Any:
    from consumer.logs import configure_logs
    from consumer.settings import load_settings

    settings = load_settings()
    configure_logs(settings)
    return settings


def _listed(given: str) -> list[str]:
    return [each.strip() for each in given.split(",") if each.strip()]


def _written(files: dict[str, bytes], work: Path) -> Path:
    """A model folder as it was, on the machine of this step; loading verifies it."""
    folder = work / "model"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def _show(title: str, rows: list[list[Any]], headers: list[str] | None = None) -> None:
    current.card.append(Markdown(title))
    current.card.append(Table([[str(cell) for cell in row] for row in rows], headers=headers or []))


def _name_user() -> None:
    """Give Metaflow a user where it finds none: it looks into the environment only, and will not have root.

    Written for the library, not read. USERNAME, since Metaflow prefers its own METAFLOW_USER to it, and has read that
    when it was imported.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may know its user by number only
        user = "root"
    os.environ.setdefault("USERNAME", "smsift" if user == "root" else user)


if __name__ == "__main__":
    _name_user()
    TrainingFlow()
