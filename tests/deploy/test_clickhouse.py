"""The chDB server as a process: one owner of a folder, and rows that outlive it."""

import socket
import subprocess
import sys
from pathlib import Path

import clickhouse_connect
import pytest
import urllib3

from deploy.local import clickhouse
from deploy.local.clickhouse import start_chdb
from deploy.local.leash import ROOT
from deploy.local.ports import free_port
from deploy.local.waiting import wait_until
from schemas.errors import UserError

TABLE = "CREATE TABLE t (id UInt64) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 100"


def test_rows_and_deduplication_outlive_a_crash_of_the_server(tmp_path: Path) -> None:
    token = {"insert_deduplication_token": "one"}
    port = free_port()
    first = start_chdb(tmp_path, port)
    client = clickhouse_connect.get_client(dsn=first.url)
    client.command(TABLE)
    client.insert("t", [[1], [2]], column_names=["id"], settings=token)
    first.process.kill()
    second = start_chdb(tmp_path, port)
    try:
        assert second.url == first.url
        client.insert("t", [[1], [2]], column_names=["id"], settings=token)
        client.insert("t", [[3]], column_names=["id"], settings={"insert_deduplication_token": "two"})
        assert client.command("SELECT count() FROM t") == 3
    finally:
        second.process.stop()


def test_second_owner_of_a_folder_is_told_in_one_sentence(tmp_path: Path) -> None:
    first = start_chdb(tmp_path)
    try:
        with pytest.raises(
            UserError, match="in use by another chDB process: stop it, or choose another folder"
        ) as error:
            start_chdb(tmp_path)
        assert "\n" not in str(error.value)
        assert clickhouse.answers(first.url)
    finally:
        first.process.stop()
    assert not clickhouse.answers(first.url)


def test_asked_to_end_it_ends_in_order(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "deploy.local.chdb_server", "--path", str(tmp_path / "store"), "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    assert wait_until(lambda: clickhouse.answers(f"http://127.0.0.1:{port}"), 60)
    server.terminate()
    _, said = server.communicate(timeout=30)
    assert (server.returncode, said) == (0, b"")


def test_port_that_is_taken_is_named(tmp_path: Path) -> None:
    first = start_chdb(tmp_path / "first")
    port = int(first.url.rpartition(":")[2])
    try:
        with pytest.raises(UserError, match=f"Port {port}, asked for ClickHouse, cannot be used .*another port"):
            start_chdb(tmp_path / "second", port)
    finally:
        first.process.stop()


def test_engine_thinks_in_utc_wherever_the_machine_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    server = start_chdb(tmp_path)
    try:
        client = clickhouse_connect.get_client(dsn=server.url)
        assert client.command("SELECT timezone()") == "UTC"
    finally:
        server.process.stop()


def test_insert_of_a_sender_that_dies_between_two_rows_stores_nothing(tmp_path: Path) -> None:
    server = start_chdb(tmp_path)
    host, port = server.url.removeprefix("http://").split(":")
    try:
        client = clickhouse_connect.get_client(dsn=server.url)
        client.command(TABLE)
        for head, body in (
            (b"Content-Length: 40", b"INSERT INTO t FORMAT CSV\n1\n2\n"),
            (b"Transfer-Encoding: chunked", b"1d\r\nINSERT INTO t FORMAT CSV\n1\n2\n\r\n"),
        ):
            with socket.create_connection((host, int(port))) as sender:
                sender.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n" + body)
                sender.shutdown(socket.SHUT_WR)
                assert sender.recv(1024) == b""  # the server has seen the end, and answers nothing
        assert client.command("SELECT count() FROM t") == 0
    finally:
        server.process.stop()


def test_web_page_in_a_browser_may_not_query(tmp_path: Path) -> None:
    server = start_chdb(tmp_path)
    try:
        answer = urllib3.request("POST", server.url, body=b"SELECT 1", headers={"Origin": "http://example.com"})
        assert answer.status == 400
        assert b"web pages" in answer.data
    finally:
        server.process.stop()
