"""The flow runs from labelled file to champion on this machine, by the command that its docstring gives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from consumer.classifier.models_folder import read_aliases
from tests.training.test_promotion import FLOORS
from tests.training.tiny import corpus, recipe_for, write_recipe

pytest.importorskip("metaflow")


_USERS = {"METAFLOW_USER", "SUDO_USER", "USERNAME", "USER", "LOGNAME", "LNAME"}
"""A container need not say who runs it."""


@pytest.mark.slow
@pytest.mark.timeout(600)  # several processes import torch, on whatever machine this is
def test_a_recipe_goes_all_the_way_to_champion(tiny_base: Path, tmp_path: Path) -> None:
    learnt = recipe_for(tiny_base, training__learning_rate=2e-2, training__epochs=20.0)
    recipe = write_recipe(learnt, tmp_path / "learnt.toml")
    rows = [json.dumps({"text": text, "label": label}) for text, label in corpus(300)]
    (tmp_path / "made.jsonl").write_text("\n".join(rows))
    (tmp_path / "floors.toml").write_text(FLOORS)
    environment = {
        **{name: value for name, value in os.environ.items() if name not in _USERS},
        "SMSIFT_LOCAL_DIR": str(tmp_path / "local"),
        "SMSIFT_TRACKING_URI": "http://127.0.0.1:9",  # nothing listens there: what it says is tested elsewhere
        "SMSIFT_BASE": str(tiny_base),
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(tmp_path),
        "METAFLOW_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    arguments = ["run", "--data", "made.jsonl", "--recipes", recipe, "--max-steps", "60"]
    answer = subprocess.run(
        [sys.executable, "-m", "training.flow", *arguments, "--floors", "floors.toml"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=540,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout[-4000:] + answer.stderr[-4000:]
    champion = read_aliases(str(tmp_path / "local" / "models")).champion
    assert champion is not None
    assert champion.folder.startswith("tiny-")
    assert f"champion: {champion.folder.replace('tiny-', 'tiny ')}" in answer.stdout
    assert [path.name for path in (tmp_path / "local" / "models").iterdir() if path.is_dir()] == [champion.folder]
    cards = list((tmp_path / ".metaflow").rglob("mf.cards/**/*.html"))
    assert len({path.parts[path.parts.index("steps") + 1] for path in cards if "steps" in path.parts}) == 5
