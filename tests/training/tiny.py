"""A base model small enough to train in a second: BERT's shape, random weights, a vocabulary of a few words."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel

from consumer.classifier.artifact import sha256_of
from training.recipe import Recipe

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SPAM_WORDS = ["win", "cash", "prize", "claim", "free", "award", "urgent", "loan"]
HAM_WORDS = ["coffee", "tomorrow", "home", "dinner", "meeting", "mum", "sorry", "late"]
FILLERS = ["you", "the", "a", "now", "are", "for", "we", "at", "my", "is", "on", "to", "see", "and", "it", "so"]


def make_base(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    words = [*SPECIAL, *SPAM_WORDS, *HAM_WORDS, *FILLERS, *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]
    vocabulary = {word: i for i, word in enumerate([*words, *"abcdefghijklmnopqrstuvwxyz"]) if word not in words[:i]}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.2,  # random weights of the usual 0.02 would make every output alike
    )
    BertModel(config).save_pretrained(folder)
    return folder


def recipe_for(base: Path, **changes: object) -> Recipe:
    fields: dict[str, object] = {
        "name": "tiny",
        "base": "tiny/base",
        "base_sha256": sha256_of(base / "model.safetensors"),
        "max_length": 32,
        "compute": "float32",
        "lora_rank": 4,
        "lora_alpha": 8.0,
        "batch_size": 8,
        "learning_rate": 5e-3,
        "validation_share": 0.25,
        "test_share": 0.25,
    }
    return Recipe(**(fields | changes))  # type: ignore[arg-type] # the tests' own keyword arguments


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
