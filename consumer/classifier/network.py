"""A sequence classifier over the model library's networks: one forward pass for training, evaluation and serving.

A decoder's answer is read at the last token of the text, which is known by its length. The library looks for the last
token that is not the pad token instead, and a text that ends with that token (GPT-2 pads with its end of text) is then
read too early. The head works in fp32 under any autocast.
"""

from typing import Any, Self, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
import transformers
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from consumer.classifier.architecture import architecture_of
from consumer.classifier.bert import mean_of_tokens
from schemas.errors import UserError

transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


class SequenceClassifier(nn.Module):
    """A network and a fresh head. Randomness is torch's: seed it before."""

    def __init__(self, backbone: PreTrainedModel, labels: int = 2) -> None:
        super().__init__()
        config = backbone.config
        self.architecture = architecture_of(config.to_dict())
        self.backbone = backbone
        if self.architecture.pooling == "mean" and getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None  # type: ignore[assignment] # nothing reads it
        self.is_loaded_in_4bit = getattr(backbone, "is_loaded_in_4bit", False)  # the adapter library asks for it
        self.dropout = nn.Dropout(_head_dropout(config.to_dict()))
        width = config.hidden_size
        if "pre_classifier" in self.architecture.head:
            self.pre_classifier = nn.Linear(width, width)
        if self.architecture.is_decoder:
            self.score = nn.Linear(width, labels, bias=False)
        else:
            self.classifier = nn.Linear(width, labels)
        for name in self.architecture.head:
            layer = self.get_submodule(name)
            nn.init.normal_(cast("Tensor", layer.weight), std=config.initializer_range)
            if layer.bias is not None:
                nn.init.zeros_(cast("Tensor", layer.bias))

    @classmethod
    def from_weights(cls, config: dict[str, Any], weights: dict[str, Tensor]) -> Self:
        """Build a network from `config.json` and merged fp32 weights, which it keeps; names it does not know are left out.

        Raises UserError where weights are missing or do not fit.
        """
        architecture = architecture_of(config)
        settings = AutoConfig.for_model(**config)
        parts = {name: tensor for name, tensor in weights.items() if name.partition(".")[0] not in architecture.head}
        network: Any = MODEL_MAPPING[type(settings)]
        backbone, report = network.from_pretrained(
            None,
            config=settings,
            state_dict=parts,
            dtype=torch.float32,
            attn_implementation="sdpa",  # whatever config.json asks for: it may name code to be fetched from the hub
            ignore_mismatched_sizes=True,  # they are reported, as missing ones are
            output_loading_info=True,
        )
        missing = sorted(report["missing_keys"]) + sorted(str(each) for each in report["mismatched_keys"])
        if missing:
            raise UserError(f"The model's weights do not fit its network: {missing[0]} is missing or of another shape.")
        made = cls(backbone, len(weights[f"{architecture.head[-1]}.weight"]))
        for name in architecture.head:
            own = {key.removeprefix(f"{name}."): each for key, each in weights.items() if key.startswith(f"{name}.")}
            try:
                made.get_submodule(name).load_state_dict(own, assign=True)
            except RuntimeError as error:
                raise UserError(f"The model's weights do not fit its network: {name} is of another shape.") from error
        return made.eval().requires_grad_(requires_grad=False)

    @property
    def max_positions(self) -> int:
        return int(self.backbone.config.max_position_embeddings)

    @property
    def device(self) -> torch.device:
        return self.backbone.device

    def forward(self, input_ids: Tensor, lengths: Tensor) -> Tensor:
        """Return logits (texts, labels) in fp32 for right-padded token ids (texts, tokens) and lengths (texts)."""
        tokens = input_ids.shape[1]
        mask = (torch.arange(tokens, device=input_ids.device) < lengths[:, None]).long()
        options: dict[str, Any] = {"use_cache": False} if self.architecture.is_decoder else {}
        answer = self.backbone(input_ids=input_ids, attention_mask=mask, **options)
        with torch.autocast(input_ids.device.type, enabled=False):
            if self.architecture.pooling == "pooler":
                return cast("Tensor", self.classifier(self.dropout(answer.pooler_output.float())))
            if self.architecture.pooling == "last":
                rows = torch.arange(len(lengths), device=input_ids.device)
                return cast("Tensor", self.score(answer.last_hidden_state[rows, lengths - 1].float()))
            if self.architecture.pooling == "mean":
                mean = mean_of_tokens(answer.last_hidden_state.float(), lengths)
                return cast("Tensor", self.classifier(self.dropout(self._before_head(mean))))
            first = self._before_head(answer.last_hidden_state[:, 0].float())
            return cast("Tensor", self.classifier(self.dropout(first)))

    def _before_head(self, pooled: Tensor) -> Tensor:
        """DistilBERT's classifier has a layer of its own between pooling and logits."""
        return F.relu(self.pre_classifier(pooled)) if "pre_classifier" in self.architecture.head else pooled

    def logits(self, ids: Tensor, lengths: Tensor) -> Tensor:
        return cast("Tensor", self(ids, lengths))


def _head_dropout(config: dict[str, Any]) -> float:
    """As the library's classifiers of these networks have it; the decoders' have none."""
    for name in ("classifier_dropout", "hidden_dropout_prob", "seq_classif_dropout"):
        if config.get(name) is not None:
            return float(config[name])
    return 0.0
