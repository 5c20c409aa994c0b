"""Runs and registered models in MLflow: a mirror of what lies in model folders and the models folder, never their source.

So nothing here fails a training or a promotion: where MLflow is away, a warning says so, and the next promotion or
rollback registers what is missing. Nothing that is logged holds message text.
"""

import importlib.metadata
import logging
import os
import re
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from packaging.requirements import Requirement

import consumer
import schemas
from consumer.classifier.artifact import MANIFEST, Artifact
from consumer.classifier.models_folder import Alias, Aliases
from schemas.storage import shown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

log = logging.getLogger("smsift.tracking")

EXPERIMENT: Final = "smsift"
REGISTERED: Final = "spam"
"""Name of the registered model: `models:/spam@champion` is what serves."""
EXAMPLE: Final = ["WIN a cash prize now, call 09061701461", "See you at home for dinner"]
"""Synthetic input example."""
_DIGEST: Final = "smsift.digest"
_MODEL: Final = "smsift.model"
_GATE: Final = "smsift.gate"
_PROBE_S: Final = 5.0
"""How long a tracking server may take to answer at all; the client itself would try for minutes."""
Result = TypeVar("Result")


def log_run(
    uri: str,
    artifact: Artifact,
    params: Mapping[str, object] | None = None,
    data_version: str | None = None,
    metrics: Mapping[str, Mapping[str, float | int | None]] | None = None,
    report_folder: Path | None = None,
    *,
    parent: str | None = None,
) -> str | None:
    """Log a trained model as a run, with its folder and as an MLflow Model; nothing is registered. Returns the run's id.

    `params`: the recipe's fields. `data_version` and `metrics` (per test set) are by default the manifest's. `parent`: a
    run of `open_sweep` to nest it under. Returns None, after a warning, where MLflow does not take it.
    """
    manifest = artifact.manifest

    def act(client: "MlflowClient") -> str:
        tags = {_DIGEST: artifact.digest} | ({"mlflow.parentRunId": parent} if parent else {})
        run = client.create_run(_experiment(client, uri), run_name=f"{manifest.name}-{manifest.version}", tags=tags)
        run_id = str(run.info.run_id)
        try:
            fill(client, run_id)
        except Exception:
            client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id)
        return run_id

    def fill(client: "MlflowClient", run_id: str) -> None:
        found = metrics if metrics is not None else manifest.metrics
        _log_numbers(
            client,
            run_id,
            {
                **(params or {}),
                "recipe": manifest.recipe,
                "seed": manifest.seed,
                "data_version": data_version or manifest.data_version,
                "base": manifest.base.id,
                "base_sha256": manifest.base.sha256,
                "normaliser_version": manifest.normaliser_version,
                **{f"library.{name}": version for name, version in manifest.libraries.items()},
            },
            {f"{name}/{key}": value for name, part in found.items() for key, value in part.items()}
            | {f"training/{key}": value for key, value in manifest.training.items() if not isinstance(value, str)},
        )
        for name in (*manifest.files, MANIFEST):
            client.log_artifact(run_id, str(artifact.folder / name), "model")
        if report_folder is not None and report_folder.is_dir():
            client.log_artifacts(run_id, str(report_folder), "report")
        client.set_tag(run_id, _MODEL, _log_model(run_id, artifact))

    return _tried(uri, "the run", act)


def open_sweep(uri: str, name: str, params: Mapping[str, object] | None = None) -> str | None:
    """Make the run under which the runs of a sweep are nested; returns its id, or None where MLflow is away.

    It also sets an empty store up, which several processes at once could not.
    """

    def act(client: "MlflowClient") -> str:
        run = client.create_run(_experiment(client, uri), run_name=name)
        _log_numbers(client, run.info.run_id, dict(params or {}), {})
        client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    return _tried(uri, "the sweep", act)


def log_decision(uri: str, artifact: Artifact, decision: Mapping[str, Any]) -> str | None:
    """Note what the gate said on the model's run; a model without one (made elsewhere, or while MLflow was away) gets it.

    `decision`: JSON with `passed`, `reasons` and `metrics`. Returns the run's id, or None where MLflow is away.
    """

    def act(client: "MlflowClient") -> str | None:
        run = _find_run(client, uri, artifact.digest)
        run_id = run.info.run_id if run else log_run(uri, artifact)
        if run_id is not None:
            client.set_tag(run_id, _GATE, "passed" if decision["passed"] else "refused")
            client.log_dict(run_id, dict(decision), "gate.json")
            _log_numbers(client, run_id, {}, {f"gate/{key}": value for key, value in decision["metrics"].items()})
        return run_id

    return _tried(uri, "the gate's decision", act)


def mirror(uri: str, aliases: Aliases, artifact_of: Callable[[Alias], Artifact]) -> bool:
    """Give the registered model the aliases of the models folder, champion last. True where MLflow took them.

    Versions that MLflow does not know yet are registered; `artifact_of` fetches them.
    """

    def act(client: "MlflowClient") -> bool:
        if not client.search_registered_models(f"name = '{REGISTERED}'"):
            client.create_registered_model(REGISTERED)
        for name in ("challenger", "previous", "champion"):
            alias: Alias | None = getattr(aliases, name)
            if alias is not None:
                client.set_registered_model_alias(REGISTERED, name, _version(client, uri, alias, artifact_of))
            elif name in client.get_registered_model(REGISTERED).aliases:
                client.delete_registered_model_alias(REGISTERED, name)
        return True

    return _tried(uri, "the aliases", act) or False


