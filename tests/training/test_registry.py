"""Whatever happens to a promotion, some champion that is whole serves."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from consumer.classifier.artifact import ADAPTER, CONFIG, MANIFEST, Artifact, load_artifact
from consumer.classifier.models_folder import ALIASES, Aliases, champion, read_aliases
from schemas.errors import UserError
from tests.training.folders import make_folder
from training.registry import GATE, promote, register, rollback, versions


@pytest.fixture(params=["local", "memory"])
def models(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a models folder: a path, and an object store."""
    if request.param == "local":
        yield str(tmp_path / "models")
        return
    yield "memory://registry-test/models"
    fsspec.filesystem("memory").rm("/registry-test", recursive=True)


@pytest.fixture
def first(tmp_path: Path) -> Artifact:
    return make_folder(tmp_path / "first", "1")


@pytest.fixture
def second(tmp_path: Path) -> Artifact:
    return make_folder(tmp_path / "second", "22")


def test_the_first_promotion_makes_a_champion_with_nothing_before_it(
    models: str, first: Artifact, tmp_path: Path
) -> None:
    promote(models, first, Aliases(), {"passed": True})
    aliases = read_aliases(models)
    assert aliases.champion is not None
    assert aliases.challenger == aliases.champion
    assert aliases.previous is None
    folder = champion(models, tmp_path / "cache")
    assert folder is not None
    assert load_artifact(folder).digest == first.digest


def test_a_second_promotion_keeps_the_first_as_previous_and_rollback_swaps_them(
    models: str, first: Artifact, second: Artifact, tmp_path: Path
) -> None:
    before = promote(models, first, Aliases())
    promote(models, second, before)
    assert [version.aliases for version in versions(models)] == [["champion"], ["previous"]]
    for digest in (first.digest, second.digest):
        rollback(models)
        folder = champion(models, tmp_path / "cache")
        assert folder is not None
        assert load_artifact(folder).digest == digest
    rollback(models)
    assert [version.aliases for version in versions(models)] == [["challenger", "previous"], ["champion"]]


def test_rollback_of_the_first_champion_leaves_none_so_that_the_shipped_model_serves_again(
    models: str, first: Artifact, second: Artifact, tmp_path: Path
) -> None:
    promote(models, first, Aliases())
    aliases = rollback(models)
    assert aliases == read_aliases(models)
    assert champion(models, tmp_path / "cache") is None
    assert [version.aliases for version in versions(models)] == [["challenger"]]
    assert promote(models, second, aliases).previous is None


def test_rollback_without_a_champion_is_one_sentence(models: str, first: Artifact) -> None:
    for _ in range(2):
        with pytest.raises(UserError, match="no champion"):
            rollback(models)
        promote(models, first, read_aliases(models))
        rollback(models)


