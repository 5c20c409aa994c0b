"""From corpora to a model folder: split, tune, merge, calibrate, judge, save.

Training that is cut short leaves its checkpoints in `<out>.work`; the same call again goes on from the last of them.
Under `accelerate launch --num_processes 4 -m smsift train …`, say, every process makes the same calls: they share each
step's texts, so that a step stays the recipe's, and the first one saves.
"""

import gc
import hashlib
import importlib.metadata
import json
import logging
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from safetensors.torch import save as save_tensors
from tokenizers import Tokenizer

from consumer.classifier.architecture import pad_id
from consumer.classifier.artifact import (
    ADAPTER,
    CONFIG,
    MODEL,
    TOKENIZER,
    Artifact,
    Base,
    File,
    Manifest,
    load_artifact,
    save,
    sha256_of,
)
from consumer.classifier.base import WEIGHTS, find_base
from consumer.classifier.engine import Encoder
from consumer.classifier.normalise import NORMALISER_VERSION
from consumer.settings import Settings, load_settings
from schemas.corpus import CorpusSpec
from schemas.errors import UserError
from training import qlora
from training.corpora import read_and_split
from training.data import Example, Splits
from training.decision import Decided, decide, prior_shift
from training.precision import capability, compute_dtype, processes
from training.recipe import Recipe
from training.trainer import as_sentences, fit

log = logging.getLogger("smsift.training")

_LIBRARIES: Final = ("torch", "transformers", "peft", "bitsandbytes", "safetensors", "tokenizers")
_RUN: Final = "run.json"
"""In the folder of checkpoints: which run they belong to."""


def train(
    recipe: Recipe,
    data: Sequence[CorpusSpec],
    out: Path,
    *,
    held_out: Sequence[CorpusSpec] = (),
    seed: int = 0,
    base: str | None = None,
    version: str | None = None,
    max_steps: int | None = None,
    settings: Settings | None = None,
    say: Callable[[str], None] = log.info,
) -> Artifact:
    """Make a model folder at `out` (empty or absent) from the corpora in `data` and return it, verified.

    A part of the near-duplicate clusters of `data` and all of `held_out` are only tested on; the manifest carries the
    metrics of each corpus. `base` is a folder or hub id of another base than the recipe's, or where that lies. `version`
    is by default the UTC time. `max_steps` ends training early, for a trial. The settings tell of ClickHouse and the hub's
    token. `say` receives what a person wants to know of the run. Raises UserError where corpora, base or `out` are not usable.
    """
    check_unused(out)
    settings = settings or load_settings()
    splits = splits_for(recipe, data, held_out, seed, settings)
    return train_on(
        recipe,
        splits,
        out,
        seed=seed,
        base=base,
        version=version,
        max_steps=max_steps,
        hub_token=settings.hub_token.get_secret_value() if settings.hub_token else None,
        say=say,
    )


def splits_for(
    recipe: Recipe, data: Sequence[CorpusSpec], held_out: Sequence[CorpusSpec], seed: int, settings: Settings
) -> Splits:
    """Read the corpora and split them as the recipe says. Raises UserError for what cannot be read or trained on."""
    return read_and_split(
        data,
        held_out,
        validation_share=recipe.data.validation_share,
        test_share=recipe.data.test_share,
        seed=seed,
        settings=settings,
    )


