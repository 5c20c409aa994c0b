"""The body of an HTTP request, as database clients send it: in chunks, compressed, or as a form."""

import gzip
import sys
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from io import BufferedIOBase, BytesIO


class BodyError(Exception):
    """A body that cannot be understood; the message says what can be."""


def read_body(stream: BufferedIOBase, headers: Message) -> bytes:
    """The whole body, decompressed. Raises BodyError, or ConnectionError where the sender stopped in the middle.

    A body cut short at the border of two rows would pass for a whole one, so its length is always checked.
    """
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        raw = b"".join(_chunks(stream))
    else:
        raw = _exactly(stream, int(headers.get("Content-Length") or 0))
    return _decompress(raw, headers.get("Content-Encoding", "").lower())


def form_fields(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of a multipart form. Raises BodyError for a file among them."""
    form = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields = {}
    for part in form.walk():
        if part.get_filename() is not None:
            raise BodyError("external data is not supported here")
        if name := part.get_param("name", header="content-disposition"):
            fields[str(name)] = bytes(part.get_payload(decode=True) or b"").decode()
    return fields


def _chunks(stream: BufferedIOBase) -> Iterator[bytes]:
    """The pieces of a body in HTTP's chunked encoding, which http.server leaves to its users."""
    while size := _size(stream.readline()):
        yield _exactly(stream, size)
        stream.readline()
    while stream.readline().strip():  # trailers
        pass


def _size(line: bytes) -> int:
    try:
        return int(line.split(b";")[0], 16)
    except ValueError:
        raise ConnectionAbortedError("the body ended between two chunks") from None


def _exactly(stream: BufferedIOBase, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ConnectionAbortedError("the body is shorter than was said")
    return data


def _decompress(data: bytes, encoding: str) -> bytes:
    """The whole of what may be several compressed frames, one after the other: clients send one per block."""
    try:
        if encoding in {"", "identity"}:
            return data
        if encoding == "gzip":
            return gzip.decompress(data)
        if encoding == "lz4":
            import lz4.frame  # type: ignore[import-untyped]

            with lz4.frame.open(BytesIO(data)) as frames:  # lz4.frame.decompress would stop after the first
                return bytes(frames.read())
        if encoding == "zstd" and sys.version_info < (3, 14):
            from backports import zstd

            return zstd.decompress(data)
    except Exception as error:
        raise BodyError(f"the body is not {encoding}: {type(error).__name__}") from error
    raise BodyError(f"the content encoding {encoding!r} is not known here: send gzip, lz4 or zstd")
