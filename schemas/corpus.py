"""Labelled messages, and the reader of the corpora that people have: files of several layouts, or a hub data set."""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Final, NamedTuple

from schemas.errors import UserError
from schemas.events import LONE_SURROGATE, LabelName

log = logging.getLogger(__name__)


class Message(NamedTuple):
    """One labelled text; `category` is its kind where the corpus tells it, `form` the template it was drawn from."""

    text: str
    label: LabelName
    category: str | None = None
    form: str | None = None


# Column names that are taken without being asked for, best first; compared in lower case.
TEXT_COLUMNS: Final = ("text", "message", "msg", "sms", "v2", "sms_text", "message_text", "body", "content")
LABEL_COLUMNS: Final = ("label", "labels", "v1", "class", "target", "is_spam", "spam", "type", "category")

SPAM_WORDS: Final = frozenset({"spam", "1", "1.0", "true", "yes", "junk", "smishing", "smish", "phishing", "scam"})
HAM_WORDS: Final = frozenset(
    {"ham", "0", "0.0", "false", "no", "legit", "legitimate", "normal", "not spam", "not_spam"}
)
NAMED_KINDS: Final = {"smishing": "smishing", "smish": "smishing", "phishing": "phishing", "scam": "scam"}
CATEGORY_PATTERN: Final = r"[a-z][a-z0-9_]{0,31}"  # as in schemas.events
HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
EXPECTED: Final = "expected spam, ham, smishing, 1 or 0"


def read_corpus(spec: str | Path, text_column: str | None = None, label_column: str | None = None) -> list[Message]:
    """The messages of a corpus, in its order.

    `spec` is a path or, where no such file exists, a hub data set id (owner/name). A path may hold the SMS Spam
    Collection's layout (label, tab, text; no header), CSV, TSV, JSON Lines, a JSON list or Parquet. Columns are guessed
    unless named. Labels: spam, ham, 1, 0, smishing (spam, with its kind kept), in any case. Columns named
    category and form are kept. Rows without text are left out, and the log says how many. Raises UserError for anything
    that cannot be read.
    """
    path = Path(spec)
    if path.is_dir():
        raise UserError(f"{path.name} is a folder; name one corpus file in it.")
    if path.is_file():
        name, rows = path.name, _file_rows(path, text_column, label_column)
    elif HUB_ID.fullmatch(str(spec)) and not path.suffix:
        name, rows = str(spec), _hub_rows(str(spec))
    else:
        raise UserError(
            f"There is no corpus {spec}: give a file (CSV, TSV, JSONL, Parquet) or a data set id owner/name."
        )
    return _messages(name, rows, text_column, label_column)


class Rows(NamedTuple):
    """The columns there are, and the rows with the number to name each by (line or row, from 1)."""

    columns: Sequence[str]
    numbered: Iterable[tuple[int, Mapping[str, Any]]]


def _messages(name: str, rows: Rows, text_column: str | None, label_column: str | None) -> list[Message]:
    text_name = _column(name, "text", rows.columns, text_column, TEXT_COLUMNS)
    label_name = _column(name, "label", rows.columns, label_column, LABEL_COLUMNS)
    messages, blank = [], 0
    for number, row in rows.numbered:
        value = row.get(text_name)
        # Half an emoji, as some exports hold it, cannot be encoded: it becomes the replacement character.
        text = "" if value is None else LONE_SURROGATE.sub("\ufffd", str(value))
        if not text.strip():
            blank += 1
            continue
        word = _word(row.get(label_name))
        category = _kind(row.get("category")) if label_name != "category" else None
        form = str(row["form"]) if row.get("form") else None
        if word in SPAM_WORDS:
            messages.append(Message(text, "spam", category or NAMED_KINDS.get(word), form))
        elif word in HAM_WORDS:
            messages.append(Message(text, "ham", category, form))
        else:
            # The value itself is not shown: with the wrong column it would be somebody's message.
            raise UserError(f"{name}, row {number}: column {label_name!r} holds no label ({EXPECTED}).")
    if blank:
        log.warning("%d rows of %s have no text and were left out", blank, name)
    if not messages:
        raise UserError(f"{name} holds no labelled messages.")
    return messages


