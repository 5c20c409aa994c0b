"""Addresses: what is read and written there, and what is said where that fails."""

import functools
import http.server
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from schemas import storage
from schemas.corpus import Message, parse_spec, read_corpus
from schemas.errors import UserError


@pytest.fixture(params=["folder", "memory", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield {"folder": str(tmp_path), "memory": "memory://place", "file": f"file://{tmp_path}"}[request.param]
    if request.param == "memory":
        fsspec.filesystem("memory").rm("/place", recursive=True)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A server of the files in tmp_path on the loopback interface."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_what_is_written_is_read_and_replaced_whole(place: str) -> None:
    address = storage.join(place, "a", "b.bin")
    assert not storage.exists(address)
    assert storage.names_in(storage.join(place, "a")) == []
    storage.write_bytes(address, b"first, and longer")
    storage.write_bytes(address, b"second")
    assert storage.read_bytes(address) == b"second"
    assert storage.names_in(storage.join(place, "a")) == ["b.bin"]
    assert storage.names_in(place) == ["a"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "kept")
    storage.write_bytes(address, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        storage.write_bytes(address, b"new")
    assert storage.names_in(str(tmp_path)) == ["kept"]
    assert storage.read_bytes(address) == b"old"


def test_a_remote_write_that_fails_leaves_no_file_under_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ConnectionResetError("the line is cut")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "mv", broken)
    with pytest.raises(UserError, match="Cannot write memory://cut/a"):
        storage.write_bytes("memory://cut/a", b"new")
    assert storage.names_in("memory://cut") == []


def test_corpora_are_read_over_http_and_other_protocols(web: str, tmp_path: Path) -> None:
    (tmp_path / "sms.csv").write_text("id,msg text,kind\n1,win cash,spam\n2,see you,ham\n")
    both = [Message("win cash", "spam"), Message("see you", "ham")]
    spec = parse_spec(f"{web}/sms.csv:msg text:kind")
    assert read_corpus(spec.spec, spec.text_column, spec.label_column) == both
    storage.write_bytes("memory://read/SMSSpamCollection", b"spam\twin cash\nham\tsee you\n")
    assert read_corpus("memory://read/SMSSpamCollection") == both
    with pytest.raises(UserError, match=r"There is no http://127.*/nothing\.csv"):
        read_corpus(f"{web}/nothing.csv")


def test_a_protocol_whose_package_is_missing_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for protocol, package in (("s3", "s3fs"), ("gs", "gcsfs"), ("abfs", "adlfs"), ("sftp", "paramiko")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(UserError, match=rf"{protocol}:// addresses need the package {package}: install it"):
            storage.read_bytes(f"{protocol}://bucket/sms.csv")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UserError, match=r"need the package fsspec: install smsift\[train\]"):
        storage.read_bytes("memory://a")


def test_an_unknown_protocol_a_missing_file_and_a_refused_connection_are_sentences(tmp_path: Path) -> None:
    for address, said in (
        ("gopher://host/a.csv", "Nothing is known of gopher://"),
        ("memory://not/there.csv", "There is no memory://not/there.csv"),
        (str(tmp_path / "no"), "There is no "),
        (str(tmp_path), "Cannot read "),
        ("hdfs://127.0.0.1:9/a.csv", "webhdfs needs neither"),
        ("http://127.0.0.1:9/a.csv", "Cannot read http://127.0.0.1:9/a.csv"),
    ):
        with pytest.raises(UserError, match=said) as refusal:
            storage.read_bytes(address)
        assert "\n" not in str(refusal.value)


def test_errors_show_no_password_and_no_signature() -> None:
    address = "http://user:secret@127.0.0.1:9/a.csv?X-Amz-Signature=abc"
    with pytest.raises(UserError) as refusal:
        storage.read_bytes(address)
    assert "secret" not in str(refusal.value)
    assert "Signature" not in str(refusal.value)
    assert storage.shown(address) == "http://127.0.0.1:9/a.csv"
    assert storage.shown("https://user:p@ss@host/a@b.csv") == "https://host/a@b.csv"
