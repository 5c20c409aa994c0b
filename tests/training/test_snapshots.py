"""Snapshots: what comes back is what was kept, or a refusal."""

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from consumer.classifier.normalise import NORMALISER_VERSION
from schemas import storage
from schemas.corpus import Message
from schemas.errors import UserError
from tests.training.tiny import corpus
from training import snapshots
from training.data import Splits, split_corpora


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "store")
        return
    yield "memory://store/kept"
    fsspec.filesystem("memory").rm("/store", recursive=True)


def splits(seed: int = 0) -> Splits:
    marked = Message("Gratis \U0001d5d9ree c\u0430sh \u200bnow", "spam", "prize", None, "DE", "de")
    rows = [*corpus(120), marked, ("win cash", "spam"), ("win cash", "spam")]
    held_out = {"theirs": [("an entirely different text about fishing", "ham")]}
    return split_corpora({"ours": rows}, held_out, validation_share=0.25, test_share=0.25, seed=seed)


def files(store: str) -> list[str]:
    system, path = fsspec.core.url_to_fs(store)
    return sorted(str(each).rpartition("/")[2] for each in system.find(path))


def test_a_snapshot_comes_back_whole_from_its_digest(store: str) -> None:
    kept = splits()
    digest = snapshots.add(store, kept)
    assert digest == kept.version
    assert snapshots.pull(store, digest) == kept
    assert snapshots.pull(store, digest[:8]) == kept


def test_adding_again_changes_nothing_and_the_newest_is_listed_first(store: str) -> None:
    assert snapshots.list_(store) == []
    first, second = splits(), splits(seed=1)
    snapshots.add(store, first, {"seed": 0})
    before = snapshots.list_(store)
    snapshots.add(store, first, {"seed": 5})
    assert snapshots.list_(store) == before
    snapshots.add(store, second)
    assert [each.digest for each in snapshots.list_(store)] == [second.version, first.version]
    assert before[0].options == {"seed": 0}
    assert before[0].rows["train"] == len(first.train)
    assert before[0].dropped == first.dropped.by_corpus
    assert files(store) == sorted([snapshots.ROWS, snapshots.INFO] * 2)


def test_one_changed_word_or_label_is_noticed(tmp_path: Path) -> None:
    store = str(tmp_path)
    digest = snapshots.add(store, splits())
    path = tmp_path / digest / snapshots.ROWS
    for column in ("text", "original", "label", "split", "country"):
        table = pq.read_table(path)
        values = table.column(column).to_pylist()
        values[0] = {"label": "ham" if values[0] == "spam" else "spam", "split": "validation"}.get(column, "FR")
        changed = table.set_column(table.column_names.index(column), column, [values])
        before = path.read_bytes()
        pq.write_table(changed, path)
        with pytest.raises(UserError, match="damaged or was changed"):
            snapshots.pull(store, digest)
        path.write_bytes(before)
    assert snapshots.pull(store, digest).version == digest


@pytest.mark.parametrize("name", [snapshots.ROWS, snapshots.INFO])
def test_a_truncated_file_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    digest = snapshots.add(str(tmp_path), splits())
    path = tmp_path / digest / name
    for size in (0, 20, path.stat().st_size - 5):
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(UserError, match="damaged or was changed"):
            snapshots.pull(str(tmp_path), digest)
    assert len(snapshots.list_(str(tmp_path))) == (name == snapshots.ROWS)  # one that is damaged hides no other


def test_a_damaged_snapshot_hides_no_other_ones_tests_and_one_without_a_column_is_damaged(tmp_path: Path) -> None:
    first, second = (snapshots.add(str(tmp_path), splits(seed)) for seed in (0, 1))
    path = tmp_path / first / snapshots.ROWS
    pq.write_table(pq.read_table(path).drop_columns(["text"]), path)
    with pytest.raises(UserError, match="damaged or was changed"):
        snapshots.pull(str(tmp_path), first)
    expected = {name: {each.original for each in part} for name, part in splits(1).tests.items()}
    assert {name: set(texts) for name, texts in snapshots.test_sets(str(tmp_path)).items()} == expected
    assert second == splits(1).version


def test_another_snapshots_rows_do_not_pass_under_this_name(tmp_path: Path) -> None:
    first, second = (snapshots.add(str(tmp_path), splits(seed)) for seed in (0, 1))
    (tmp_path / first / snapshots.ROWS).write_bytes((tmp_path / second / snapshots.ROWS).read_bytes())
    with pytest.raises(UserError, match="damaged or was changed"):
        snapshots.pull(str(tmp_path), first)


def test_an_add_cut_short_leaves_no_snapshot_and_the_next_one_succeeds(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = splits()

    def full(address: str, data: bytes) -> None:
        if address.endswith(snapshots.INFO):
            raise UserError("Cannot write: No space left on device.")
        storage.write_bytes(address, data)

    with monkeypatch.context() as crash:
        crash.setattr(snapshots, "write_bytes", full)
        with pytest.raises(UserError, match="No space"):
            snapshots.add(store, kept)
    assert snapshots.list_(store) == []
    with pytest.raises(UserError, match="There is no snapshot"):
        snapshots.pull(store, kept.version)
    snapshots.add(store, kept)
    assert snapshots.pull(store, kept.version) == kept


def test_a_digest_that_is_not_there_is_answered_with_how_to_find_one(store: str) -> None:
    snapshots.add(store, splits())
    for digest in ("f" * 64, "abcdef", "", "../secrets"):
        with pytest.raises(UserError, match="smsift data list"):
            snapshots.pull(store, digest)


def test_texts_of_an_older_normaliser_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = splits()
    digest = snapshots.add(str(tmp_path), kept)
    path = tmp_path / digest / snapshots.INFO
    info = json.loads(path.read_text()) | {"normaliser_version": "0"}
    path.write_text(json.dumps(info))
    assert snapshots.pull(str(tmp_path), digest) == kept  # today's normaliser gives what is kept
    monkeypatch.setattr(snapshots, "NORMALISER_VERSION", f"{NORMALISER_VERSION}+")
    monkeypatch.setattr(snapshots, "normalise", lambda text: type("Normalised", (), {"text": text.upper()}))
    anew = snapshots.pull(str(tmp_path), digest)
    assert anew.version != digest
    assert {each.text for each in anew.train} == {each.original.upper() for each in kept.train}
