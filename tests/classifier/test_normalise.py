# ruff: noqa: RUF001 - ambiguous letters are what this is about

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.classifier.normalise import SIGNALS, normalise

TRICKY = st.sampled_from(
    [
        *"аеорсхуіѕһАВЕКМκονΑжλБ",
        *"\u200b\u0301\u0338\u00a0\ufe0f\u2019\u2014 .-*_[()]@$!|/abcdABCD013",
        "\ud800",
        "😀",
    ]
)

PIECES = st.sampled_from(
    ["fr33", "c@$h", "[.]", " dot ", "com", "hxxp", " w i n ", "F R", "3", "о", "\u200b", "!", " ", "a/", "x"]
)


@settings(max_examples=800, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.text(TRICKY, max_size=40),
        st.text(st.one_of(TRICKY, st.characters()), max_size=30),
        st.lists(PIECES, max_size=8).map("".join),
    )
)
def test_any_string_is_normalised_once_and_for_all_and_can_be_encoded(text: str) -> None:
    first = normalise(text)
    assert normalise(first.text).text == first.text
    assert set(first.signals) <= SIGNALS.keys()
    first.text.encode()


@pytest.mark.parametrize(
    ("hidden", "plain", "signal"),
    [
        ("Frее саsh: сlаіm nоw", "Free cash: claim now", "homoglyphs"),
        ("Get сасһ now", "Get cach now", "homoglyphs"),
        ("fr\u200bee mo\u00adney", "free money", "invisible_characters"),
        ("\u202dWIN\u202c a pr\u2060ize", "WIN a prize", "invisible_characters"),
        ("𝐅𝐑𝐄𝐄 ＷＩＮ ⓖⓘⓕⓣ", "FREE WIN gift", "styled_letters"),
        ("ꜰʀᴇᴇ ɢɪꜰᴛ", "free gift", "styled_letters"),
        ("F R E E  M O N E Y now", "FREE MONEY now", "spaced_letters"),
        ("claim your p.r.i.z.e", "claim your prize", "spaced_letters"),
        ("сӏаim", "claim", "homoglyphs"),
        ("I w o n a prize", "I won a prize", "spaced_letters"),
        ("Cl4!m y0ur fr33 c@sh PR1ZE", "Claim your free cash PRIZE", "leetspeak"),
        ("FRЕ3 g1f\u200bt", "FREE gift", "leetspeak"),
        ("hxxps://www.example[.]com/a", "https://www.example.com/a", "disguised_url"),
        ("see example dot com or example (dot) org", "see example.com or example.org", "disguised_url"),
        ("go to win . info/x now", "go to win.info/x now", "disguised_url"),
        ("f\u0336r\u0336e\u0336e\u0336", "free", None),
        ("too   many\t\nspaces ", "too many spaces", None),
        ("it’s “free” – really", 'it\'s "free" - really', None),
    ],
)
def test_what_is_hidden_becomes_plain_and_is_reported(hidden: str, plain: str, signal: str | None) -> None:
    result = normalise(hidden)
    assert result.text == plain
    assert signal is None or signal in result.signals


@pytest.mark.parametrize(
    "text",
    [
        "Привет, как дела? Встретимся завтра в кафе",
        "Ваш код для WhatsApp: 1234, никому его не сообщайте",
        "Γεια σου, τι κάνεις; Θα έρθεις αύριο στο σπίτι;",
        "مرحبا، كيف حالك اليوم؟",
        "LINEで会いましょう、明日は大丈夫?",
        "你好，我们明天在 Starbucks 见面吧".replace("，", ", "),
        "नमस्ते, आप कैसे हैं?",
        "Señor Müller trägt Größe 42, ça va très bien, İstanbul ılık",
        "see you at 8 😀👍🏽🎉",
    ],
)
def test_text_in_any_script_is_left_as_it_is(text: str) -> None:
    result = normalise(text)
    assert result.text == text
    assert not {"homoglyphs", "mixed_script", "invisible_characters", "spaced_letters"} & set(result.signals)


def test_joiners_that_belong_to_a_script_or_an_emoji_are_no_signal() -> None:
    assert normalise("می\u200cخواهم").signals == ()
    assert normalise("family 👨\u200d👩\u200d👧 ❤️").signals == ()


@pytest.mark.parametrize(
    "text",
    [
        "gr8 2nite 4u l8r m8 b4 10p 50p 1st 4you iphone5 plan5",
        "W1J 6HL, PO19 2EZ, K52, 150ppm",
        "tax! Hi! US$ me@home x@example.com",
        "your code is A1B2C3, ref S3C7R",
        "http://fr33.example.com/w1n and /fr33",
        "ok . in the morning . me too. (dot the i)",
    ],
)
def test_codes_prices_and_short_forms_that_people_use_stay_as_they_are(text: str) -> None:
    result = normalise(text)
    assert result.text == text
    assert not {"leetspeak", "disguised_url"} & set(result.signals)


@pytest.mark.parametrize(
    ("text", "signals"),
    [
        ("your parcel: https://example.org/x", {"url"}),
        ("visit bit.ly/ab12", {"url", "shortened_url"}),
        ("login at my-bank.top now", {"url"}),
        ("call +44 7700 900123", {"phone_number"}),
        ("you get £500 or Rs. 200", {"money"}),
        ("I am at home.Come at 5.30", set()),
        ("Your code is 123456", set()),
    ],
)
def test_links_numbers_and_amounts_are_signals(text: str, signals: set[str]) -> None:
    assert set(normalise(text).signals) == signals


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "unit",
    [
        "!",
        "!-",
        "1!",
        "a!",
        "a ",
        "a.",
        "1-",
        "a-",
        "[",
        " dot ",
        "hxxp",
        "x dot com ",
        "1 (",
        "\u200b",
        "a\u0301\u0316",
    ],
)
def test_a_text_written_to_take_long_does_not(unit: str) -> None:
    normalise("a1 " + unit * 100_000)  # what takes the square of the length would take minutes


@pytest.mark.parametrize(
    ("hidden", "plain"),
    [
        ("-!fr33", "-!free"),
        ("fr33!é", "free!é"),
        ("!!!! fr33", "!!!! free"),
        ("$!fr33", "$!fr33"),
        ("x.!!c@sh", "x.!!c@sh"),
    ],
)
def test_a_disguised_word_is_found_beside_other_signs(hidden: str, plain: str) -> None:
    assert normalise(hidden).text == plain


def test_surrogate_pairs_are_joined_and_lone_surrogates_replaced() -> None:
    assert normalise("\ud83d\ude00 ok \ud800").text == "😀 ok \ufffd"
