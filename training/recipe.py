"""A recipe: everything that decides how a model is made, apart from the data and the seed."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from consumer.classifier import artifact
from schemas.errors import UserError

RECIPES = Path(__file__).parent / "recipes"

Compute = Literal["auto", "bfloat16", "float16", "float32"]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Share = Annotated[float, Field(ge=0, lt=1)]
"""A part of a whole."""
Part = Annotated[float, Field(gt=0, lt=1)]
"""A part of a whole that cannot be nothing."""
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Base(_Table):
    """`[base]`: the model that is tuned."""

    id: str
    """Hub id of a bert, distilbert, gpt2 or llama model."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    """SHA-256 (hex) of its model.safetensors. Left out: the one that is found is written into the manifest."""
    package: str | None = None
    """Python distribution that carries the base, for machines that reach no hub."""
    pooling: Literal["default", "mean"] = "default"
    """What the head reads: what the base's own classifiers read (a first or last token), or, of an encoder, the mean."""


class Quantisation(_Table):
    """`[quantisation]`: how the base is held while an adapter is trained."""

    nf4: bool = False
    """In NF4, 4 bits a weight (QLoRA); false: in full precision (LoRA)."""
    double: bool = True
    """Quantise the quantisation constants too: 0.4 bits a weight less."""
    dequantise_below_mb: Annotated[int, Field(ge=0)] = 1024
    """On a CPU, a base whose quantised layers take less than this in fp32 is held as the values that its 4 bits stand
    for, worked out once: the same numbers, in a third less time a step. 0: always 4 bits. A GPU always holds 4 bits."""


class Lora(_Table):
    """`[lora]`: the adapter."""

    r: Count = 16
    """Rank of its matrices."""
    alpha: Positive = 32.0
    """Its product is scaled by alpha / r."""
    dropout: Share = 0.05
    """Dropout before it, in training only."""
    targets: tuple[str, ...] = ()
    """Last parts of the names of the layers that get one."""
    bias: Literal["none"] = "none"
    """Biases stay the base's: serving merges products, not biases."""


class Training(_Table):
    """`[training]`: AdamW over the training split."""

    epochs: Positive = 3.0
    """Passes over the training split."""
    batch_size: Count = 32
    """Texts a step, over all processes."""
    micro_batch_size: Count = 8
    """Texts a forward pass; a divisor of batch_size. Each step's texts are cut by length into these, to pad little."""
    learning_rate: Positive = 4e-4
    """Peak of AdamW's rate, reached after the warm-up, then falling along a cosine."""
    head_rate_factor: Positive = 1.0
    """The head, which starts from nothing, learns at this multiple of the rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """AdamW's decay."""
    warmup_share: Share = 0.06
    """Part of the steps in which the rate rises."""
    label_smoothing: Share = 0.0
    """Part of the target that is spread over both labels."""
    class_weights: bool = False
    """Weigh each class by the inverse of its frequency; the shift this puts on the margins is undone in calibration."""
    compute: Compute = "auto"
    """Precision of the products: auto takes bfloat16 where a GPU has it, float16 where it has not, float32 on a CPU."""
    evaluate_per_epoch: bool = False
    """Measure the loss on the validation split after each epoch, and keep the weights of the best one."""
    patience: Annotated[int, Field(ge=0)] = 0
    """End after so many epochs without a better loss; 0: never. Needs evaluate_per_epoch."""


class Data(_Table):
    """`[data]`: the splits."""

    validation_share: Part = 0.15
    """Part of the near-duplicate clusters on which calibration and threshold are chosen."""
    test_share: Part = 0.15
    """Part of the clusters that nothing but the final evaluation sees."""
    augmentation: tuple[str, ...] = ()
    """Edits made to copies of the training split's spam, by their names in training/attacks.py."""
    augment_copies: Annotated[int, Field(ge=0)] = 1
    """Edited copies of each text of spam."""
    augment_ham_share: Share = 0.0
    """Part of the ham that is copied too, lest a disguise itself be taken for spam."""


