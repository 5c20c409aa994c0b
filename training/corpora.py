"""Corpora for training and judging: what the commands are given, read and split.

`read` takes all that `schemas.corpus` reads, and `clickhouse:DATE` for the labelled verdicts since a date.
"""

import logging
from collections.abc import Sequence

from consumer.settings import Settings, load_settings
from schemas.corpus import Corpus, CorpusSpec, load_corpus
from schemas.errors import UserError
from training.data import Splits, split_corpora

log = logging.getLogger("smsift.corpus")


def read(spec: CorpusSpec, settings: Settings | None = None) -> Corpus:
    """One corpus. Raises UserError where it cannot be read. The settings tell of ClickHouse and the hub's token."""
    settings = settings or load_settings()
    if spec.is_clickhouse:
        from training.feedback import labelled_verdicts

        return labelled_verdicts(settings, str(spec.spec).partition(":")[2])
    return load_corpus(spec, settings.hub_token.get_secret_value() if settings.hub_token else None)


def read_and_split(
    data: Sequence[CorpusSpec],
    held_out: Sequence[CorpusSpec] = (),
    *,
    validation_share: float,
    test_share: float,
    seed: int,
    settings: Settings | None = None,
) -> Splits:
    """Read corpora and split them (see `split_corpora`). The log says what was left out and why.

    Raises UserError where one cannot be read, two go by the same name, or they are no use for training.
    """
    if not data:
        raise UserError("At least one corpus is needed: give --data PATH.")
    read_already: dict[str, Corpus] = {}
    for spec in (*data, *held_out):
        if spec.name in read_already:
            raise UserError(f"Two corpora are named {spec.name}: rename one, its metrics go by that name.")
        read_already[spec.name] = read(spec, settings)
    splits = split_corpora(
        {spec.name: read_already[spec.name].messages for spec in data},
        {spec.name: read_already[spec.name].messages for spec in held_out},
        validation_share=validation_share,
        test_share=test_share,
        seed=seed,
        left_out={name: corpus.left_out for name, corpus in read_already.items()},
    )
    for name, counts in splits.dropped.by_corpus.items():
        log.info("left out of %s: %s", name, ", ".join(f"{reason} {rows}" for reason, rows in sorted(counts.items())))
    return splits
