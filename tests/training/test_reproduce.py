"""Published claims are repeated beside what they leave out, and a base that is not at hand is only a note."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consumer.settings import load_settings
from schemas.corpus import Message
from schemas.errors import UserError
from smsift import app
from tests.training.tiny import corpus, recipe_for
from training import reproduce
from training.recipe import load_recipe
from training.reproduce import CLAIMS, claim_named, random_split, reproduced

SPLITS = ("random 80/20", "by near-duplicate cluster")
MODELS = ("always ham", "naive Bayes", "before tuning", "after tuning")


@pytest.fixture
def collection(tmp_path: Path) -> str:
    path = tmp_path / "collection.txt"
    path.write_text("".join(f"{label}\t{text}\n" for text, label in corpus(200)))
    return str(path)


def test_every_claim_has_its_recipe() -> None:
    assert {load_recipe(claim.recipe).name for claim in CLAIMS.values()}
    assert (CLAIMS["gpt2"].before, CLAIMS["gpt2"].after) == ("84\u201385", "91")
    assert CLAIMS["tinyllama"].after == "98\u2013100"
    with pytest.raises(UserError, match="choose tinyllama, gpt2"):
        claim_named("gpt5")


def test_a_claim_is_repeated_on_both_splits(
    collection: str, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = recipe_for(tiny_base, training__learning_rate=2e-2)
    monkeypatch.setattr(reproduce, "load_recipe", lambda _name: recipe)
    settings = load_settings(local_dir=tmp_path / "local", device="cpu")
    rows = list(reproduced(CLAIMS["minilm"], settings, data=collection, base=str(tiny_base), seed=1, max_steps=30))
    assert [(row.split, row.model) for row in rows] == [(split, model) for split in SPLITS for model in MODELS]
    assert all(row.metrics is not None and not row.note for row in rows)
    ham, _, before, after = rows[:4]
    assert ham.metrics is not None
    assert before.metrics is not None
    assert after.metrics is not None
    assert ham.metrics["n"] == 40
    assert ham.metrics["accuracy"] == pytest.approx(1 - int(ham.metrics["spam"] or 0) / 40)
    assert float(after.metrics["accuracy"] or 0) > float(before.metrics["accuracy"] or 0)


def test_the_command_prints_json_alone_and_tables_with_the_reason_once(
    collection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("SMSIFT_BASE", raising=False)
    arguments = ["reproduce", "tinyllama", "--data", collection, "--base", str(tmp_path)]
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert (found["claim"], found["published"]["after"], len(found["rows"])) == ("tinyllama", "98\u2013100", 8)
    shown = CliRunner().invoke(app, arguments).stdout
    assert "98\u2013100" in shown
    assert " ".join(shown.split()).count(found["rows"][2]["note"][:40]) == 1


def test_a_base_that_is_not_at_hand_is_a_note_and_the_floors_are_told(
    collection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    settings = load_settings(local_dir=tmp_path / "local")
    rows = list(reproduced(CLAIMS["gpt2"], settings, data=collection, base=str(tmp_path), seed=1))
    assert [row.metrics is None for row in rows] == [False, False, True, True] * 2
    assert all(row.note for row in rows if row.metrics is None)
    assert [row.published for row in rows[2:4]] == ["84\u201385", "91"]


def test_the_random_split_keeps_every_row_as_the_papers_did() -> None:
    messages = [Message(text, label) for text, label in corpus(100) for _ in range(2)]  # type: ignore[arg-type]
    splits = random_split(messages, 3)
    assert (len(splits.train), len(splits.validation), len(splits.tests["uci"])) == (140, 20, 40)
    known = {each.text for each in splits.train}
    assert any(each.text in known for each in splits.tests["uci"])  # which is what is wrong with it
    assert random_split(messages, 3).version == splits.version != random_split(messages, 4).version
    with pytest.raises(UserError, match="too small"):
        random_split(messages[:3], 3)
