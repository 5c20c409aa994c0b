"""A classifier without a model: measures what the rest of the filter costs."""

from collections.abc import Sequence

from consumer.classifier.contract import Classification, ModelIdentity

_HAM = Classification(label="ham", category=None, score=0.0, margin=0.0, action="deliver", signals=())
_IDENTITY = ModelIdentity(
    name="null",
    version="0",
    digest="0" * 64,
    labels=("ham", "spam"),
    threshold=1.0,
    normaliser_version="none",
)


class Null:
    """Call everything ham, at no cost. For benchmarks and for tests of the transport; never for traffic."""

    identity = _IDENTITY

    def classify(self, texts: Sequence[str]) -> list[Classification]:
        return [_HAM] * len(texts)

    def warm_up(self) -> None:
        pass
