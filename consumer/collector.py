"""The garbage collector, calmed for services that hold thousands of small objects without a cycle among them."""

import gc


def calm_garbage_collector(young: int, middle: int, old: int) -> None:
    """Look for cycles seldom (thresholds as in gc.set_threshold), and never among what is there for good.

    Records and rows are freed by their reference counts. At its default of 700 the search for cycles took a quarter of
    the filter's scoring thread and a third of the sink's processor time (measured).
    """
    gc.freeze()
    gc.set_threshold(young, middle, old)
