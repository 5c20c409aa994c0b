import pytest

from consumer.assignment import OffsetWentBackError, Ownership, Partition

P0, P1 = Partition("t", 0), Partition("t", 1)


def test_a_record_may_be_published_only_in_the_epoch_it_was_read_in() -> None:
    ownership = Ownership()
    ownership.gained([P0, P1])
    epoch = ownership.admit(P0, 5)
    assert epoch is not None
    assert ownership.holds(P0, epoch)
    ownership.left([P0])
    assert not ownership.holds(P0, epoch)
    ownership.gained([P0])
    assert not ownership.holds(P0, epoch)
    assert ownership.partitions == [P0, P1]


def test_a_record_of_a_partition_that_is_not_owned_is_not_admitted() -> None:
    assert Ownership().admit(P0, 0) is None


def test_a_rewind_makes_everything_read_before_stale_and_lets_offsets_go_back() -> None:
    ownership = Ownership()
    ownership.gained([P0])
    before = ownership.admit(P0, 7)
    ownership.rewound()
    after = ownership.admit(P0, 3)
    assert before is not None
    assert after is not None
    assert not ownership.holds(P0, before)
    assert ownership.holds(P0, after)


def test_an_offset_that_goes_back_without_a_rewind_is_an_error() -> None:
    ownership = Ownership()
    ownership.gained([P0])
    ownership.admit(P0, 7)
    with pytest.raises(OffsetWentBackError):
        ownership.admit(P0, 7)
