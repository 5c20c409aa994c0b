"""The ClickHouse engine of one machine: chDB behind the part of ClickHouse's HTTP interface that its clients use.

`python -m deploy.local.chdb_server --path FOLDER --port N`; the ordinary clickhouse-connect client talks to it.

Each request gets a chDB connection of its own, which costs about 0.1 ms: settings and the current database end with the
request, so one client's deduplication token cannot swallow another's insert, and requests run side by side.

What a server has and this has not: users, passwords, grants and quotas (every client may do all, hence loopback only);
replication and clusters; sessions (`session_id` is ignored, so temporary tables do not last); compressed or streamed
responses (a result is held in memory); external data; progress headers; the readonly mode of GET.
"""

import argparse
import contextlib
import fcntl
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from deploy.local.request_body import BodyError, form_fields, read_body

if TYPE_CHECKING:
    from chdb.state.sqlitelike import Connection

LOOPBACK: Final = "127.0.0.1"
# URL parameters that steer the HTTP transport; all others are settings of the query.
_TRANSPORT: Final = {
    "add_http_cors_header",
    "buffer_size",
    "cancel_http_readonly_queries_on_client_close",
    "client_protocol_version",
    "compress",
    "database",
    "decompress",
    "default_format",
    "enable_http_compression",
    "http_headers_progress_interval_ms",
    "password",
    "query",
    "query_id",
    "quota_key",
    "role",
    "send_progress_in_http_headers",
    "session_check",
    "session_id",
    "session_timeout",
    "stacktrace",
    "user",
    "wait_end_of_query",
}
# INSERT INTO [TABLE] name [(columns)] [SETTINGS …] FORMAT name, and then the data. Quoted names may hold anything.
_INSERT: Final = re.compile(
    rb"""\s*(?P<head>INSERT\s+INTO\s+(?:TABLE\s+)?
        (?:`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*"|[\w.])+
        \s*(?:\((?:`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*"|[^()`"])*\)\s*)?
        (?:SETTINGS\s(?:'(?:[^'\\]|\\.)*'|[^'])*?)?)
        \bFORMAT\s+(?P<format>\w+)[ \t]*(?:\r?\n|;|$)?""",
    re.IGNORECASE | re.VERBOSE,
)
# A semicolon outside quotes and comments with something after it: a server takes one statement at a time.
_SECOND_STATEMENT: Final = re.compile(
    r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|--[^\n]*|/\*.*?\*/|[^;'"`])*+;(?:[\s;]|--[^\n]*|/\*.*?\*/)*+.""",
    re.DOTALL,
)
_RETURNS_ROWS: Final = re.compile(
    r"\s*\(*\s*(SELECT|WITH|SHOW|DESC|DESCRIBE|EXISTS|EXPLAIN|CHECK|VALUES)\b", re.IGNORECASE
)
_ERROR_CODE: Final = re.compile(r"Code: (\d+)\.")
# As a server answers: no such table or database is 404, a query that cannot be understood is 400, all else is 500.
_STATUS: Final = {60: 404, 81: 404, **dict.fromkeys((6, 27, 36, 38, 41, 42, 43, 46, 47, 53, 62, 115, 117), 400)}
_BAD_ARGUMENTS: Final = 36
_SYNTAX_ERROR: Final = 62
_DRAIN_S: Final = 5.0  # for requests in progress at the end; less than the leash's grace


@dataclass(frozen=True, slots=True)
class Result:
    """What the engine returned: `format` is None where the statement returns no rows."""

    body: bytes = b""
    format: str | None = None
    written_rows: int = 0


class RefusedError(Exception):
    """A request that never reaches the engine; `code` is ClickHouse's number for the reason."""

    def __init__(self, message: str, code: int = _BAD_ARGUMENTS) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {message}")


def execute(connect: Callable[[], "Connection"], url_params: dict[str, str], body: bytes) -> Result:
    """Run one request's statement on a connection of its own. Raises RuntimeError with the engine's message."""
    in_url = url_params.get("query", "").encode()
    params = {name.removeprefix("param_"): value for name, value in url_params.items() if name.startswith("param_")}
    connection = connect()
    try:
        if database := url_params.get("database"):
            connection.query(f"USE {_quote(database, '`')}", "TabSeparated")
        settings = {n: v for n, v in url_params.items() if n not in _TRANSPORT and not n.startswith("param_")}
        if settings:
            if wrong := [name for name in settings if not re.fullmatch(r"\w+", name)]:
                raise RefusedError(f"not the name of a setting: {wrong[0]!r}")
            assignments = ", ".join(f"{name} = {_quote(value, chr(39))}" for name, value in settings.items())
            connection.query(f"SET {assignments}", "TabSeparated")  # ends with this connection
        insert = _INSERT.match(in_url or body)
        if insert is not None:
            rest = (in_url or body)[insert.end() :]
            return _insert(connection, insert, rest + body if in_url else rest)
        statement = (in_url + b"\n" + body if in_url and body else in_url or body).decode()
        if not re.match(r"\s*INSERT\b", statement, re.IGNORECASE) and _SECOND_STATEMENT.match(statement):
            raise RefusedError("Syntax error (Multi-statements are not allowed)", _SYNTAX_ERROR)
        output = url_params.get("default_format", "TabSeparated")
        answer = connection.query(statement, output, params=params)
        rows = answer.bytes() or b""
        in_text = re.search(r"\bFORMAT\s+(\w+)[\s;]*$", statement, re.IGNORECASE)
        returned = (in_text[1] if in_text else output) if _RETURNS_ROWS.match(statement) else None
        return Result(rows, returned)
    finally:
        connection.close()


def _insert(connection: "Connection", insert: re.Match[bytes], data: bytes) -> Result:
    """Feed the data to a streaming insert, which stores blocks of about a million rows: less is stored whole or not."""
    with connection.send_insert(insert["head"].decode(), insert["format"].decode()) as stream:
        if data:
            stream.append(data)
        return Result(written_rows=int(stream.finish().rows_written))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and a small body leave in one packet
    server: "ChdbServer"

    def do_GET(self) -> None:
        if urlsplit(self.path).path in {"/ping", "/replicas_status"}:
            self._reply(200, b"Ok.\n")
        else:
            self.do_POST()

    def do_POST(self) -> None:
        try:
            body = read_body(self.rfile, self.headers)
            if "Origin" in self.headers:  # a web page in a browser on this machine; no database client sends it
                raise RefusedError("requests from web pages are refused")
            url_params = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
            content_type = self.headers.get("Content-Type", "")
            if content_type.startswith("multipart/form-data"):  # how clients send many or long parameters
                url_params, body = {**url_params, **form_fields(content_type, body)}, b""
            with self.server.in_progress():
                result = execute(self.server.connect, url_params, body)
        except (RuntimeError, RefusedError, BodyError, UnicodeDecodeError) as error:
            message = str(error) if _ERROR_CODE.search(str(error)) else str(RefusedError(str(error)))
            message = message[message.index("Code: ") :]
            found = _ERROR_CODE.search(message)
            code = int(found[1]) if found else _BAD_ARGUMENTS
            headers = {"X-ClickHouse-Exception-Code": str(code), "Content-Type": "text/plain; charset=UTF-8"}
            self._reply(_STATUS.get(code, 500), message.encode() + b"\n", headers)
            return
        headers = {"X-ClickHouse-Summary": json.dumps({"written_rows": str(result.written_rows)})}
        if result.format is not None:
            headers["X-ClickHouse-Format"] = result.format
        self._reply(200, result.body, headers)

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "X-ClickHouse-Timezone": "UTC",
            **(headers or {}),
            "Content-Length": str(len(body)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing is logged: a query in a URL may hold message text or numbers."""


class ChdbServer(ThreadingHTTPServer):
    """Serves one folder on loopback; `shutdown` ends it. The folder's lock is held by the caller."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: Path, port: int) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self._path = str(path)
        self._busy = 0
        self._idle = threading.Condition()
        self._engine = self.connect()  # the engine lives as long as one connection is open
        self._engine.query("SELECT 1", "TabSeparated")

    def connect(self) -> "Connection":
        from chdb.state.sqlitelike import Connection

        return Connection(self._path)

    @contextlib.contextmanager
    def in_progress(self) -> Iterator[None]:
        """Keep the engine open for one request."""
        with self._idle:
            self._busy += 1
        try:
            yield
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is no error of ours."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Wait for the requests in progress, then close the engine."""
        super().server_close()
        with self._idle:
            if self._idle.wait_for(lambda: self._busy == 0, _DRAIN_S):
                self._engine.close()


def _quote(text: str, mark: str) -> str:
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


def main() -> None:
    parser = argparse.ArgumentParser(prog="deploy.local.chdb_server", description="chDB behind a local HTTP port.")
    parser.add_argument("--path", type=Path, required=True, help="folder of the data")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    arguments = parser.parse_args()
    arguments.path.mkdir(parents=True, exist_ok=True)
    with (arguments.path.parent / f"{arguments.path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.exit(f"{arguments.path} is in use by another chDB process: stop it, or choose another folder.")
        os.environ["TZ"] = "UTC"  # as a server in its image has it; the engine reads it while it is imported
        try:
            server = ChdbServer(arguments.path, arguments.port)
        except OSError as error:
            sys.exit(f"Port {arguments.port} cannot be used: {error.strerror}.")
        # shutdown() waits for the serving loop, so it may not run in the loop's own thread
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            server.serve_forever(poll_interval=0.1)
        finally:
            server.server_close()


if __name__ == "__main__":
    main()
