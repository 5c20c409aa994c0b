"""The training loop: transformers' Trainer with batches of similar lengths, an own loss, and checkpoints to resume from."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from consumer.classifier.engine import Encoder
from schemas.errors import UserError
from training.data import Example
from training.precision import processes
from training.progress import Progress, Tally
from training.qlora import LABELS, Tuned
from training.recipe import Recipe

_CHECKPOINTS = 20
"""Of a run: a kill costs no more than a twentieth of it."""
_STATE = "trainer_state.json"
"""What the Trainer writes last into a checkpoint."""


def fit(
    tuned: Tuned,
    encode: Encoder,
    train: Sequence[Example],
    validation: Sequence[Example],
    recipe: Recipe,
    *,
    seed: int,
    work: Path,
    compute: torch.dtype = torch.float32,
    max_steps: int | None = None,
) -> int:
    """Train in place and return the number of steps made.

    `work` receives checkpoints; where it holds some of the same run, training goes on from the last complete one.
    `max_steps` ends training early. Raises UserError where there are fewer texts than a batch, where the memory does
    not suffice, and where `work` cannot be written.
    """
    rows = _rows(encode, train)
    if len(rows) < recipe.training.batch_size:
        raise UserError(
            f"There are {len(rows)} texts to train on, fewer than one batch: give more data, or lower "
            f"training.batch_size ({recipe.training.batch_size})."
        )
    steps = max_steps or max(round(recipe.training.epochs * (len(rows) // recipe.training.batch_size)), 1)
    tally = Tally()
    trainer = _Trainer(
        model=tuned.model,
        args=_arguments(recipe, work, steps, seed, compute),
        train_dataset=rows,  # any sized sequence of rows serves as a dataset
        eval_dataset=_rows(encode, validation),
        data_collator=_collator(encode, tally),
        optimizers=(_optimiser(tuned, recipe), None),
        callbacks=[_Checkpoints(max(steps // _CHECKPOINTS, 1)), Progress(tally)],
    )
    trainer.remove_callback(PrinterCallback)  # it prints every line of the log to stdout
    if recipe.training.patience:
        trainer.add_callback(EarlyStoppingCallback(recipe.training.patience))
    if recipe.training.class_weights:
        trainer.weights = class_weights(each.label for each in train)
    with as_sentences(recipe, work):
        last = _last_complete(work)
        if last is None or last.state.global_step < steps:
            trainer.train(resume_from_checkpoint=str(last.folder) if last else None)
            made = trainer.state.global_step
        else:  # killed between its last step and the saving of the model: the Trainer would make one step more
            _load(tuned.model, last.best)
            made = last.state.global_step
    tuned.model.eval()
    return made


def class_weights(labels: Iterator[str] | Sequence[str]) -> Tensor:
    """Return a weight per label, in inverse proportion to its frequency; a text's mean weight is 1."""
    numbers = [LABELS.index(label) for label in labels]
    counts = torch.bincount(torch.tensor(numbers), minlength=len(LABELS))
    return len(numbers) / (len(LABELS) * counts.float())


class _Trainer(Trainer):
    """A Trainer whose micro-batches hold texts of similar length, and whose loss may weigh the classes."""

    # The model takes any keyword, so the Trainer supposes that it scales its loss over micro-batches; it does not.
    model_accepts_loss_kwargs = False
    weights: Tensor | None = None

    def get_train_dataloader(self) -> DataLoader[Any]:
        rows: Any = self.train_dataset
        sampler = StepBuckets(
            [len(row["input_ids"]) for row in rows],
            self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size,
            self.args.seed,
        )
        loader = DataLoader(rows, batch_size=self.args.train_batch_size, sampler=sampler, collate_fn=self.data_collator)
        return cast("DataLoader[Any]", self.accelerator.prepare(loader))

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ARG002 - the signature is the Trainer's
    ) -> Any:
        labels = inputs.pop("labels")
        logits = model(**inputs)
        if model.training:
            # By number of texts, not by their weights: micro-batches of one step differ in their share of spam.
            losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=self.args.label_smoothing_factor)
            loss = (losses if self.weights is None else losses * self.weights.to(labels.device)[labels]).mean()
        else:
            loss = F.cross_entropy(logits, labels)
        return (loss, logits) if return_outputs else loss


class StepBuckets(Sampler[int]):
    """Draw each optimiser step's texts at random, then order them by length: half the padding, the same gradient.

    Grouping by length over more than a step would make batches of one class (spam is long), and training diverges.
    """

    def __init__(self, lengths: Sequence[int], step: int, seed: int) -> None:
        self._lengths = lengths
        self._step = step
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch: the same after a kill as without one."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths) // self._step * self._step

    def __iter__(self) -> Iterator[int]:
        random = torch.Generator().manual_seed(self._seed + self._epoch)
        shuffled: list[int] = torch.randperm(len(self._lengths), generator=random).tolist()
        for start in range(0, len(self), self._step):
            yield from sorted(shuffled[start : start + self._step], key=self._lengths.__getitem__)


