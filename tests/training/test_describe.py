"""What is said about a corpus: numbers that can be counted by hand, and pages that no text or name can break."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from consumer.settings import load_settings
from schemas.corpus import Corpus, CorpusSpec, Message, load_corpus
from training.describe import Count, Description, Lengths, describe
from training.description_page import html

CALL = "Please call {} now to claim the prize that you have won in our weekly draw"
MESSAGES = [
    Message(CALL.format("0906 170 1461"), "spam", "prize", None, "GB", "en"),
    Message(CALL.format("0906 170 1461"), "spam"),
    Message(CALL.format("0800 123 4567").upper(), "spam"),
    Message(CALL.format("0800 123 4567") + " today", "spam"),
    Message("Get 50 GBP at http://bit.ly/x", "spam"),
    Message("see you at five", "ham"),
    Message("See you at five!", "spam"),
    Message("\u041f\u0440\u0438\u0432\u0435\u0442, \u043a\u0430\u043a \u0434\u0435\u043b\u0430", "ham"),
    Message("ok" + "k" * 200, "ham"),
]


@pytest.fixture
def described() -> Description:
    theirs = [CALL.format("me"), "an entirely different text about fishing", CALL.format("0") + " today and tomorrow"]
    return describe("ours", Corpus(MESSAGES, {"empty": 2}), {"theirs": theirs, "nobody's": ["no such text"]})


def test_labels_lengths_and_encodings_are_counted(described: Description) -> None:
    assert described.labels == Count(6, 3)
    assert described.left_out == {"empty": 2}
    assert described.characters["ham"] == Lengths(15, 16, 183, 202)
    assert described.encodings == {"GSM-7": Count(6, 2), "UCS-2": Count(0, 1)}
    assert described.parts == {"1": Count(6, 2), "2": Count(0, 1)}
    assert described.scripts == {"Latin": Count(6, 2), "Cyrillic": Count(0, 1)}


def test_signals_are_those_of_the_normaliser(described: Description) -> None:
    assert described.signals["phone_number"] == Count(4, 0)
    assert described.signals["url"] == described.signals["shortened_url"] == described.signals["money"] == Count(1, 0)


def test_repetition_tells_identical_equal_similar_and_contradicting_rows_apart(described: Description) -> None:
    said = described.repetition
    assert (said.identical, said.duplicates, said.distinct) == (1, 3, 6)
    assert (said.conflicting_texts, said.conflicting_rows) == (1, 2)
    assert (said.clusters, said.near_duplicates, said.largest) == (5, 1, 2)
    assert said.spam_clusters == 3
    assert said.sizes == {"2": 1}


def test_overlap_tells_the_same_from_the_similar(described: Description) -> None:
    first, second = described.overlaps
    assert (first.name, first.size, first.same, first.similar) == ("theirs", 3, 0, 4)
    assert (second.same, second.similar) == (0, 0)
    again = describe("again", Corpus(MESSAGES[5:7], {}), {"itself": [MESSAGES[5].text]})
    assert (again.overlaps[0].same, again.overlaps[0].similar) == (2, 0)


def test_a_set_to_compare_with_does_not_join_our_own_clusters() -> None:
    words = [chr(97 + i % 26) * (2 + i // 26) for i in range(30)]
    ends = [Message(" ".join(words[:20]), "ham"), Message(" ".join(words[8:28]), "ham")]
    between = " ".join(words[3:24])
    assert describe("ends", Corpus(ends, {}), {"between": [between]}).repetition.clusters == 2


def test_languages_are_told_by_the_corpus_or_else_guessed(described: Description) -> None:
    assert described.languages_told
    assert described.languages["en"] == Count(1, 0)
    german = Message("Ihr Paket wartet seit gestern auf Sie und kann morgen abgeholt werden", "spam")
    guessed = describe("guessed", Corpus([german, Message("ok", "ham")], {}))
    assert not guessed.languages_told
    assert guessed.languages == {"de": Count(1, 0), "too short": Count(0, 1)}


def test_one_class_and_one_row_can_be_described() -> None:
    one = describe("one", Corpus([Message("ok", "ham")], {}))
    assert one.characters == {"ham": Lengths(2, 2, 2, 2)}
    assert "\u2013" in html([one])


class Elements(HTMLParser):
    """Collects what a page consists of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def test_no_text_reaches_the_page_and_no_name_becomes_markup() -> None:
    hostile = "<script>alert(1)</script><svg onload=alert(2)>"
    messages = [
        Message(f"{hostile} win cash", "spam", None, None, None, "en"),
        Message("meet me at the harbour", "ham"),
    ]
    about = describe(hostile, Corpus(messages, {hostile: 1}), {hostile: ["meet me at the harbour"]})
    page = html([about])
    found = Elements(page)
    assert "script" not in found.tags
    assert "svg" not in found.tags
    assert not any(name.startswith("on") or name in {"src", "href"} for name, _ in found.attributes)
    assert "harbour" not in page + json.dumps(about.as_json())
    assert not re.search(r"url\(|@import|https?://", page)


def test_the_uci_collection_is_as_published() -> None:
    path = (load_settings().corpus_dir or Path()) / "uci_sms_spam" / "SMSSpamCollection"
    if not path.is_file():
        pytest.skip("needs SMSIFT_CORPUS_DIR with this corpus")
    about = describe("uci", load_corpus(CorpusSpec(path)))
    assert about.labels == Count(747, 4827)
    assert about.repetition.identical == 403
    assert about.repetition.conflicting_texts == 0
    assert 4900 < about.repetition.clusters < 5000
