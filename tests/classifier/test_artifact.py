"""A model folder vouches for every byte that is read from it."""

import json
import shutil
from pathlib import Path

import httpx
import pytest
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

from consumer.classifier import artifact as artifact_module
from consumer.classifier import load
from consumer.classifier.artifact import (
    ADAPTER,
    MANIFEST,
    TOKENIZER,
    Artifact,
    Base,
    File,
    Manifest,
    load_artifact,
    save,
)
from consumer.classifier.base import MINILM, WEIGHTS, find_base
from schemas.errors import UserError


@pytest.fixture
def folder(tiny_model: Artifact, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model.folder, tmp_path / "copy"))


def change_manifest(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def test_one_flipped_byte_is_found_and_the_file_named(folder: Path, tiny_model: Artifact) -> None:
    for name in tiny_model.manifest.files:
        path = folder / name
        intact = path.read_bytes()
        path.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
        with pytest.raises(UserError, match=name):
            load_artifact(folder)
        path.write_bytes(intact)
    assert load_artifact(folder).digest == tiny_model.digest


def test_a_file_changed_after_loading_is_found_when_it_is_read(folder: Path) -> None:
    artifact = load_artifact(folder)
    (folder / TOKENIZER).write_bytes(b"{}")
    with pytest.raises(UserError, match=TOKENIZER):
        artifact.read(TOKENIZER)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "..", MANIFEST, ""])
def test_a_manifest_cannot_name_files_outside_its_folder(folder: Path, name: str) -> None:
    listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    change_manifest(folder, files={**listed, name: {"sha256": "0" * 64, "size": 1}})
    with pytest.raises(UserError, match="inside the folder"):
        load_artifact(folder)


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.move(folder / ADAPTER, outside)
    (folder / ADAPTER).symlink_to(outside)
    with pytest.raises(UserError, match="out of the folder"):
        load_artifact(folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"threshold": 2}, "threshold"),
        ({"labels": ["ham"]}, "labels"),
        ({"format": 2}, "format"),
        ({"architecture": "unknown"}, "architecture"),
        ({"files": {}}, "files must list"),
        ({"review": {"low": 0.99, "high": 1.0}}, "review band"),
        ({"calibration": {"a": -1, "b": 0}}, "calibration"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_one_sentence(
    folder: Path, changes: dict[str, object], sentence: str
) -> None:
    change_manifest(folder, **{"threshold": 0.5, "review": {"low": 0.4, "high": 0.6}, **changes})
    with pytest.raises(UserError, match=sentence):
        load_artifact(folder)


def test_a_missing_folder_a_missing_file_and_a_broken_manifest_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no readable manifest"):
        load_artifact(tmp_path / "nowhere")
    (folder / ADAPTER).unlink()
    with pytest.raises(UserError, match=f"lacks {ADAPTER}"):
        load_artifact(folder)
    (folder / MANIFEST).write_bytes(b"\x00" * 100)
    with pytest.raises(UserError, match="not a valid manifest"):
        load_artifact(folder)


def test_files_that_the_manifest_does_not_list_are_ignored(folder: Path, tiny_model: Artifact) -> None:
    (folder / "payload.pkl").write_bytes(b"cos\nsystem\n")
    assert load_artifact(folder).manifest == tiny_model.manifest


def test_a_failed_save_leaves_nothing_behind(tiny_model: Artifact, tmp_path: Path) -> None:
    def manifest(files: dict[str, File]) -> Manifest:
        return tiny_model.manifest.model_copy(update={"files": files})

    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="Cannot write the model"):
        save(tmp_path / "file" / "model", {ADAPTER: b"x"}, manifest)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("kept")
    with pytest.raises(UserError, match="not empty"):
        save(tmp_path / "full", {ADAPTER: b"x"}, manifest)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full"]


def test_a_disk_that_fills_up_while_saving_leaves_no_model(
    tiny_model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = artifact_module._write_durably
    files = {name: tiny_model.read(name) for name in tiny_model.manifest.files}
    for room in range(len(files) + 1):
        written: list[Path] = []

        def full(path: Path, data: bytes, room: int = room, written: list[Path] = written) -> None:
            if len(written) == room:
                path.write_bytes(data[: len(data) // 2])
                raise OSError(28, "No space left on device")
            written.append(path)
            write(path, data)

        monkeypatch.setattr(artifact_module, "_write_durably", full)
        with pytest.raises(UserError, match="No space left"):
            save(tmp_path / "model", files, lambda listed: tiny_model.manifest.model_copy(update={"files": listed}))
        assert list(tmp_path.iterdir()) == []


def test_a_gated_base_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def gated(*_: object, token: str | None, local_files_only: bool, **__: object) -> str:
        asked.append(token)
        if local_files_only:
            raise LocalEntryNotFoundError("not there")
        raise GatedRepoError("gated", response=httpx.Response(403, request=httpx.Request("GET", "https://hub.test")))

    monkeypatch.setattr("huggingface_hub.snapshot_download", gated)
    with pytest.raises(UserError, match=r"maker/model is gated: accept its terms .*SMSIFT_HUB_TOKEN"):
        find_base(Base(id="maker/model"), token="secret")
    assert asked == ["secret", "secret"]


def test_a_base_without_a_digest_is_taken_as_it_is(tiny_base: Path) -> None:
    assert find_base(Base(id="tiny/base"), str(tiny_base)) == tiny_base


def test_an_adapter_without_its_bases_digest_is_refused(folder: Path) -> None:
    change_manifest(folder, base={"id": "tiny/base"})
    with pytest.raises(UserError, match="needs the digest of its base"):
        load_artifact(folder)


def test_another_base_is_refused(tiny_model: Artifact) -> None:
    with pytest.raises(UserError, match="not the base"):
        load(tiny_model.folder, base=str(find_base(MINILM)))


def test_a_base_that_is_nowhere_names_the_ways_to_get_it(tiny_model: Artifact) -> None:
    unknown = tiny_model.manifest.base.model_copy(update={"id": "not a hub id", "package": "no-such-package"})
    with pytest.raises(UserError, match=r"SMSIFT_BASE.*no-such-package.*hub"):
        find_base(unknown)


def test_the_installed_package_serves_where_there_is_no_hub() -> None:
    assert (find_base(MINILM) / WEIGHTS).is_file()


def test_a_device_that_is_not_there_is_one_sentence(tiny_model: Artifact, tiny_base: Path) -> None:
    for device in ("cuda:99", "abacus", "meta"):
        with pytest.raises(UserError, match="device"):
            load(tiny_model.folder, base=str(tiny_base), device=device)