def _version(client: "MlflowClient", uri: str, alias: Alias, artifact_of: Callable[[Alias], Artifact]) -> str:
    """The registered version of a model folder; made where there is none."""
    # Searched here and not by a filter on tags, which not every store of model versions knows.
    for version in client.search_model_versions(f"name = '{REGISTERED}'"):
        if version.tags.get(_DIGEST) == alias.digest:
            return str(version.version)
    run = _find_run(client, uri, alias.digest)
    if run is None or _MODEL not in run.data.tags:
        run_id = log_run(uri, artifact_of(alias))
        if run_id is None:
            raise ConnectionError("the model could not be logged")
        run = client.get_run(run_id)
    made = client.create_model_version(
        REGISTERED,
        source=run.data.tags[_MODEL],
        run_id=run.info.run_id,
        tags={_DIGEST: alias.digest, "smsift.folder": alias.folder, _GATE: run.data.tags.get(_GATE, "")},
    )
    return str(made.version)


def _log_model(run_id: str, artifact: Artifact) -> str:
    """Log the model so that `mlflow models serve` answers as `smsift classify` does; returns its address in MLflow."""
    import mlflow.pyfunc

    manifest = artifact.manifest
    with tempfile.TemporaryDirectory() as work:
        # The code comes along, so that a model is served by the code that it was made with, installed or not; the
        # shipped model need not. Of the folder, what the manifest vouches for.
        code = [_copied(Path(module.__path__[0]), Path(work)) for module in (schemas, consumer)]
        folder = Path(work) / "model"
        folder.mkdir()
        for name in (*manifest.files, MANIFEST):
            shutil.copyfile(artifact.folder / name, folder / name)
        with mlflow.start_run(run_id=run_id, nested=mlflow.active_run() is not None):
            info = mlflow.pyfunc.log_model(
                name=REGISTERED,
                python_model=str(Path(__file__).with_name("pyfunc.py")),
                artifacts={"model": str(folder)},
                code_paths=code,
                pip_requirements=_requirements(manifest.base.package),
                signature=_signature(),
                input_example={"text": EXAMPLE},
                metadata={"version": manifest.version, "digest": artifact.digest},
            )
    return str(info.model_uri)


def _signature() -> "ModelSignature":
    """Texts in, `consumer.classifier.contract.Classification` out."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Schema, TensorSpec

    text, number = DataType.string, DataType.double
    answer: list[ColSpec | TensorSpec] = [ColSpec(text, name) for name in ("text", "label", "action")]
    answer += [ColSpec(number, name) for name in ("score", "margin")]
    answer += [ColSpec(text, "category", required=False), ColSpec(Array(text), "signals")]
    return ModelSignature(inputs=Schema([ColSpec(text, "text")]), outputs=Schema(answer))


def _requirements(base_package: str | None) -> list[str]:
    """What the filter needs, in the versions at hand, with the package that carries the base."""
    wanted = ["mlflow"]
    for line in importlib.metadata.requires("smsift") or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": "filter"}):
            wanted.append(requirement.name)
    pinned = [f"{name}=={importlib.metadata.version(name)}" for name in wanted]
    return pinned + ([base_package] if base_package else [])


def _copied(package: Path, work: Path) -> str:
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    return str(shutil.copytree(package, work / package.name, ignore=ignored))


def _find_run(client: "MlflowClient", uri: str, digest: str) -> Any:
    whole = f"tags.`{_DIGEST}` = '{digest}' and attributes.status = 'FINISHED'"
    found = client.search_runs([_experiment(client, uri)], whole, max_results=1)
    return found[0] if found else None


def _experiment(client: "MlflowClient", uri: str) -> str:
    """The experiment of all runs. A local database's artefacts lie beside it, not wherever smsift is started."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    database = _database(uri)
    location = None if database is None else (database.parent / "mlartifacts").absolute().as_uri()
    return str(client.create_experiment(EXPERIMENT, artifact_location=location))


def _database(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None


def _log_numbers(
    client: "MlflowClient", run_id: str, params: Mapping[str, object], metrics: Mapping[str, float | int | None]
) -> None:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)

    def plain(name: str) -> str:
        return re.sub(r"[^\w./ -]", "_", name)[:250]

    client.log_batch(
        run_id,
        metrics=[Metric(plain(name), float(value), now, 0) for name, value in metrics.items() if value is not None],
        params=[Param(plain(name), str(value)) for name, value in params.items() if value is not None],
    )


def _tried(uri: str, what: str, act: Callable[["MlflowClient"], Result]) -> Result | None:
    try:
        with _client(uri) as client:
            return act(client)
    except Exception as error:
        log.warning(
            "MLflow at %s did not take %s (%s); training and promotion go on without it: check SMSIFT_TRACKING_URI",
            shown(uri), what, type(error).__name__,
        )  # fmt: skip
        log.debug("MLflow's own words", exc_info=True)
        return None


@contextmanager
def _client(uri: str) -> Iterator["MlflowClient"]:
    if uri.startswith(("http://", "https://")):
        _answers(uri)
    elif (database := _database(uri)) is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
    # Written for the library to read, which has no other way: no usage statistics, no links and bars on the terminal.
    os.environ.update(
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
    )
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        yield mlflow.MlflowClient(uri)
    finally:
        mlflow.set_tracking_uri(before)


def _answers(uri: str) -> None:
    """Raises OSError where nothing answers; a server that refuses is there, and the client knows how to log in."""
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_PROBE_S):  # noqa: S310 - http(s), see above
            pass
    except urllib.error.HTTPError:
        pass
