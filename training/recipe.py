"""A recipe: everything that decides how a model is made, apart from the data and the seed."""

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from consumer.classifier.artifact import Base, Lora
from schemas.errors import UserError

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Loaded from TOML with `load_recipe`; the file has these fields and no others."""

    name: str
    """Name of the model it makes."""

    base: str
    """Hub id of the base model."""
    base_sha256: str
    """SHA-256 (hex) of the base's model.safetensors."""
    base_package: str | None = None
    """Python distribution that carries the base, for machines that reach no hub."""
    max_length: int = 128
    """Tokens read of a text, in training and in serving; 128 hold all but 1 in 1,000 of the texts at hand."""

    quantise: bool = True
    """Hold the base in NF4 while training (QLoRA); false: in full precision (LoRA)."""
    double_quantisation: bool = True
    """Quantise the quantisation constants too: 0.4 bits a weight less."""
    compute: Literal["bfloat16", "float32"] = "bfloat16"
    """Precision of the products with quantised weights: float32 is what a CPU serves in, bfloat16 suits GPUs that have it.
    fp16 is left out: it is unstable with NF4."""
    lora_rank: int = 16
    """Rank of the adapter's matrices."""
    lora_alpha: float = 32.0
    """The adapter's product is scaled by alpha / rank."""
    lora_dropout: float = 0.05
    """Dropout before the adapter, in training only."""
    lora_targets: tuple[str, ...] = ("query", "key", "value", "dense")
    """Last parts of the names of the linear layers that get an adapter."""

    epochs: float = 3.0
    """Passes over the training split."""
    batch_size: int = 32
    """Texts a step."""
    micro_batch_size: int = 8
    """Texts a forward pass; a divisor of batch_size. Each step's texts are cut by length into these, to pad little."""
    learning_rate: float = 4e-4
    """Peak of AdamW's rate, reached after the warm-up, then falling along a cosine."""
    weight_decay: float = 0.01
    """AdamW's decay, on the adapter and the head."""
    warmup_share: float = 0.06
    """Part of the steps in which the rate rises."""

    validation_share: float = 0.15
    """Part of the near-duplicate clusters on which calibration and threshold are chosen."""
    test_share: float = 0.15
    """Part of the clusters that nothing but the final evaluation sees."""
    fpr_budget: float = 0.002
    """Share of ham that may be labelled spam, on validation."""
    review_share: float = 0.01
    """Share of validation texts that fall into the band of uncertainty around the threshold."""

    def __post_init__(self) -> None:
        if not 0 < self.validation_share < 1 or not 0 < self.test_share < 1 - self.validation_share:
            raise UserError("validation_share and test_share must be above 0 and leave something to train on.")
        if min(self.lora_rank, self.batch_size, self.epochs, self.learning_rate) <= 0 or self.max_length < 8:
            raise UserError("lora_rank, batch_size, epochs and learning_rate must be above 0, max_length at least 8.")
        if self.micro_batch_size < 1 or self.batch_size % self.micro_batch_size:
            raise UserError("micro_batch_size must divide batch_size.")
        if self.compute not in {"bfloat16", "float32"}:
            raise UserError("compute must be bfloat16 or float32.")
        if not 0 < self.fpr_budget < 1 or not 0 <= self.review_share < 1:
            raise UserError("fpr_budget and review_share must lie between 0 and 1.")

    @property
    def base_model(self) -> Base:
        return Base(id=self.base, sha256=self.base_sha256, package=self.base_package)

    @property
    def lora(self) -> Lora:
        return Lora(rank=self.lora_rank, alpha=self.lora_alpha)

    @classmethod
    def from_toml(cls, text: str, where: str) -> Self:
        """Raises UserError naming the field that is unknown, missing or of the wrong type."""
        try:
            given = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{where} is not TOML: {error}.") from None
        fields = {field.name: field for field in dataclasses.fields(cls)}
        if unknown := sorted(given.keys() - fields.keys()):
            raise UserError(f"{where} has unknown fields: {', '.join(unknown)}.")
        required = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
        if missing := sorted(required - given.keys()):
            raise UserError(f"{where} lacks the fields {', '.join(missing)}.")
        for name, value in given.items():
            default = fields[name].default
            kind = str if default in {dataclasses.MISSING, None} else type(default)
            allowed = {float: (float, int), tuple: (list,)}.get(kind, (kind,))
            if type(value) not in allowed:
                raise UserError(f"{where}: {name} must be of type {kind.__name__}.")
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
        return cls(**values)


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
