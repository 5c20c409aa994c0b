"""The shipped model on real corpora, where SMSIFT_CORPUS_DIR names a folder that has them.

Most of these texts were seen in training: this tells a model that is loaded or served wrongly, not how good it is.
"""

from pathlib import Path

import pytest

from consumer.classifier import load
from consumer.settings import load_settings
from schemas.corpus import read_corpus

CORPORA = ("uci_sms_spam/SMSSpamCollection", "india_spam_ham/spam_ham_india.csv")


@pytest.mark.parametrize("name", CORPORA)
def test_the_shipped_model_knows_real_messages(name: str) -> None:
    folder = load_settings().corpus_dir
    path = (folder or Path()) / name
    if folder is None or not path.is_file():
        pytest.skip("needs SMSIFT_CORPUS_DIR with this corpus")
    messages = read_corpus(str(path))[:400]
    answers = load().classify([message.text for message in messages])
    right = sum(answer.label == message.label for answer, message in zip(answers, messages, strict=True))
    assert right / len(messages) > 0.95
