"""The served model: same answers whatever the batch, and the decisions that its manifest promises."""

import random
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification

from consumer.classifier import Classifier, load
from consumer.classifier.artifact import Artifact, Review
from consumer.classifier.bert import Bert, Shape
from consumer.classifier.engine import Engine
from consumer.classifier.model import action_for
from consumer.classifier.null import Null
from schemas.errors import UserError

PRIZES = [
    "Congratulations! You have won $1000 cash or a $2000 award. Call now to claim your prize",
    "URGENT! You have been selected for a $1000 cash or a $2000 prize. To claim call 09061701461",
    "WINNER!! As a valued customer you have been selected to receive a £900 prize reward! Text CLAIM to 81010",
]
PLAIN = [
    "Hey, are we still meeting for coffee tomorrow?",
    "Running ten minutes late, order me the usual please",
    "Mum says dinner is at seven, can you bring some bread",
]


@pytest.fixture(scope="module")
def default_model() -> Classifier:
    return load()


def test_prizes_are_spam_and_plain_talk_is_ham(default_model: Classifier) -> None:
    answers = default_model.classify(PRIZES + PLAIN)
    assert [each.label for each in answers] == ["spam"] * 3 + ["ham"] * 3
    assert all(each.action == "deliver" for each in answers[3:])


def test_modern_ham_is_not_blocked(default_model: Classifier) -> None:
    texts = [
        "Your verification code is 482913. Do not share it with anyone.",
        "Your parcel will be delivered today between 14:00 and 16:00. Track it in the app.",
        "Reminder: dental appointment on Tuesday at 9:30. Reply YES to confirm.",
    ]
    assert [each.label for each in default_model.classify(texts)] == ["ham"] * 3


def test_disguised_prizes_are_still_spam(default_model: Classifier) -> None:
    disguised = [
        PRIZES[0].replace("a", "\u0430").replace("o", "\u043e").replace("e", "\u0435"),
        "\u200b".join(PRIZES[0]),
    ]
    answers = default_model.classify(disguised)
    assert [each.label for each in answers] == ["spam", "spam"]
    assert "homoglyphs" in answers[0].signals
    assert "invisible_characters" in answers[1].signals


def test_a_margin_does_not_depend_on_the_batch(default_model: Classifier) -> None:
    chance = random.Random(5)
    words = [
        "win",
        "free",
        "call",
        "now",
        "prize",
        "ok",
        "see",
        "you",
        "tomorrow",
        "http://x.co",
        "£500",
        "code",
        "1234",
        "bank",
        "love",
        "dinner",
        "at",
        "8",
    ]
    texts = [" ".join(chance.choices(words, k=chance.randint(1, 60))) for _ in range(80)]
    alone = [default_model.classify([text])[0].margin for text in texts]
    for _ in range(3):
        order = chance.sample(range(len(texts)), len(texts))
        together = default_model.classify([texts[i] for i in order])
        for i, answer in zip(order, together, strict=True):
            assert answer.margin == pytest.approx(alone[i], abs=1e-3)


@pytest.mark.parametrize("text", ["", " \n ", "\u200b", "\ud800", "😀" * 300, "مرحبا", "a" * 1600, "z z " * 400])
def test_any_string_gets_a_finite_answer(default_model: Classifier, text: str) -> None:
    (answer,) = default_model.classify([text])
    assert 0 <= answer.score <= 1


def test_a_text_longer_than_the_model_reads_says_so(default_model: Classifier) -> None:
    short, long = default_model.classify(["see you soon", "see you soon " * 60])
    assert "truncated" not in short.signals
    assert "truncated" in long.signals


def test_no_texts_give_no_answers(default_model: Classifier) -> None:
    assert default_model.classify([]) == []
    assert Null().classify([]) == []


def test_the_identity_pins_the_model(default_model: Classifier) -> None:
    identity = default_model.identity
    assert (identity.name, len(identity.digest)) == ("minilm-qlora", 64)
    assert set(identity.labels) == {"spam", "ham"}
    assert 0 < identity.threshold < 1


def test_the_forward_pass_equals_the_librarys(tiny_base: Path) -> None:
    torch.manual_seed(1)
    library = BertForSequenceClassification.from_pretrained(tiny_base, num_labels=2).eval()
    weights = {name.removeprefix("bert."): tensor for name, tensor in library.state_dict().items()}
    lengths = torch.tensor([9, 4, 1, 7])
    ids = torch.randint(5, 40, (4, 9))
    mask = (torch.arange(9) < lengths[:, None]).long()
    with torch.no_grad():
        expected = library(input_ids=ids, attention_mask=mask).logits
    ours = Bert(Shape.of(library.config.to_dict()), weights).logits(ids, lengths)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_weights_without_a_number_raise_instead_of_answering(tiny_base: Path) -> None:
    library = BertForSequenceClassification.from_pretrained(tiny_base, num_labels=2)
    weights = {name.removeprefix("bert."): tensor for name, tensor in library.state_dict().items()}
    weights["classifier.bias"] = torch.tensor([float("nan"), 0.0])
    tokenizer = Tokenizer.from_file(str(tiny_base / "tokenizer.json"))
    engine = Engine(Bert(Shape.of(library.config.to_dict()), weights), tokenizer, 32, ("ham", "spam"))
    with pytest.raises(FloatingPointError):
        engine.read(["win"])


def test_a_network_that_is_not_supported_is_one_sentence() -> None:
    with pytest.raises(UserError, match="only BERT"):
        Shape.of({"model_type": "gpt2"})


def test_uncertain_scores_go_to_review_on_both_sides_of_the_threshold() -> None:
    band = Review(low=0.4, high=0.8)
    assert [action_for(score, 0.6, band) for score in (0.39, 0.4, 0.6, 0.79, 0.8)] == [
        "deliver",
        "review",
        "review",
        "review",
        "block",
    ]


def test_the_threshold_decides_the_label(tiny_model: Artifact, tiny_base: Path) -> None:
    model = load(tiny_model.folder, base=str(tiny_base))
    for answer in model.classify(["win a cash prize", "coffee at home", "you are late now", "free loan"]):
        assert (answer.label == "spam") == (answer.score >= model.identity.threshold)


def test_classifying_imports_no_kafka_client_and_no_training_library() -> None:
    import subprocess
    import sys

    program = (
        "import sys; from consumer.classifier import load; load().classify(['hello']);"
        "print([name for name in ('confluent_kafka', 'transformers', 'peft', 'bitsandbytes') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
