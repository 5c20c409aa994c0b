"""Who serves reads one file to know which model to load, and refuses what it does not vouch for."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from consumer.classifier.artifact import ADAPTER, MANIFEST, Artifact, load_artifact
from consumer.classifier.models_folder import ALIASES, Aliases, champion, chosen
from schemas.errors import UserError
from tests.training.folders import make_folder
from training.registry import promote

REMOTE = "memory://folder-test/models"


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return make_folder(tmp_path / "made", "1")


@pytest.fixture
def remote(artifact: Artifact) -> Iterator[str]:
    promote(REMOTE, artifact, Aliases())
    yield REMOTE
    fsspec.filesystem("memory").rm("/folder-test", recursive=True)


@pytest.fixture
def local(artifact: Artifact, tmp_path: Path) -> Path:
    promote(str(tmp_path / "models"), artifact, Aliases())
    return tmp_path / "models"


def test_a_model_asked_for_is_taken_before_the_champion_and_the_champion_before_none(
    local: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "cache"
    assert chosen("mine", str(local), cache) == Path("mine")
    with caplog.at_level(logging.INFO, "smsift.models"):
        assert chosen(None, str(local), cache) == local / "tiny-1"
    assert "champion" in caplog.text
    assert chosen(None, str(tmp_path / "empty"), cache) is None


def test_a_local_champion_is_used_in_place_and_a_remote_one_copied_once(
    local: Path, remote: str, artifact: Artifact, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    assert champion(str(local), cache) == local / "tiny-1"
    assert not cache.exists()
    copied = champion(remote, cache)
    assert copied is not None
    assert load_artifact(copied).digest == artifact.digest
    fsspec.filesystem("memory").rm_file(f"/folder-test/models/tiny-1/{ADAPTER}")
    assert champion(remote, cache) == copied


def test_a_remote_version_that_was_changed_or_is_half_gone_never_reaches_the_cache(
    remote: str, artifact: Artifact, tmp_path: Path
) -> None:
    store, cache = fsspec.filesystem("memory"), tmp_path / "cache"
    path = f"/folder-test/models/tiny-1/{ADAPTER}"
    store.pipe_file(path, b"x" * artifact.manifest.files[ADAPTER].size)
    with pytest.raises(UserError, match=f"{ADAPTER}.*does not match"):
        champion(remote, cache)
    store.rm_file(path)
    with pytest.raises(UserError, match="not in the models folder"):
        champion(remote, cache)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("where", ["local", "remote"])
def test_a_manifest_changed_behind_its_alias_is_refused(where: str, local: Path, remote: str, tmp_path: Path) -> None:
    models = str(local) if where == "local" else remote
    filesystem, root = fsspec.core.url_to_fs(models)
    content = filesystem.cat_file(f"{root}/tiny-1/{MANIFEST}")
    filesystem.pipe_file(f"{root}/tiny-1/{MANIFEST}", content.replace(b'"threshold": 0.5', b'"threshold": 0.6'))
    with pytest.raises(UserError, match="not the one that was promoted"):
        champion(models, tmp_path / "cache")


@pytest.mark.parametrize("folder", ["../made", "/etc", "a/b", "..", "", ".hidden", "a\nb"])
def test_aliases_cannot_lead_out_of_the_models_folder(local: Path, tmp_path: Path, folder: str) -> None:
    aliases = json.loads((local / ALIASES).read_text(encoding="utf-8"))
    aliases["champion"]["folder"] = folder
    (local / ALIASES).write_text(json.dumps(aliases), encoding="utf-8")
    with pytest.raises(UserError, match=rf"{ALIASES}.*champion.folder"):
        champion(str(local), tmp_path / "cache")


def test_a_champion_that_is_gone_is_refused_and_not_replaced_by_another_model(local: Path, tmp_path: Path) -> None:
    shutil.rmtree(local / "tiny-1")
    with pytest.raises(UserError, match=r"tiny-1 is not in the models folder.*rollback"):
        chosen(None, str(local), tmp_path / "cache")


def test_broken_aliases_and_an_unknown_kind_of_address_are_one_sentence(local: Path, tmp_path: Path) -> None:
    (local / ALIASES).write_bytes(b"\x00half")
    with pytest.raises(UserError, match="not valid"):
        champion(str(local), tmp_path / "cache")
    with pytest.raises(UserError, match="cannot be used"):
        champion("bogus://models", tmp_path / "cache")


def test_an_address_that_cannot_be_used_is_told_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ftp://127.*cannot be used") as refusal:
        champion("ftp://someone:secret@127.0.0.1:9/models", tmp_path / "cache")
    assert "secret" not in str(refusal.value)
