"""Announcements survive the trip through an offset commit, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.sink.intent import Span, decode, encode, token

OFFSETS = st.integers(min_value=0, max_value=2**63 - 1)


@given(OFFSETS, OFFSETS)
def test_what_is_announced_is_found_again(one: int, other: int) -> None:
    span = Span(min(one, other), max(one, other))
    assert decode(span.first, encode(span)) == span


@pytest.mark.parametrize(
    "metadata", [None, "", "-", "10", "10-", "-20", "10-20-30", "10-20 ", "ten-20", "10 - 20", "x10-20"]
)
def test_foreign_metadata_announces_nothing(metadata: str | None) -> None:
    assert decode(10, metadata) is None


def test_an_announcement_for_another_offset_is_not_believed() -> None:
    assert decode(11, "10-20") is None


def test_a_span_that_ends_before_it_begins_is_not_believed() -> None:
    assert decode(20, "20-10") is None


def test_tokens_tell_topics_partitions_and_spans_apart() -> None:
    tokens = {
        token(topic, partition, span) for topic in "ab" for partition in (0, 1) for span in (Span(1, 2), Span(1, 3))
    }
    assert len(tokens) == 8
    assert token("a", 0, Span(1, 2)) == token("a", 0, Span(1, 2))


def test_reading_goes_on_after_the_last_record() -> None:
    assert Span(10, 20).next_offset == 21
