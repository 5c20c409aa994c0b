import pytest

from schemas.corpus import Message
from schemas.errors import UserError
from tests.training.tiny import corpus
from training.data import Splits, near_duplicates, split_corpora

CAMPAIGN = "Congratulations, you have been chosen to receive a prize of {} pounds, call {} to claim it before {}"


def split(rows: list[tuple[str, str]], seed: int = 0, **held_out: list[tuple[str, str]]) -> Splits:
    return split_corpora({"ours": rows}, held_out, validation_share=0.25, test_share=0.25, seed=seed)


def texts(examples: tuple[object, ...]) -> list[str]:
    return [example.text for example in examples]  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(8))
def test_variants_of_one_text_stay_on_one_side_of_a_split(seed: int) -> None:
    days = ["Monday", "Tuesday", "Friday", "Sunday", "noon", "tonight"]
    variants = [(CAMPAIGN.format(100 * i, f"0906{i}", day), "spam") for i, day in enumerate(days)]
    splits = split([*corpus(200), *variants], seed)
    parts = [splits.train, splits.validation, *splits.tests.values()]
    found = [part for part in parts if any("Congratulations" in text for text in texts(part))]
    assert len(found) == 1
    if found[0] is not splits.train:  # where a model is judged, a campaign counts once
        assert sum("Congratulations" in text for text in texts(found[0])) == 1


def test_similar_texts_cluster_and_others_do_not() -> None:
    first, second, third, fourth = near_duplicates(
        [
            "please call me when you get home from work tonight",
            "please call me when you get home from work tonight ok",
            "the meeting is moved to three in the afternoon",
            "ok",
        ]
    )
    assert first == second
    assert len({first, third, fourth}) == 3


def test_equal_texts_are_kept_once_and_contradicting_ones_not_at_all() -> None:
    rows = [*corpus(100), ("Fancy a swim later", "ham"), ("FANCY a swim, later!", "ham")]
    rows += [("Buy this lamp", "spam"), ("buy this lamp.", "ham"), ("  ", "ham"), ("\u200b", "spam")]
    splits = split(rows)
    every = [text for part in (splits.train, splits.validation, *splits.tests.values()) for text in texts(part)]
    assert sum("swim" in text for text in every) == 1
    assert not any("lamp" in text for text in every)
    assert splits.dropped.conflicting == 2
    assert splits.dropped.empty == 2


def test_a_held_out_corpus_loses_what_resembles_the_others() -> None:
    known = "please remember to bring the blue folder to the office on thursday morning"
    theirs = [(known, "ham"), (known + " thanks", "ham"), ("an entirely different text about fishing", "ham")]
    splits = split([*corpus(100), (known, "ham")], theirs=theirs)
    assert texts(splits.tests["theirs"]) == ["an entirely different text about fishing"]
    assert "theirs" not in {each.source for each in (*splits.train, *splits.validation)}


def test_an_example_keeps_what_was_given_beside_what_the_model_reads() -> None:
    given = Message("Fr\u0435\u0435 \U0001d5d6ash \u200bnow \ud83d", "spam", "prize", None, "GB", "en")
    splits = split([*corpus(100), given])
    every = [each for part in (splits.train, splits.validation, *splits.tests.values()) for each in part]
    (found,) = [each for each in every if each.country]
    assert found.text.startswith("Free Cash now")
    assert found.original == given.text.replace("\ud83d", "\ufffd")
    assert (found.country, found.language, found.category, found.source) == ("GB", "en", "prize", "ours")


def test_neither_the_order_of_rows_nor_which_of_equal_ones_comes_first_changes_a_split() -> None:
    rows = [
        *corpus(100),
        ("Fancy a swim later", "ham"),
        ("FANCY a swim, later!", "ham"),
        ("fancy a swim later 2", "ham"),
    ]
    assert split(rows) == split(rows[::-1])


def test_what_a_held_out_corpus_shares_word_for_word_is_overlap_and_what_it_repeats_itself_a_duplicate() -> None:
    theirs = [("Fancy a swim later", "ham"), *[("an entirely different text about fishing", "ham")] * 3]
    dropped = split([*corpus(100), ("fancy a swim, later", "ham")], theirs=theirs).dropped
    assert dropped.by_corpus["theirs"] == {"overlapping": 1, "duplicate": 2}
    assert dropped.overlapping == 1
    assert "overlapping 1" in str(dropped)


def test_every_row_is_in_a_split_or_counted_as_left_out() -> None:
    variants = [(CAMPAIGN.format(100 * i, f"0906{i}", "noon" + " ok" * (i % 3)), "spam") for i in range(20)]
    rows = [*corpus(200), *variants, ("Buy this lamp", "spam"), ("buy this lamp.", "ham"), (" ", "ham")]
    theirs = [*corpus(60, seed=5), *variants[:5]]
    splits = split(rows, theirs=theirs)
    kept = sum(len(part) for part in (splits.train, splits.validation, *splits.tests.values()))
    left_out = sum(sum(counts.values()) for counts in splits.dropped.by_corpus.values())
    assert kept + left_out == len(rows) + len(theirs)


def test_the_data_version_follows_the_rows_not_their_order() -> None:
    rows = corpus(100)
    assert split(rows).version == split(rows[::-1]).version
    assert split(rows).version != split(rows[:-1]).version
    assert split(rows).version != split(rows, seed=1).version


def test_one_class_or_a_strange_label_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="both spam and ham"):
        split([row for row in corpus(100) if row[1] == "ham"])
    with pytest.raises(UserError, match="neither spam nor ham"):
        split([*corpus(10), ("text", "maybe")])
