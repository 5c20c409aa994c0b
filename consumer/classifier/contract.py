"""What the filter asks of a model, whatever engine stands behind it. Imports neither torch nor Kafka."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Label = Literal["spam", "ham"]
Action = Literal["deliver", "review", "block"]


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Everything that a verdict must name so that its score can be reproduced."""

    name: str
    """The model's name, e.g. `minilm-qlora`."""
    version: str
    """Version of the training run that made it."""
    digest: str
    """SHA-256 (hex) of the manifest, which in turn holds the SHA-256 of every file of the model."""
    labels: tuple[str, ...]
    """The classes the model knows, in the order of its outputs."""
    threshold: float
    """A score at or above it is labelled spam."""
    normaliser_version: str
    """Version of the text normalisation that the model was trained behind."""


@dataclass(frozen=True, slots=True)
class Classification:
    """The answer for one text."""

    label: Label
    """`spam` if and only if score ≥ threshold."""
    category: str | None
    """Finer kind of spam or ham, None for a model that knows only the two labels."""
    score: float
    """Calibrated P(spam), 0 to 1."""
    margin: float
    """Raw logit(spam) minus logit(ham), before calibration: what parity tests compare."""
    action: Action
    """`block` is spam, `deliver` is ham, `review` is either within the model's band of uncertainty."""
    signals: tuple[str, ...]
    """Facts met while normalising (see `normalise.SIGNALS`) and `truncated`; alphabetical, for the analyst, not the model."""


class Classifier(Protocol):
    """A loaded model. One caller at a time: calls block, use the cores they were given and share scratch memory."""

    @property
    def identity(self) -> ModelIdentity:
        """What the verdicts name. Never changes during the life of the object."""
        ...

    def classify(self, texts: Sequence[str]) -> list[Classification]:
        """Return one classification per text, in the order of the texts; an empty list for no texts.

        Any string is accepted, also an empty one, lone surrogates and texts longer than the model reads.
        The caller may pass any number of texts: the engine cuts them into batches that fit its memory.
        A text's margin differs by no more than 1e-3 whatever texts share its call.

        Raises FloatingPointError where the model answers with no number, and whatever the engine raises (out of
        memory, lost device). No text of such a call has an answer; the same call may be tried again, whole or in parts.
        """
        ...

    def warm_up(self) -> None:
        """Do now what the first call would otherwise pay for (allocation, compilation). Call before readiness."""
        ...
