"""The built-in corpus: repeats from a seed, varied, held-out forms, and nothing real in it."""

import hashlib
import re
from collections import Counter

import pytest

from producer_sim.corpus import Message, built_in, generate
from producer_sim.grammar import SOURCES, all_forms
from producer_sim.grammar.expand import compile_template
from schemas.events import MAX_TEXT_CHARACTERS, Label

DRAWS = 20_000


@pytest.fixture(scope="module")
def draws() -> list[Message]:
    return list(generate(7, DRAWS))


def digest(messages: list[Message]) -> str:
    return hashlib.sha256("\n".join(map(repr, messages)).encode()).hexdigest()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(draws: list[Message]) -> None:
    assert digest(list(generate(7, 500))) == digest(draws[:500])
    assert digest(list(generate(8, 500))) != digest(draws[:500])


def test_the_stream_has_no_end_that_a_run_could_reach() -> None:
    stream = built_in(3)
    assert len([next(stream) for _ in range(2_000)]) == 2_000


def test_the_grammar_has_several_hundred_forms_of_each_label_with_ids_of_their_own() -> None:
    labels = Counter(form.source.label for form in all_forms())
    assert labels["ham"] >= 400
    assert labels["spam"] >= 250
    assert len({form.id for form in all_forms()}) == len(all_forms())


def test_every_form_can_be_drawn() -> None:
    assert {message.form for message in generate(1, 60_000)} == {form.id for form in all_forms()}


def test_few_messages_repeat_but_for_short_replies(draws: list[Message]) -> None:
    longer = [message.text for message in draws if not str(message.form).startswith("personal.short")]
    assert len(set(longer)) >= 0.97 * len(longer)
    assert len({message.text for message in draws}) >= 0.95 * DRAWS


def test_lengths_are_those_of_sms(draws: list[Message]) -> None:
    lengths = sorted(len(message.text) for message in draws)
    assert lengths[0] >= 1
    assert lengths[-1] <= MAX_TEXT_CHARACTERS
    assert 20 <= lengths[DRAWS // 10 * 2] <= 40
    assert 45 <= lengths[DRAWS // 2] <= 80
    assert 130 <= lengths[DRAWS // 20 * 19] <= 200
    assert sum(length > 300 for length in lengths) > DRAWS // 1_000


def test_no_trace_of_the_template_syntax_is_left(draws: list[Message]) -> None:
    assert not [message.text for message in draws if re.search(r"[{}\[\]|]| [.,]|  +$", message.text)]


def test_every_link_and_address_uses_a_reserved_domain(draws: list[Message]) -> None:
    hosts = [host for message in draws for host in re.findall(r"(?i)(?:https?://|@|www\.)([\w.-]+)", message.text)]
    assert hosts
    plain = [host for host in hosts if host.isascii() and "." in host.strip(".")]
    assert [host for host in plain if not re.search(r"(?i)[e3]x[a@]mpl[e3]", host)] == []


def test_every_international_number_lies_in_a_range_kept_for_fiction(draws: list[Message]) -> None:
    numbers = [number for message in draws for number in re.findall(r"\+\d{8,}", message.text)]
    assert numbers
    assert [n for n in numbers if not re.fullmatch(r"\+447700900\d{3}|\+1\d{3}55501\d\d|\+336399\d{5}", n)] == []


def test_labels_and_categories_fit_the_contract(draws: list[Message]) -> None:
    for message in draws[:3_000]:
        Label(event_id="e", label=message.label, category=message.category, labeller="test", at="2026-01-01T00:00:00Z")
    assert {message.category for message in draws} == {source.category for source in SOURCES}
    share = sum(message.label == "spam" for message in draws) / DRAWS
    assert 0.12 < share < 0.16


def test_train_and_test_forms_share_none_and_together_are_all() -> None:
    train = {message.form for message in generate(1, 60_000, "train")}
    test = {message.form for message in generate(1, 30_000, "test")}
    assert not train & test
    assert train | test == {form.id for form in all_forms()}
    assert 0.1 < len(test) / len(all_forms()) < 0.3


def test_the_spam_share_can_be_chosen() -> None:
    assert all(message.label == "spam" for message in generate(1, 200, spam_share=1.0))


def test_a_brand_named_twice_in_a_message_is_the_same_brand(draws: list[Message]) -> None:
    signed = [
        re.match(r"(\w+): .*?(\w+)\.example", message.text) for message in draws if message.category == "delivery"
    ]
    pairs = [match.groups() for match in signed if match]
    assert len(pairs) > 50
    assert [pair for pair in pairs if pair[0].lower() != pair[1]] == []


@pytest.mark.parametrize("template", ["[a|b", "a]b", "{name", "a|b", "x}"])
def test_a_template_with_unbalanced_brackets_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="unbalanced"):
        compile_template(template, lambda _: lambda _u, _m: "x")


def test_choices_nest_and_slots_are_filled() -> None:
    piece = compile_template("[a[1|1]|a{x}]!", lambda name: lambda _u, _m: {"x": "1"}[name])
    assert {piece(lambda value=value: value, {}) for value in (0.0, 0.3, 0.6, 0.99)} == {"a1!"}
