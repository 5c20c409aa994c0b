"""Micro-batches under a token budget. Knows nothing of Kafka or of models."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Budget:
    """When a micro-batch is full, and how long it may wait to become so."""

    tokens: int
    messages: int
    linger_s: float


class Batcher(Generic[T]):
    """Items in the order they came, each with a cost in tokens; `take` returns the next micro-batch.

    An item dearer than the whole budget makes a batch of its own.
    """

    def __init__(self, budget: Budget, clock: Callable[[], float]) -> None:
        self._budget = budget
        self._clock = clock
        self._items: deque[tuple[T, int, float]] = deque()
        self._tokens = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def tokens(self) -> int:
        return self._tokens

    @property
    def full(self) -> bool:
        """Whether there is enough for a whole micro-batch."""
        return self._tokens >= self._budget.tokens or len(self._items) >= self._budget.messages

    def extend(self, items: Sequence[T], tokens: Iterable[int]) -> None:
        """Add items that came together, with the cost of each."""
        now = self._clock()
        costs = list(tokens)
        self._items.extend(zip(items, costs, repeat(now)))
        self._tokens += sum(costs)

    def wait_s(self) -> float | None:
        """Seconds until `take` would give a batch: 0 when one is full or has waited enough, None when empty."""
        if not self._items:
            return None
        if self.full:
            return 0.0
        return max(0.0, self._items[0][2] + self._budget.linger_s - self._clock())

    def take(self) -> list[T]:
        """Return the longest prefix within the budget, full or not; empty when there is nothing."""
        batch: list[T] = []
        spent = 0
        while self._items and len(batch) < self._budget.messages:
            item, tokens, _ = self._items[0]
            if batch and spent + tokens > self._budget.tokens:
                break
            self._items.popleft()
            batch.append(item)
            spent += tokens
        self._tokens -= spent
        return batch

    def clear(self) -> None:
        self._items.clear()
        self._tokens = 0