def check_unused(out: Path) -> None:
    """Raises UserError where a model folder cannot be made there."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty: choose another folder for the model.")


def train_on(
    recipe: Recipe,
    splits: Splits,
    out: Path,
    *,
    seed: int = 0,
    base: str | None = None,
    version: str | None = None,
    max_steps: int | None = None,
    hub_token: str | None = None,
    say: Callable[[str], None] = log.info,
) -> Artifact:
    """Like `train`, for corpora that are read and split already."""
    check_unused(out)
    state = processes()
    if not state.is_main_process:
        say = _nobody
    started = time.monotonic()
    folder, found = _find_base(recipe, base, hub_token)
    work = out.with_name(f"{out.name}.work")
    if state.is_main_process:
        _claim(work, recipe, splits, found, seed, max_steps)
    state.wait_for_everyone()
    say(f"training on {len(splits.train)} texts, left out: {splits.dropped}")
    compute = compute_dtype(recipe.training.compute, capability())
    transformers.set_seed(seed)
    with as_sentences(recipe, work):
        tuned = qlora.prepare(folder, recipe, compute)
    say(str(tuned.size))
    config = qlora.base_config(folder, recipe.base.pooling)
    tokenizer = (folder / TOKENIZER).read_bytes()
    positions = int(config.get("max_position_embeddings") or config.get("n_positions") or recipe.max_length)
    texts = _augmented(recipe, splits.train, seed)
    steps = fit(
        tuned,
        Encoder(Tokenizer.from_buffer(tokenizer), min(recipe.max_length, positions), pad_id(config)),
        texts,
        splits.validation,
        recipe,
        seed=seed,
        work=work,
        compute=compute,
        max_steps=max_steps,
    )
    facts: dict[str, str | float | int] = {
        "steps": steps,
        "texts": len(texts),
        "spam": sum(each.label == "spam" for each in texts),
        "trainable_parameters": tuned.size.trainable,
        "total_parameters": tuned.size.total,
        "compute": str(compute).removeprefix("torch."),
        "processes": state.num_processes,
    }
    quantisation = tuned.quantisation
    trained = qlora.trained_tensors(tuned.model)
    del tuned
    gc.collect()  # a Trainer holds its model in cycles; the merged network takes its place in memory
    if not state.is_main_process:
        state.wait_for_everyone()
        return load_artifact(out)
    try:
        with as_sentences(recipe, work):
            shift = prior_shift(splits.train, texts, weighted=recipe.training.class_weights)
            decided = decide(folder, config, tokenizer, trained, quantisation, recipe, splits.validation, shift)
            report = {"validation": decided.judge(splits.validation)}
            for name, part in splits.tests.items():  # a corpus may have any name, and sweeps rank by "validation"
                report[name if name not in report else f"test {name}"] = decided.judge(part)
        facts |= _spent(started)
        made = save(
            out,
            {
                (MODEL if recipe.adapter is None else ADAPTER): save_tensors(trained),
                CONFIG: json.dumps(config, indent=1).encode(),
                TOKENIZER: tokenizer,
            },
            _manifest(recipe, splits, found, config, decided, quantisation, report, facts, seed, version),
        )
    finally:
        state.wait_for_everyone()
    shutil.rmtree(work, ignore_errors=True)
    gpu = f", {facts['gpu_peak_memory_mb']} MB on the GPU" if "gpu_peak_memory_mb" in facts else ""
    say(f"training took {facts['seconds']:.0f} s and at most {facts['peak_memory_mb']} MB of memory{gpu}")
    return made


def _manifest(
    recipe: Recipe,
    splits: Splits,
    base: Base,
    config: Mapping[str, Any],
    decided: Decided,
    quantisation: Any,
    report: dict[str, Any],
    facts: dict[str, str | float | int],
    seed: int,
    version: str | None,
) -> Callable[[dict[str, File]], Manifest]:
    created = datetime.now(UTC)

    def manifest(files: dict[str, File]) -> Manifest:
        return Manifest(
            name=recipe.name,
            version=version or created.strftime("%Y%m%d.%H%M%S"),
            recipe=recipe.name,
            created=created,
            architecture=config["model_type"],
            base=base,
            labels=qlora.LABELS,
            max_length=recipe.max_length,
            lora=recipe.adapter,
            quantisation=quantisation,
            merge=decided.merge,
            calibration=decided.calibration,
            threshold=decided.threshold,
            review=decided.review,
            normaliser_version=NORMALISER_VERSION,
            data_version=splits.version,
            seed=seed,
            metrics=report,
            training=facts,
            libraries=dict(_versions()),
            files=files,
        )

    return manifest


def _find_base(recipe: Recipe, override: str | None, token: str | None) -> tuple[Path, Base]:
    """Return the base's folder and what the manifest says of it: what was found, with its digest.

    Given a folder or id, that is what is trained on, whatever the recipe names.
    """
    named = recipe.base_model
    if override is None:
        folder = find_base(named, None, token)
        return folder, named.model_copy(update={"sha256": sha256_of(folder / WEIGHTS)})
    folder = find_base(Base(id=override), override, token)
    digest = sha256_of(folder / WEIGHTS)
    if digest == named.sha256:
        return folder, named
    local = Path(override).is_dir()
    if local and named.sha256 is None:  # the folder is where the recipe's base lies
        return folder, named.model_copy(update={"sha256": digest})
    log.warning("training on another base than the recipe's %s", named.id)
    return folder, Base(id=folder.name if local else override, sha256=digest)


def _claim(work: Path, recipe: Recipe, splits: Splits, base: Base, seed: int, max_steps: int | None) -> None:
    """Mark the folder of checkpoints as this run's. Raises UserError where it is another run's or cannot be written."""
    facts = [recipe.model_dump(mode="json"), splits.version, base.sha256, seed, max_steps]
    run = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    path = work / _RUN
    try:
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) != {"run": run}:
            raise UserError(
                f"{work} holds an unfinished run with other arguments: repeat those to finish it, or remove the folder."
            )
        work.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"run": run}), encoding="utf-8")
    except OSError as error:
        raise UserError(f"Cannot write checkpoints to {work}: {error.strerror or error}.") from error
    except ValueError:
        raise UserError(f"{path} is damaged: remove {work} to train from the start.") from None


def _augmented(recipe: Recipe, train: Sequence[Example], seed: int) -> list[Example]:
    if not recipe.data.augmentation:
        return list(train)
    from training.augment import augment

    try:
        copies = augment(
            train,
            recipe.data.augmentation,
            copies=recipe.data.augment_copies,
            ham_share=recipe.data.augment_ham_share,
            seed=seed,
        )
    except ValueError as error:
        raise UserError(f"data.augmentation: {error}.") from None
    return [*train, *copies]


def _spent(started: float) -> dict[str, float | int]:
    spent: dict[str, float | int] = {
        "seconds": round(time.monotonic() - started, 1),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    if torch.cuda.is_available():
        spent["gpu_peak_memory_mb"] = torch.cuda.max_memory_allocated() // 2**20
    return spent


def _versions() -> Iterator[tuple[str, str]]:
    """The libraries at hand: training in full precision needs no bitsandbytes."""
    for name in _LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)


def _nobody(_: str) -> None:
    pass
