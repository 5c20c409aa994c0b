"""Where the messages come from: the built-in grammar, or a corpus of one's own."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator

from producer_sim.grammar import SPAM_SHARE, Forms, generate, stream
from schemas.corpus import Message, parse_spec, read_corpus
from schemas.errors import UserError
from schemas.events import MAX_TEXT_CHARACTERS

__all__ = ["Message", "built_in", "generate", "open_corpus"]

log = logging.getLogger("smsift.corpus")


def built_in(seed: int, forms: Forms = "all", spam_share: float = SPAM_SHARE) -> Iterator[Message]:
    """Messages without end from the built-in grammar; the same arguments give the same bytes."""
    return stream(seed, forms, spam_share)


def open_corpus(
    spec: str | None = None, seed: int = 0, text_column: str | None = None, label_column: str | None = None
) -> Iterator[Message]:
    """Messages without end: from the built-in grammar where `spec` is None, otherwise from a corpus.

    `spec` is PATH[:TEXT_COLUMN:LABEL_COLUMN] (see schemas.corpus.parse_spec); columns named apart win. A file's messages come in its own order first, then again and again, shuffled by the seed. Texts too long for an
    event are left out, and the log says how many. Raises UserError, before the first message, for a corpus that cannot
    be read (see schemas.corpus.read_corpus).
    """
    if spec is None:
        return built_in(seed)
    corpus = parse_spec(spec)
    messages = read_corpus(corpus.spec, text_column or corpus.text_column, label_column or corpus.label_column)
    fitting = [message for message in messages if len(message.text) <= MAX_TEXT_CHARACTERS]
    if len(fitting) < len(messages):
        log.warning(
            "%d texts are longer than %d characters and were left out",
            len(messages) - len(fitting),
            MAX_TEXT_CHARACTERS,
        )
    if not fitting:
        raise UserError(f"No message of {spec} fits into {MAX_TEXT_CHARACTERS} characters.")
    return _cycled(fitting, seed)


def _cycled(messages: list[Message], seed: int) -> Iterator[Message]:
    yield from messages
    order = random.Random(seed)
    while True:
        again = messages.copy()
        order.shuffle(again)
        yield from again
