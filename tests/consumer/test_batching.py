import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.batching import Batcher, Budget


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.integers(1, 50)), st.integers(1, 60), st.integers(1, 10))
def test_batches_keep_order_lose_nothing_and_stay_within_both_budgets(
    costs: list[int], tokens: int, messages: int
) -> None:
    batcher: Batcher[tuple[int, int]] = Batcher(Budget(tokens, messages, 0.0), Clock())
    batcher.extend(list(enumerate(costs)), costs)
    taken = []
    while batch := batcher.take():
        assert len(batch) <= messages
        assert sum(cost for _, cost in batch) <= tokens or len(batch) == 1
        taken += batch
    assert taken == list(enumerate(costs))
    assert (len(batcher), batcher.tokens) == (0, 0)


def test_a_batch_is_ready_when_full_or_when_its_first_item_has_lingered() -> None:
    clock = Clock()
    batcher: Batcher[str] = Batcher(Budget(tokens=10, messages=3, linger_s=0.5), clock)
    assert batcher.wait_s() is None
    batcher.extend(["a"], [4])
    clock.now = 0.2
    batcher.extend(["b"], [4])
    assert batcher.wait_s() == 0.3
    batcher.extend(["c"], [4])
    assert batcher.wait_s() == 0.0
    assert batcher.take() == ["a", "b"]
    assert batcher.wait_s() == pytest.approx(0.5)
    clock.now = 9.0
    assert batcher.wait_s() == 0.0


def test_clear_forgets_items_and_their_cost() -> None:
    batcher: Batcher[str] = Batcher(Budget(10, 3, 0.5), Clock())
    batcher.extend(["a"], [4])
    batcher.clear()
    assert (len(batcher), batcher.tokens, batcher.wait_s(), batcher.take()) == (0, 0, None, [])
