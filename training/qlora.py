"""A base model held in NF4 with a trainable low-rank adapter, and its training.

Two traps of bitsandbytes are handled here, each with a test. Layers that are not named in `llm_int8_skip_modules` are
quantised, a fresh head among them. And in evaluation mode a quantised layer repacks its weights, for good, for a
CPU kernel that has no gradient: a model that was evaluated would not train again.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

from consumer.classifier.artifact import Quantisation
from schemas.errors import UserError
from training.recipe import Recipe

LABELS: Final = ("ham", "spam")
"""In the order of the head's outputs."""
_HEAD: Final = frozenset({"classifier", "pooler", "pre_classifier", "score"})
"""Parts between encoder and logits, over the architectures: small, and too near the answer to be rounded."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """A model under training and how its base is held."""

    model: PeftModel
    quantisation: Quantisation | None

    @property
    def trainable_parameters(self) -> int:
        return sum(each.numel() for each in self.model.parameters() if each.requires_grad)


def prepare(base: Path, recipe: Recipe) -> Tuned:
    """Load the base as the recipe says and add a fresh adapter and head. Randomness is torch's: seed it before.

    Raises UserError where the recipe's targets name no layer of the base.
    """
    config = AutoConfig.from_pretrained(base, num_labels=len(LABELS), trust_remote_code=False)
    with torch.device("meta"):
        outline = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    linears = [name for name, module in outline.named_modules() if isinstance(module, nn.Linear)]
    head = [name for name in linears if _HEAD & set(name.split("."))]
    targets = [name for name in linears if name.rsplit(".", 1)[-1] in recipe.lora_targets]
    if not targets:
        raise UserError(f"The recipe's lora_targets name no layer of the base {recipe.base}.")
    settings: dict[str, Any] = {"config": config, "dtype": torch.float32, "trust_remote_code": False}
    if recipe.quantise:
        settings["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=recipe.double_quantisation,
            bnb_4bit_compute_dtype=getattr(torch, recipe.compute),
            llm_int8_skip_modules=head,  # full names: the matching is by prefix or by end
        )
    with _quiet():  # the report that the head is new, which is why it is trained
        model = AutoModelForSequenceClassification.from_pretrained(base, **settings)
    quantised = tuple(_keep_trainable(model))
    adapter = LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,  # type: ignore[arg-type] # peft annotates int and only divides by the rank
        lora_dropout=recipe.lora_dropout,
        target_modules=targets,
        modules_to_save=[name for name in ("classifier", "score") if name in head],
        bias="none",
        task_type="SEQ_CLS",
    )
    quantisation = (
        Quantisation(double=recipe.double_quantisation, modules=tuple(_plain_name(name) for name in quantised))
        if quantised
        else None
    )
    return Tuned(get_peft_model(model, adapter), quantisation)


def fit(
    tuned: Tuned,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    labels: Sequence[str],
    recipe: Recipe,
    *,
    seed: int,
    work: Path,
    max_steps: int | None = None,
) -> int:
    """Train in place and return the number of steps. `work` receives the Trainer's files; `max_steps` ends it early."""
    encoded = tokenizer(list(texts), truncation=True, max_length=recipe.max_length)["input_ids"]
    rows = [{"input_ids": ids, "labels": LABELS.index(label)} for ids, label in zip(encoded, labels, strict=True)]
    if len(rows) < recipe.batch_size:
        raise UserError(f"There are {len(rows)} texts to train on: fewer than one batch of {recipe.batch_size}.")
    steps = max_steps or max(round(recipe.epochs * (len(rows) // recipe.batch_size)), 1)
    arguments = TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=recipe.micro_batch_size,
        gradient_accumulation_steps=recipe.batch_size // recipe.micro_batch_size,
        max_steps=steps,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup_steps=round(recipe.warmup_share * steps),
        lr_scheduler_type="cosine",
        max_grad_norm=1.0,
        logging_steps=50,
        save_strategy="no",
        report_to=[],
        seed=seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
    )
    trainer = _BucketTrainer(
        model=tuned.model,
        args=arguments,
        train_dataset=rows,  # any sized sequence of rows serves as a dataset
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    # The model takes any keyword, so the Trainer supposes that it scales its loss over micro-batches; it does not.
    trainer.model_accepts_loss_kwargs = False
    trainer.train()
    tuned.model.eval()
    return steps


def adapter_tensors(model: PeftModel) -> dict[str, Tensor]:
    """Return the adapter and the head in the form that `consumer.classifier.merge` reads, fp32, on the CPU."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        plain = _plain_name(name)
        for matrix in ("lora_A", "lora_B"):
            if plain.endswith(f".{matrix}.default.weight"):
                tensors[plain.removesuffix(".default.weight")] = parameter
        module, found, part = plain.partition(".modules_to_save.default.")
        if found:
            tensors[f"{module}.{part}"] = parameter
    return {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}


def load_tokenizer(base: Path) -> PreTrainedTokenizerFast:
    """Return the base's fast tokenizer, padding to the right and free of the padding its file may carry."""
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_file=str(base / "tokenizer.json"),
        padding_side="right",
        unk_token="[UNK]",  # noqa: S106 - a token of text, not a secret
        sep_token="[SEP]",  # noqa: S106
        pad_token="[PAD]",  # noqa: S106
        cls_token="[CLS]",  # noqa: S106
        mask_token="[MASK]",  # noqa: S106
    )
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


class _BucketTrainer(Trainer):
    """A Trainer whose micro-batches hold texts of similar length."""

    def get_train_dataloader(self) -> DataLoader[Any]:
        rows: Any = self.train_dataset
        sampler = _StepBuckets([len(row["input_ids"]) for row in rows], self.args)
        loader = DataLoader(
            rows, batch_size=self.args.per_device_train_batch_size, sampler=sampler, collate_fn=self.data_collator
        )
        return cast("DataLoader[Any]", self.accelerator.prepare(loader))


class _StepBuckets(Sampler[int]):
    """Draw each optimiser step's texts at random, then order them by length: half the padding, the same gradient.

    Grouping by length over more than a step would make batches of one class (spam is long), and training diverges.
    """

    def __init__(self, lengths: Sequence[int], arguments: TrainingArguments) -> None:
        self._lengths = lengths
        self._step = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps
        self._random = torch.Generator().manual_seed(arguments.seed)

    def __len__(self) -> int:
        return len(self._lengths) // self._step * self._step

    def __iter__(self) -> Iterator[int]:
        shuffled: list[int] = torch.randperm(len(self._lengths), generator=self._random).tolist()
        for start in range(0, len(self), self._step):
            yield from sorted(shuffled[start : start + self._step], key=self._lengths.__getitem__)


def _keep_trainable(model: nn.Module) -> Iterator[str]:
    """Switch the gradient-free CPU kernel off in every 4-bit layer; yield the names of those layers."""
    from bitsandbytes.nn.modules import Linear4bit

    for name, module in model.named_modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
            yield name


def _plain_name(name: str) -> str:
    """A name as in the base's own state dict: without what peft and the classification model put before it."""
    return name.removeprefix("base_model.model.").removeprefix("bert.")


@contextmanager
def _quiet() -> Iterator[None]:
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