def _kind(value: object) -> str | None:
    """A category that the contract of events can carry, or None."""
    word = _word(value).replace(" ", "_").replace("-", "_")
    return word if value is not None and re.fullmatch(CATEGORY_PATTERN, word) else None


def _word(value: object) -> str:
    return str(value).strip().lower()


def _column(name: str, role: str, columns: Sequence[str], wanted: str | None, guesses: Sequence[str]) -> str:
    """The column for `role`: the wanted one, or the best guess. UserError names the columns there are."""
    there = ", ".join(columns) or "none"
    if wanted is not None:
        if wanted in columns:
            return wanted
        raise UserError(f"{name} has no column {wanted!r}; its columns are: {there}.")
    by_name = {column.strip().lower(): column for column in reversed(columns)}
    for guess in guesses:
        if guess in by_name:
            return by_name[guess]
    raise UserError(f"{name} has no column that looks like the {role}; its columns are: {there}. Name it.")


def _file_rows(path: Path, text_column: str | None, label_column: str | None) -> Rows:
    if path.suffix.lower() in {".parquet", ".pq"}:
        return _parquet_rows(path)
    content = _decoded(path)
    if not content.strip():
        raise UserError(f"{path.name} is empty.")
    if path.suffix.lower() in {".jsonl", ".ndjson", ".json"}:
        return _json_rows(path.name, content)
    first, tab, _ = content.partition("\n")[0].partition("\t")
    if tab and _word(first) in SPAM_WORDS | HAM_WORDS:
        return _collection_rows(path.name, content, text_column, label_column)
    return _table_rows(path, content)


def _decoded(path: Path) -> str:
    """The file as text: UTF-8, UTF-16 with its mark, or else Windows-1252, as older copies of corpora are."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path.name}: {error.strerror}.") from error
    encodings = ("utf-16",) if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252")
    for encoding in encodings:
        try:
            content = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in content:
            raise UserError(f"{path.name} holds NUL characters, so it is not a text file; is it compressed or binary?")
        if encoding == "cp1252":
            log.warning("%s is not UTF-8; it was read as Windows-1252", path.name)
        return content
    raise UserError(f"{path.name} is neither UTF-8, UTF-16 nor Windows-1252; convert it to UTF-8.")


def _collection_rows(name: str, content: str, text_column: str | None, label_column: str | None) -> Rows:
    for wanted in (text_column, label_column):
        if wanted not in (None, "text", "label"):
            raise UserError(f"{name} has no column {wanted!r}; it has no header, its columns are: label, text.")

    def numbered() -> Iterator[tuple[int, Mapping[str, Any]]]:
        # Only line feeds end a line here: texts hold other characters that str.splitlines would split at.
        for number, line in enumerate(content.split("\n"), 1):
            if line.strip():
                label, _, text = line.rstrip("\r").partition("\t")
                yield number, {"label": label, "text": text}

    return Rows(("label", "text"), numbered())


def _table_rows(path: Path, content: str) -> Rows:
    header = content.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" or header.count("\t") > header.count(",") else ","
    if delimiter == "," and header.count(";") > header.count(","):
        delimiter = ";"
    reader = csv.DictReader(StringIO(content, newline=""), delimiter=delimiter)

    def numbered() -> Iterator[tuple[int, Mapping[str, Any]]]:
        try:
            for row in reader:
                yield reader.line_num, row
        except csv.Error as error:
            raise UserError(f"{path.name}, line {reader.line_num + 1}: {error}.") from error

    return Rows(tuple(column for column in reader.fieldnames or () if column.strip()), numbered())


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


def _parquet_rows(path: Path) -> Rows:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path.name} is not a Parquet file that can be read.") from error
    return Rows(tuple(table.column_names), enumerate(table.to_pylist(), 1))


def _hub_rows(name: str) -> Rows:
    """All splits of a hub data set, one after the other; numbered labels become their names."""
    try:
        import datasets
    except ImportError as error:
        raise UserError("Reading a hub data set needs the package 'datasets': install smsift[train].") from error
    try:
        splits = datasets.load_dataset(name)
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
                # -1 is the hub's mark for a row without a label.
                yield number, row | {c: names[row[c]] for c, names in classes.items() if row[c] not in (None, -1)}

    return Rows(tuple(parts[0].column_names), numbered())
