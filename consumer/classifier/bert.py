"""The forward pass of a BERT sequence classifier, for serving: no training code, no dropout, no model library.

It needs a third of the start-up time and memory of the full library and skips work whose result nobody reads:
of the last layer only the first token's output, where that is all the classifier reads. A test holds it to the library's logits.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
from torch import Tensor

from consumer.classifier.architecture import architecture_of
from schemas.errors import UserError


@dataclass(frozen=True, slots=True)
class Shape:
    """What `config.json` says of the network."""

    layers: int
    heads: int
    eps: float
    mean_pooling: bool

    @classmethod
    def of(cls, config: dict[str, Any]) -> Self:
        """Raises UserError for a network that this forward pass does not compute."""
        if config.get("model_type") != "bert" or config.get("hidden_act", "gelu") != "gelu":
            raise UserError(f"Cannot serve a {config.get('model_type')} model: only BERT with gelu is supported.")
        return cls(
            layers=int(config["num_hidden_layers"]),
            heads=int(config["num_attention_heads"]),
            eps=float(config.get("layer_norm_eps", 1e-12)),
            mean_pooling=architecture_of(config).pooling == "mean",
        )


class Bert:
    """A merged network, ready to run: weights by name as in the base's state dict, plus `classifier.*`."""

    def __init__(self, shape: Shape, weights: dict[str, Tensor]) -> None:
        self._shape = shape
        self._words = weights["embeddings.word_embeddings.weight"]
        # Every text is one segment, so its embedding is a constant of the position.
        self._positions = (
            weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._norm = _Norm.of(weights, "embeddings.LayerNorm", shape.eps)
        self._layers = [_Layer.of(weights, f"encoder.layer.{i}", shape) for i in range(shape.layers)]
        self._pooler = None if shape.mean_pooling else _Linear.of(weights, "pooler.dense")
        self._head = _Linear.of(weights, "classifier")

    @property
    def max_positions(self) -> int:
        return self._positions.shape[0]

    @property
    def device(self) -> torch.device:
        return self._words.device

    def logits(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return logits (texts, labels) in fp32 for right-padded token ids (texts, tokens) and lengths (texts)."""
        tokens = ids.shape[1]
        mask = None
        if int(lengths.min()) < tokens:  # without padding SDPA takes its faster, mask-free path
            mask = (torch.arange(tokens, device=ids.device) < lengths[:, None])[:, None, None, :]
        x = self._norm(self._words[ids] + self._positions[:tokens])
        for layer in self._layers[:-1]:
            x = layer(x, x, mask)
        if self._pooler is None:
            return self._head(mean_of_tokens(self._layers[-1](x, x, mask), lengths))
        first = self._layers[-1](x[:, :1], x, mask)[:, 0]
        return self._head(torch.tanh(self._pooler(first)))


def mean_of_tokens(states: Tensor, lengths: Tensor) -> Tensor:
    """Return the mean (texts, width) of each text's own rows of (texts, tokens, width)."""
    own = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
    return (states * own[:, :, None]).sum(dim=1) / lengths[:, None]


@dataclass(frozen=True, slots=True)
class _Linear:
    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, weights: dict[str, Tensor], *names: str) -> Self:
        """Several names make one wider layer: one large product is faster than several small ones."""
        parts = [(weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in names]
        if len(parts) == 1:
            return cls(*parts[0])
        return cls(torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts]))

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, weights: dict[str, Tensor], name: str, eps: float) -> Self:
        return cls(weights[f"{name}.weight"], weights[f"{name}.bias"], eps)

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True, slots=True)
class _Layer:
    heads: int
    query: _Linear
    key_value: _Linear
    output: _Linear
    output_norm: _Norm
    up: _Linear
    down: _Linear
    down_norm: _Norm

    @classmethod
    def of(cls, weights: dict[str, Tensor], name: str, shape: Shape) -> Self:
        attention = f"{name}.attention"
        return cls(
            heads=shape.heads,
            query=_Linear.of(weights, f"{attention}.self.query"),
            key_value=_Linear.of(weights, f"{attention}.self.key", f"{attention}.self.value"),
            output=_Linear.of(weights, f"{attention}.output.dense"),
            output_norm=_Norm.of(weights, f"{attention}.output.LayerNorm", shape.eps),
            up=_Linear.of(weights, f"{name}.intermediate.dense"),
            down=_Linear.of(weights, f"{name}.output.dense"),
            down_norm=_Norm.of(weights, f"{name}.output.LayerNorm", shape.eps),
        )

    def __call__(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """Transform `x` (texts, queries, width), attending to `context` (texts, tokens, width)."""
        query = self._by_head(self.query(x))
        key, value = (self._by_head(part) for part in self.key_value(context).chunk(2, dim=-1))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = self.output_norm(x + self.output(attended.transpose(1, 2).reshape(x.shape)))
        return self.down_norm(x + self.down(F.gelu(self.up(x))))

    def _by_head(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, -1).transpose(1, 2)
