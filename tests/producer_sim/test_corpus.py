"""What is sent: a corpus of one's own again and again, or the built-in one."""

import json
import logging
from pathlib import Path

import pytest

from producer_sim.corpus import open_corpus


def written(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content)
    return path


def test_a_file_is_sent_in_order_first_and_then_again_shuffled(tmp_path: Path) -> None:
    rows = [{"text": f"message {number}", "label": number % 2} for number in range(50)]
    path = written(tmp_path, "c.jsonl", "\n".join(map(json.dumps, rows)))
    stream = open_corpus(str(path), seed=3)
    first, second = [[next(stream).text for _ in range(50)] for _ in range(2)]
    assert first == [row["text"] for row in rows]
    assert second != first
    assert sorted(second) == sorted(first)


def test_texts_that_no_event_can_hold_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("smsift"), "propagate", True)  # another test may have sent logs elsewhere
    path = written(tmp_path, "c.csv", f"text,label\n{'x' * 1601},ham\nok,ham\n")
    stream = open_corpus(str(path))
    assert {next(stream).text for _ in range(4)} == {"ok"}
    assert "1 texts are longer" in caplog.text


def test_no_corpus_named_is_the_built_in_one() -> None:
    assert next(open_corpus(None, seed=1)).form is not None


def test_columns_are_named_in_the_spec_or_apart(tmp_path: Path) -> None:
    path = written(tmp_path, "c.csv", "text,label,clean,gold\nx,ham,win cash,spam\n")
    assert next(open_corpus(f"{path}:clean:gold")).text == "win cash"
    assert next(open_corpus(f"{path}:text:label", text_column="clean")).text == "win cash"