def test_a_rollback_of_the_first_champion_that_cannot_be_written_leaves_it(
    models: str, first: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import registry

    before = promote(models, first, Aliases())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(registry, "_put", full)
    with pytest.raises(UserError, match="No space left"):
        rollback(models)
    assert read_aliases(models) == before


@pytest.mark.parametrize("gone", ["tiny-1", f"tiny-1/{MANIFEST}", f"tiny-1/{ADAPTER}"])
def test_rollback_to_a_version_that_is_gone_or_half_gone_changes_nothing(
    models: str, first: Artifact, second: Artifact, gone: str
) -> None:
    promote(models, second, promote(models, first, Aliases()))
    filesystem, root = fsspec.core.url_to_fs(models)
    filesystem.rm(f"{root}/{gone}", recursive=True)
    before = read_aliases(models)
    with pytest.raises(UserError, match="tiny-1"):
        rollback(models)
    assert read_aliases(models) == before


def test_promoting_the_champion_again_keeps_what_was_before_it(models: str, first: Artifact, second: Artifact) -> None:
    before = promote(models, second, promote(models, first, Aliases()))
    assert promote(models, second, before) == before


def test_a_champion_that_changed_while_the_gate_judged_is_not_replaced(
    models: str, first: Artifact, second: Artifact, tmp_path: Path
) -> None:
    promote(models, first, Aliases())
    with pytest.raises(UserError, match="changed the champion meanwhile"):
        promote(models, second, Aliases())
    folder = champion(models, tmp_path / "cache")
    assert folder is not None
    assert load_artifact(folder).digest == first.digest


def test_a_version_is_never_replaced_by_another_model_of_that_name(
    models: str, first: Artifact, tmp_path: Path
) -> None:
    register(models, first)
    with pytest.raises(UserError, match="Another model is registered as tiny-1"):
        register(models, make_folder(tmp_path / "other", "1", weights=b"other"))
    assert [version.manifest for version in versions(models)] == [first.manifest]


def test_only_what_the_manifest_vouches_for_is_registered_with_the_gates_decision(models: str, first: Artifact) -> None:
    (first.folder / "payload.pkl").write_bytes(b"x")
    promote(models, first, Aliases(), {"passed": True, "metrics": {"f1": 0.9}})
    filesystem, root = fsspec.core.url_to_fs(models)
    names = {str(path).rsplit("/", 1)[-1] for path in filesystem.ls(f"{root}/tiny-1", detail=False)}
    assert names == {*first.manifest.files, MANIFEST, GATE}
    assert versions(models)[0].gate["metrics"] == {"f1": 0.9}


def test_a_candidate_that_changes_on_the_way_is_not_promoted(models: str, first: Artifact) -> None:
    (first.folder / CONFIG).write_bytes(b"{ }")
    with pytest.raises(UserError, match="not as it was written"):
        promote(models, first, Aliases())
    assert read_aliases(models) == Aliases()
    assert versions(models) == []


def test_a_store_that_fails_at_any_write_leaves_the_champion(
    models: str, first: Artifact, second: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import registry

    before = promote(models, first, Aliases())
    filesystem, root = fsspec.core.url_to_fs(models)
    write, failures = registry._put, 0
    for fails_at in range(20):
        written: list[str] = []

        def put(filesystem: Any, path: str, content: bytes | Path, at: int = fails_at, so_far: Any = written) -> None:
            if len(so_far) == at:
                raise OSError(28, "No space left on device")
            so_far.append(path)
            write(filesystem, path, content)

        monkeypatch.setattr(registry, "_put", put)
        try:
            promote(models, second, before, {"passed": True})
        except UserError as error:
            failures += 1
            assert "No space left" in str(error)  # noqa: PT017 - the last round must not raise
        else:
            break
        folder = champion(models, tmp_path / "cache")
        assert folder is not None
        assert load_artifact(folder).digest == first.digest
        if filesystem.exists(f"{root}/tiny-22"):
            filesystem.rm(f"{root}/tiny-22", recursive=True)
    assert failures == 6  # three files, the decision, the manifest, the aliases
    assert read_aliases(models).previous == before.champion


def test_a_promotion_killed_at_any_moment_leaves_the_champion_and_the_next_one_completes(
    first: Artifact, second: Artifact, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    promote(str(models), first, Aliases())
    # The child dies at the first, second, third … thing it asks of the disk, each time in a fresh process.
    program = """
import os, sys
from pathlib import Path
from consumer.classifier.artifact import load_artifact
from consumer.classifier.models_folder import champion, read_aliases
from training.registry import promote

models, folder, first = sys.argv[1:]
artifact = load_artifact(Path(folder))
real = {name: getattr(os, name) for name in ("fsync", "replace", "open", "mkdir")}
for moment in range(200):
    child = os.fork()
    if child == 0:
        left = [moment]
        def deadly(name):
            def call(*arguments, **options):
                if left[0] == 0:
                    os._exit(9)
                left[0] -= 1
                return real[name](*arguments, **options)
            return call
        for name in real:
            setattr(os, name, deadly(name))
        promote(models, artifact, read_aliases(models), {"passed": True})
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 0:
        print(moment)
        break
    assert code == 9, code
    assert load_artifact(champion(models, Path("unused"))).digest in {first, artifact.digest}
    if read_aliases(models).champion.digest == artifact.digest:
        print(moment)
        break
"""
    arguments = [sys.executable, "-c", program, str(models), str(second.folder), first.digest]
    answer = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120, env={**os.environ})
    assert answer.returncode == 0, answer.stderr
    assert int(answer.stdout) > 10  # died that many times before it came through
    assert [version.folder for version in versions(str(models))] == ["tiny-22", "tiny-1"]
    assert json.loads((models / ALIASES).read_text(encoding="utf-8"))["champion"]["digest"] == second.digest


def test_what_an_ended_promotion_left_is_no_version(models: str, first: Artifact) -> None:
    filesystem, root = fsspec.core.url_to_fs(models)
    filesystem.makedirs(f"{root}/tiny-0", exist_ok=True)
    filesystem.pipe_file(f"{root}/tiny-0/{ADAPTER}", b"half")
    promote(models, first, Aliases())
    assert [version.folder for version in versions(models)] == ["tiny-1"]


def test_a_models_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, first: Artifact) -> None:
    (tmp_path / "file").write_text("in the way")
    for address in (str(tmp_path / "file"), "bogus://models"):
        with pytest.raises(UserError, match="cannot be used"):
            promote(address, first, Aliases())
