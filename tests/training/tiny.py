"""Base models small enough to train in a second: each architecture's shape, random weights, a few words."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from consumer.classifier.artifact import sha256_of
from training.recipe import Recipe

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SPAM_WORDS = ["win", "cash", "prize", "claim", "free", "award", "urgent", "loan"]
HAM_WORDS = ["coffee", "tomorrow", "home", "dinner", "meeting", "mum", "sorry", "late"]
FILLERS = ["you", "the", "a", "now", "are", "for", "we", "at", "my", "is", "on", "to", "see", "and", "it", "so"]
TARGETS = {
    "bert": ["query", "key", "value", "dense"],
    "distilbert": ["q_lin", "v_lin"],
    "gpt2": ["c_attn", "c_proj"],
    "llama": ["q_proj", "v_proj"],
}


def make_base(folder: Path, kind: str = "bert") -> Path:
    """Save a base of an architecture, as such bases lie at the hub: GPT-2 and Llama with a language head and no pad token."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _byte_tokenizer(kind) if kind in {"gpt2", "llama"} else _word_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    _network(kind, tokenizer.get_vocab_size()).save_pretrained(folder)
    return folder


def _word_tokenizer() -> Tokenizer:
    words = [*SPECIAL, *SPAM_WORDS, *HAM_WORDS, *FILLERS, *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*words, *"abcdefghijklmnopqrstuvwxyz"]))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def _byte_tokenizer(kind: str) -> Tokenizer:
    """Bytes and no merges; Llama's puts a token before the text, GPT-2's has none for an empty one."""
    vocabulary = {token: i for i, token in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Tokenizer(BPE(vocabulary, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<end>", "<begin>"])
    if kind == "llama":
        tokenizer.post_processor = TemplateProcessing(
            single="<begin> $A", special_tokens=[("<begin>", tokenizer.token_to_id("<begin>"))]
        )
    return tokenizer


def _network(kind: str, words: int) -> PreTrainedModel:
    # Random weights of the usual spread of 0.02 would make every output alike.
    if kind == "bert":
        return BertModel(
            BertConfig(
                vocab_size=words,
                hidden_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=128,
                max_position_embeddings=64,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                initializer_range=0.2,
            )
        )
    if kind == "distilbert":
        return DistilBertModel(
            DistilBertConfig(
                vocab_size=words,
                dim=64,
                hidden_dim=128,
                n_layers=2,
                n_heads=4,
                max_position_embeddings=64,
                dropout=0.0,
                attention_dropout=0.0,
                seq_classif_dropout=0.0,
                initializer_range=0.2,
            )
        )
    ends: dict[str, Any] = {"bos_token_id": words - 1, "eos_token_id": words - 2, "vocab_size": words}
    if kind == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                n_embd=64,
                n_layer=2,
                n_head=4,
                n_positions=64,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                initializer_range=0.1,
                **ends,
            )
        )
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            initializer_range=0.1,
            **ends,
        )
    )


def recipe_for(base: Path, kind: str = "bert", **changes: object) -> Recipe:
    """A recipe for a tiny base; `changes` are fields by their paths, with __ for the dot."""
    fields = {
        "name": "tiny",
        "max_length": 32,
        "base": {"id": "tiny/base", "sha256": sha256_of(base / "model.safetensors")},
        "quantisation": {"nf4": True},
        "lora": {"r": 4, "alpha": 8.0, "targets": TARGETS[kind]},
        "training": {"batch_size": 8, "learning_rate": 5e-3},
        "data": {"validation_share": 0.25, "test_share": 0.25},
    }
    recipe = Recipe.model_validate_json(json.dumps(fields))
    return recipe.changed({path.replace("__", "."): value for path, value in changes.items()})


def corpus(rows: int = 120, seed: int = 1) -> list[tuple[str, str]]:
    """Texts of six random words each: every third is spam."""
    generator = torch.Generator().manual_seed(seed)

    def pick(words: list[str]) -> str:
        return words[int(torch.randint(len(words), (1,), generator=generator))]

    texts = []
    for i in range(rows):
        telling = SPAM_WORDS if i % 3 == 0 else HAM_WORDS
        words = [pick(telling if j % 2 else FILLERS) for j in range(6)]
        texts.append((" ".join(words), "spam" if i % 3 == 0 else "ham"))
    return texts


def write_recipe(recipe: Recipe, path: Path) -> str:
    """A recipe as a TOML file; for such values JSON's spelling is TOML's."""
    lines: list[str] = []
    tables: list[str] = []
    for name, value in recipe.model_dump(mode="json", exclude_none=True).items():
        if isinstance(value, dict):
            tables += [f"[{name}]", *(f"{key} = {json.dumps(each)}" for key, each in value.items())]
        else:
            lines.append(f"{name} = {json.dumps(value)}")
    path.write_text("\n".join([*lines, *tables]), encoding="utf-8")
    return str(path)