class _Checkpoints(TrainerCallback):
    """Save every so many steps, whatever else is saved for."""

    def __init__(self, every: int) -> None:
        self._every = every

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the signature is the Trainer's
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        if state.global_step % self._every == 0:
            control.should_save = True


def _arguments(recipe: Recipe, work: Path, steps: int, seed: int, compute: torch.dtype) -> TrainingArguments:
    training = recipe.training
    together = processes().num_processes
    # The texts of a step stay the recipe's, however many processes share them.
    micro = min(training.micro_batch_size, training.batch_size // together)
    if training.batch_size % (micro * together):
        raise UserError(
            f"training.batch_size ({training.batch_size}) must be a multiple of training.micro_batch_size ({micro}) "
            f"times the {together} processes."
        )
    judged = "epoch" if training.evaluate_per_epoch else "no"
    return TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=micro,
        per_device_eval_batch_size=4 * micro,
        gradient_accumulation_steps=training.batch_size // (micro * together),
        max_steps=steps,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        warmup_steps=round(training.warmup_share * steps),
        label_smoothing_factor=training.label_smoothing,
        lr_scheduler_type="cosine",
        max_grad_norm=1.0,
        bf16=compute == torch.bfloat16,
        fp16=compute == torch.float16,
        logging_steps=max(steps // 50, 1),
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        eval_strategy=judged,
        save_strategy=judged,
        load_best_model_at_end=training.evaluate_per_epoch,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        save_total_limit=2,
        restore_callback_states_from_checkpoint=training.patience > 0,  # the epochs without a better loss so far
        label_names=["labels"],
        remove_unused_columns=False,
        report_to=[],
        seed=seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
        log_level="error",
    )


def _optimiser(tuned: Tuned, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; vectors (biases, norms) do not decay, and the head has a rate of its own."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in tuned.model.named_parameters():
        if parameter.requires_grad:
            is_head = bool(set(tuned.architecture.head) & set(name.split(".")))
            groups.setdefault((is_head, parameter.ndim > 1), []).append(parameter)
    rate, decay = recipe.training.learning_rate, recipe.training.weight_decay
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": rate * recipe.training.head_rate_factor if is_head else rate,
                "weight_decay": decay if decays else 0.0,
            }
            for (is_head, decays), parameters in groups.items()
        ],
        lr=rate,
        fused=True,
    )


def _rows(encode: Encoder, examples: Sequence[Example]) -> list[dict[str, Any]]:
    encodings = encode([each.text for each in examples])
    return [
        {"input_ids": encode.ids(encoding), "labels": LABELS.index(each.label)}
        for encoding, each in zip(encodings, examples, strict=True)
    ]


def _collator(encode: Encoder, tally: Tally) -> Callable[[list[Mapping[str, Any]]], dict[str, Tensor]]:
    def collate(rows: list[Mapping[str, Any]]) -> dict[str, Tensor]:
        ids, lengths = encode.padded([row["input_ids"] for row in rows])
        tally.tokens += int(lengths.sum())
        return {"input_ids": ids, "lengths": lengths, "labels": torch.tensor([row["labels"] for row in rows])}

    return collate


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    folder: Path
    state: TrainerState

    @property
    def best(self) -> Path:
        """Where the weights lie that the run ends with."""
        best = self.state.best_model_checkpoint
        return self.folder.parent / Path(best).name if best else self.folder


def _last_complete(work: Path) -> _Checkpoint | None:
    """Return the last checkpoint that was written to its end, and take away a later one that was not."""
    found = sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    for folder in reversed(found):
        try:
            return _Checkpoint(folder, TrainerState.load_from_json(str(folder / _STATE)))
        except (OSError, ValueError):
            shutil.rmtree(folder, ignore_errors=True)
    return None


def _load(model: nn.Module, checkpoint: Path) -> None:
    if isinstance(model, PeftModel):
        model.load_adapter(str(checkpoint), "default")
    else:
        model.load_state_dict(load_file(checkpoint / "model.safetensors"))


@contextmanager
def as_sentences(recipe: Recipe, work: Path) -> Iterator[None]:
    """Turn a full memory, a full disk and weights that are no numbers into what a person can do about them."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise out_of_memory(recipe) from error
    except FloatingPointError as error:
        raise UserError(
            f"Training has diverged: lower training.learning_rate (now {recipe.training.learning_rate:g}), or set "
            f"training.compute (now {recipe.training.compute}) to float32; then remove {work}."
        ) from error
    except (OSError, SafetensorError) as error:
        raise UserError(f"Cannot write checkpoints to {work}: {error}.") from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise out_of_memory(recipe) from error
        if "PytorchStreamWriter" in str(error) or "iostream error" in str(error):
            raise UserError(f"Cannot write checkpoints to {work}: is the disk full?") from error
        raise


def out_of_memory(recipe: Recipe) -> UserError:
    nf4 = "" if recipe.quantisation.nf4 or recipe.tuning == "full" else ", or set quantisation.nf4 = true"
    return UserError(
        f"The memory does not suffice: lower training.micro_batch_size (now {recipe.training.micro_batch_size}) or "
        f"max_length (now {recipe.max_length}){nf4}."
    )
