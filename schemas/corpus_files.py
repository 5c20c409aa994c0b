"""The layouts that labelled data comes in, as rows: the SMS Spam Collection's, CSV, TSV, JSON, Parquet, a hub data set."""

import csv
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO, StringIO
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from schemas.errors import UserError

log = logging.getLogger("smsift.corpus")

SPAM_WORDS: Final = frozenset({"spam", "1", "1.0", "true", "yes", "junk", "smishing", "smish", "phishing", "scam"})
HAM_WORDS: Final = frozenset(
    {"ham", "0", "0.0", "false", "no", "legit", "legitimate", "normal", "not spam", "not_spam"}
)


class Rows(NamedTuple):
    """The columns there are, and the rows with the number to name each by (line or row, from 1)."""

    columns: Sequence[str]
    numbered: Iterable[tuple[int, Mapping[str, Any]]]


def file_rows(name: str, raw: bytes) -> Rows:
    """The rows of a file with this name and content. Raises UserError where it is empty, or no layout fits."""
    ending = PurePosixPath(name).suffix.lower()
    if not raw.strip():
        raise UserError(f"{name} is empty.")
    if ending in {".parquet", ".pq"}:
        return _parquet_rows(name, raw)
    content = _decoded(name, raw)
    if ending in {".jsonl", ".ndjson", ".json"}:
        return _json_rows(name, content)
    first, tab, _ = content.partition("\n")[0].partition("\t")
    if tab and first.strip().lower() in SPAM_WORDS | HAM_WORDS:
        return _collection_rows(content)
    return _table_rows(name, ending, content)


def _decoded(name: str, raw: bytes) -> str:
    """The file as text: UTF-8, UTF-16 with its mark, or else Windows-1252, as older copies of corpora are.

    Copies that were put together from several sources change the encoding from line to line, so each line counts for
    itself: a single old one would otherwise garble all the others.
    """
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            content = raw.decode("utf-16")
        except UnicodeDecodeError:
            raise _wrong_encoding(name) from None
    else:
        try:
            content = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            content = _line_by_line(name, raw.removeprefix(b"\xef\xbb\xbf"))
    if "\0" in content:
        raise UserError(f"{name} holds NUL characters, so it is not a text file; is it compressed or binary?")
    return content


def _line_by_line(name: str, raw: bytes) -> str:
    lines, older = [], 0
    for line in raw.split(b"\n"):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            older += 1
            try:
                lines.append(line.decode("cp1252"))
            except UnicodeDecodeError:
                raise _wrong_encoding(name) from None
    log.warning("%d lines of %s are not UTF-8 and were read as Windows-1252", older, name)
    return "\n".join(lines)


def _wrong_encoding(name: str) -> UserError:
    return UserError(f"{name} is neither UTF-8, UTF-16 nor Windows-1252; convert it to UTF-8.")


def _collection_rows(content: str) -> Rows:
    def numbered() -> Iterator[tuple[int, Mapping[str, Any]]]:
        # Only line feeds end a line here: texts hold other characters that str.splitlines would split at.
        for number, line in enumerate(content.split("\n"), 1):
            if line.strip():
                label, _, text = line.rstrip("\r").partition("\t")
                yield number, {"label": label, "text": text}

    return Rows(("label", "text"), numbered())


def _table_rows(name: str, ending: str, content: str) -> Rows:
    header = content.partition("\n")[0]
    delimiter = "\t" if ending == ".tsv" or header.count("\t") > header.count(",") else ","
    if delimiter == "," and header.count(";") > header.count(","):
        delimiter = ";"
    quoting: Any = csv.QUOTE_MINIMAL if delimiter != "\t" or _is_quoted(content) else csv.QUOTE_NONE
    reader = csv.DictReader(StringIO(content, newline=""), delimiter=delimiter, quoting=quoting)

    def numbered() -> Iterator[tuple[int, Mapping[str, Any]]]:
        try:
            for row in reader:
                yield reader.line_num, row
        except csv.Error as error:
            raise UserError(f"{name}, line {reader.line_num + 1}: {error}.") from error

    return Rows(tuple(column for column in reader.fieldnames or () if column.strip()), numbered())


def _is_quoted(content: str) -> bool:
    """Whether quotation marks in a tab-separated file enclose texts, or are part of them as in the SMS Spam Collection.

    Taken for enclosing where they are not, the first text that begins with one swallows rows up to the next such mark.
    """
    try:
        rows = csv.reader(StringIO(content, newline=""), delimiter="\t", strict=True)
        return not any("\t" in field and "\n" in field for row in rows for field in row)
    except csv.Error:
        return False


def _json_rows(name: str, content: str) -> Rows:
    """JSON Lines, or one list of objects. The columns are those of the first object."""
    rows: list[tuple[int, Mapping[str, Any]]] = []
    if content.lstrip().startswith("["):
        found = enumerate(_json_value(name, 1, content), 1)
    else:
        lines = ((n, line) for n, line in enumerate(content.split("\n"), 1) if line.strip())
        found = ((number, _json_value(name, number, line)) for number, line in lines)  # type: ignore[assignment]
    for number, row in found:
        if not isinstance(row, dict):
            raise UserError(f"{name}, row {number}: not a JSON object.")
        rows.append((number, row))
    return Rows(tuple(rows[0][1]) if rows else (), rows)


def _json_value(name: str, number: int, content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise UserError(f"{name}, line {number}: not valid JSON.") from error


def _parquet_rows(name: str, raw: bytes) -> Rows:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(BytesIO(raw))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{name} is not a Parquet file that can be read.") from error
    return Rows(tuple(table.column_names), enumerate(table.to_pylist(), 1))


def hub_rows(name: str, token: str | None = None) -> Rows:
    """All splits of a hub data set, one after the other; numbered labels become their names."""
    try:
        import datasets
    except ImportError as error:
        raise UserError("Reading a hub data set needs the package 'datasets': install smsift[train].") from error
    try:
        splits = datasets.load_dataset(name, **({"token": token} if token else {}))
    except Exception as error:  # the hub, its cache and the network fail with a dozen unrelated types
        raise UserError(
            f"Cannot load the data set {name} ({type(error).__name__}): check its name and the network, or give a file."
        ) from error
    parts = list(splits.values())
    if not parts:
        raise UserError(f"The data set {name} has no splits.")
    classes = {c: f.names for c, f in parts[0].features.items() if isinstance(f, datasets.ClassLabel)}

    def numbered() -> Iterator[tuple[int, Mapping[str, Any]]]:
        number = 0
        for part in parts:
            for row in part:
                number += 1
                # A row without a label has the number -1.
                yield number, row | {c: names[row[c]] for c, names in classes.items() if row[c] not in (None, -1)}

    return Rows(tuple(parts[0].column_names), numbered())
