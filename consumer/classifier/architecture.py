"""The networks that can be tuned and served, and how each names its parts. Imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from schemas.errors import UserError

ArchitectureName = Literal["bert", "distilbert", "gpt2", "llama"]
POOLING: Final = "classifier_pooling"
"""Key of `config.json` that says `mean` where an encoder's classifier reads the mean of the text's tokens."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """How a network stores its weights, and from where a text's class is read."""

    name: ArchitectureName
    prefix: str
    """What some checkpoints put before every name of the network's own state dict."""
    head: tuple[str, ...]
    """Modules between the network and the logits, which no base has: they are trained whole and saved whole."""
    pooling: Literal["pooler", "first", "last", "mean"]
    """`pooler`: the first token through the network's own pooler; `first`: that token; `last`: the last token of the
    text; `mean`: the mean over the text's tokens. Padding is never read."""
    transposed: bool = False
    """Its layers keep their weights as (inputs, outputs): GPT-2's Conv1D."""

    @property
    def is_decoder(self) -> bool:
        return self.pooling == "last"

    def plain(self, name: str) -> str:
        """A weight's name as in the network's own state dict."""
        return name.removeprefix(self.prefix)


_ALL: Final[Mapping[str, Architecture]] = {
    each.name: each
    for each in (
        Architecture("bert", "bert.", ("classifier",), "pooler"),
        Architecture("distilbert", "distilbert.", ("pre_classifier", "classifier"), "first"),
        Architecture("gpt2", "transformer.", ("score",), "last", transposed=True),
        Architecture("llama", "model.", ("score",), "last"),
    )
}


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """Return the architecture of a network by its `config.json`. Raises UserError for one that is not supported."""
    found = _ALL.get(str(config.get("model_type")))
    if found is None:
        known = ", ".join(get_args(ArchitectureName))
        raise UserError(f"A base of the kind {config.get('model_type')} is not supported: use one of {known}.")
    if config.get(POOLING, "default") == "default":
        return found
    if config[POOLING] != "mean" or found.is_decoder:
        raise UserError(f"A classifier on {found.name} cannot pool by {config[POOLING]}: encoders can by mean.")
    return replace(found, pooling="mean")


def pad_id(config: Mapping[str, Any]) -> int:
    """Return the token id that fills short rows, and stands for a text without a token.

    A base without a pad token takes its end-of-text token: padding is masked by length, so no id can be mistaken for it.
    """
    for name in ("pad_token_id", "eos_token_id"):
        value = config.get(name)
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, int) and 0 <= value < int(config["vocab_size"]):
            return value
    return 0