class Decision(_Table):
    """`[decision]`: what is chosen on validation."""

    fpr_budget: Part = 0.002
    """Share of ham that may be labelled spam."""
    review_share: Share = 0.01
    """Share of texts that fall into the band of uncertainty around the threshold."""


class Recipe(_Table):
    """Loaded from TOML with `load_recipe`; the file has these fields and tables and no others."""

    name: Name
    """Name of the model it makes."""
    tuning: Literal["lora", "full"] = "lora"
    """`lora` trains an adapter and the head; `full` trains every weight, and the model folder holds them all."""
    max_length: Annotated[int, Field(ge=8)] = 128
    """Tokens read of a text, in training and in serving; 128 hold all but 1 in 1,000 of the texts at hand."""
    base: Base
    quantisation: Quantisation = Quantisation()
    lora: Lora = Lora()
    training: Training = Training()
    data: Data = Data()
    decision: Decision = Decision()

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.data.validation_share + self.data.test_share >= 1:
            raise ValueError("data.validation_share and data.test_share must leave something to train on")
        if self.training.batch_size % self.training.micro_batch_size:
            raise ValueError("training.micro_batch_size must divide training.batch_size")
        if self.tuning == "lora" and not self.lora.targets:
            raise ValueError("lora.targets must name the layers that get an adapter")
        if self.tuning == "full" and self.quantisation.nf4:
            raise ValueError("quantisation.nf4 needs tuning = 'lora': weights of 4 bits cannot be trained")
        if self.training.patience and not self.training.evaluate_per_epoch:
            raise ValueError("training.patience needs training.evaluate_per_epoch")
        return self

    @property
    def base_model(self) -> artifact.Base:
        return artifact.Base(id=self.base.id, sha256=self.base.sha256, package=self.base.package)

    @property
    def adapter(self) -> artifact.Lora | None:
        """The adapter as a manifest describes it."""
        return artifact.Lora(rank=self.lora.r, alpha=self.lora.alpha) if self.tuning == "lora" else None

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """Return a recipe with fields replaced, each named as in `training.epochs`. Raises UserError as loading does."""
        fields = self.model_dump(mode="json")
        for path, value in changes.items():
            *tables, last = path.split(".")
            table: Any = fields
            for name in tables:
                table = table.get(name) if isinstance(table, dict) else None
            if not isinstance(table, dict) or last not in table or isinstance(table[last], dict):
                raise UserError(f"A recipe has no field {path}: name one such as training.epochs or lora.r.")
            table[last] = value
        return self._valid(fields, f"The recipe {self.name}")

    def parameters(self) -> dict[str, str | int | float | bool]:
        """Every field by its path, for a log of runs: {"lora.r": 16, …}."""
        flat: dict[str, str | int | float | bool] = {}
        for name, value in self.model_dump(mode="json").items():
            rows = {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
            flat |= {
                key: each if isinstance(each, str | int | float) else json.dumps(each) for key, each in rows.items()
            }
        return flat

    @classmethod
    def from_toml(cls, text: str, where: str) -> Self:
        """Raises UserError naming the field that is unknown, missing or of the wrong type."""
        try:
            given = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{where} is not TOML: {error}.") from None
        return cls._valid(given, where)

    @classmethod
    def _valid(cls, fields: dict[str, Any], where: str) -> Self:
        try:
            return cls.model_validate_json(json.dumps(fields, default=str))  # in JSON's types a list may be a tuple
        except ValidationError as error:
            raise UserError(f"{where}: {'; '.join(_sentence(problem) for problem in error.errors())}.") from None


def load_recipe(name: str) -> Recipe:
    """Return a recipe by its name (one of training/recipes) or by the path of a TOML file."""
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        known = ", ".join(sorted(path.stem for path in RECIPES.glob("*.toml")))
        raise UserError(
            f"There is no readable recipe {name}: use one of {known}, or the path of a .toml file."
        ) from None
    return Recipe.from_toml(text, path.name)


def _sentence(problem: Any) -> str:
    field = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"there is no field {field}"
    if problem["type"] == "missing":
        return f"the field {field} is missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{field}: {message}" if field else message
