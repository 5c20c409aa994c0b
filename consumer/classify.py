"""Judge texts here and now, without Kafka."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice

from consumer.classifier.contract import Classifier

AT_ONCE = 256  # texts to the model at a time: answers to a long input start to come at once


def lines(classifier: Classifier, texts: Iterable[str], *, json_lines: bool) -> Iterator[str]:
    """One line a text, in the order given."""
    remaining = iter(texts)
    while batch := list(islice(remaining, AT_ONCE)):
        for text, result in zip(batch, classifier.classify(batch), strict=True):
            if json_lines:
                yield json.dumps({"text": text, **asdict(result)}, ensure_ascii=False)
            else:
                signals = f"  [{', '.join(result.signals)}]" if result.signals else ""
                yield f"{result.label:4}  {result.score:.3f}  {result.action:7}  {' '.join(text.split())}{signals}"
