"""Labelled messages, and the reader of the corpora that people have: files at any address, or a hub data set.

`parse_spec("PATH[:TEXT_COLUMN:LABEL_COLUMN]")` is what every command makes of a corpus it is given; `read_corpus` reads it.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from schemas.corpus_files import HAM_WORDS, SPAM_WORDS, Rows, file_rows, hub_rows
from schemas.errors import UserError
from schemas.events import LONE_SURROGATE, LabelName
from schemas.storage import is_remote, read_bytes, shown

log = logging.getLogger("smsift.corpus")


class Message(NamedTuple):
    """One labelled text; `category` is its kind where the corpus tells it, `form` the template it was drawn from."""

    text: str
    label: LabelName
    category: str | None = None
    form: str | None = None
    country: str | None = None
    """ISO 3166-1 alpha-2."""
    language: str | None = None
    """Code or name as the corpus has it, in lower case."""


@dataclass(frozen=True, slots=True)
class CorpusSpec:
    """What to read, and from which columns; None where the reader shall guess them."""

    spec: str | Path
    """A path, an address with "://", a hub data set (owner/name), or clickhouse:DATE (see training.corpora)."""
    text_column: str | None = None
    label_column: str | None = None

    @property
    def name(self) -> str:
        """How reports call it: the file's name without its ending, the data set's without its owner, or `clickhouse`."""
        return CLICKHOUSE if self.is_clickhouse else PurePosixPath(shown(str(self.spec))).stem

    @property
    def is_clickhouse(self) -> bool:
        return str(self.spec).startswith(f"{CLICKHOUSE}:") and not _is_there(str(self.spec))


class Corpus(NamedTuple):
    """What was read, and how many rows were left out for which reason."""

    messages: list[Message]
    left_out: Mapping[str, int]


CLICKHOUSE: Final = "clickhouse"
# Column names that are taken without being asked for, best first; compared in lower case.
TEXT_COLUMNS: Final = ("text", "message", "msg", "sms", "v2", "sms_text", "message_text", "body", "content")
LABEL_COLUMNS: Final = ("label", "labels", "v1", "class", "target", "is_spam", "spam", "type", "category")

NAMED_KINDS: Final = {"smishing": "smishing", "smish": "smishing", "phishing": "phishing", "scam": "scam"}
CATEGORY_PATTERN: Final = r"[a-z][a-z0-9_]{0,31}"  # as in schemas.events
HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
EXPECTED: Final = "expected spam, ham, smishing, 1 or 0"
FILE_ENDINGS: Final = frozenset({".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".pq"})
# What a column's name looks like, and what in its place says that a file begins with a message.
_NAME: Final = r"[^\W\d][\w.:-]*(?: [\w.:-]+){0,2}"
_NAME_BOTH: Final = "Name both, as in messages.csv:TEXT_COLUMN:LABEL_COLUMN."
_HEADLESS: Final = frozenset({"ham", "smishing"})
# What a conversion leaves of a character that it lost; a text that is mostly that says nothing any more.
_LOST: Final = "\ufffd"
# What rows that nobody has labelled hold in the label's column: -1 is the hub's mark.
_UNLABELLED: Final = frozenset({"", "none", "nan", "null", "-1"})


def parse_spec(given: str) -> CorpusSpec:
    """`PATH[:TEXT_COLUMN:LABEL_COLUMN]`; an empty column is guessed. Raises UserError where only one column is named.

    PATH may itself hold colons: a file that exists under the whole is that file, and in an address only what follows
    the host counts (`s3://bucket/key:msg:class`, `https://host:8080/sms.csv`).
    """
    if not given.strip(":"):
        raise UserError("No corpus is named: write PATH[:TEXT_COLUMN:LABEL_COLUMN].")
    head, path = "", given
    if is_remote(given):
        scheme, separator, rest = given.rpartition("://")
        host, slash, after = rest.partition("/")
        head, path = (f"{scheme}{separator}{host}/", after) if slash else (f"{scheme}{separator}", rest)
    elif _is_there(given) or given.startswith(f"{CLICKHOUSE}:"):
        return CorpusSpec(given)
    place, *columns = path.rsplit(":", 2)
    if not columns:
        return CorpusSpec(given)
    if len(columns) == 1:
        raise UserError(f"{shown(given)} names one column: write PATH:TEXT_COLUMN:LABEL_COLUMN, both or neither.")
    return CorpusSpec(head + place, columns[0] or None, columns[1] or None)


def read_corpus(spec: str | Path, text_column: str | None = None, label_column: str | None = None) -> list[Message]:
    """The messages of a corpus, in its order: what `load_corpus` gives, with a warning in the log about rows left out."""
    messages, left_out = load_corpus(CorpusSpec(spec, text_column, label_column))
    if left_out:
        counts = ", ".join(f"{number} {reason}" for reason, number in sorted(left_out.items()))
        log.warning(
            "%d rows of %s were left out: %s", sum(left_out.values()), PurePosixPath(shown(str(spec))).name, counts
        )
    return messages


def load_corpus(corpus: CorpusSpec, hub_token: str | None = None) -> Corpus:
    """Read a corpus: a local path, any address with "://", or, where no such file exists, a hub data set (owner/name).

    A file may hold the SMS Spam Collection's layout (label, tab, text; no header), CSV, TSV, JSON Lines, a JSON list or
    Parquet. Columns are guessed unless named. Labels: spam, ham, 1, 0, smishing (spam, with its kind kept), in any case.
    Columns named category, form, country and language are kept. Rows without text or label, or whose characters are
    mostly lost, are left out and counted (`empty`, `unlabelled`, `unreadable`). Raises UserError for anything that cannot be read.
    """
    spec = str(corpus.spec)
    path = Path(spec)
    if corpus.is_clickhouse:
        raise UserError(f"{spec} is read by training and evaluation only: give a file here.")
    if is_remote(spec):
        name = PurePosixPath(shown(spec)).name
        rows = file_rows(name, read_bytes(spec))
    elif _is_there(spec) and path.is_dir():
        raise UserError(f"{path.name} is a folder; name one corpus file in it.")
    elif _is_there(spec):
        name, rows = path.name, file_rows(path.name, read_bytes(spec))
    elif _is_hub_id(spec):
        name, rows = spec, hub_rows(spec, hub_token)
    else:
        raise UserError(
            f"There is no corpus {spec[:200]}: give a file (CSV, TSV, JSONL, Parquet), an address such as s3://bucket/sms.csv, "
            "or a data set id owner/name."
        )
    return _messages(name, rows, corpus.text_column, corpus.label_column)


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # longer than a name may be, say
        return False


def _is_hub_id(spec: str) -> bool:
    return bool(HUB_ID.fullmatch(spec)) and PurePosixPath(spec).suffix.lower() not in FILE_ENDINGS


def _messages(name: str, rows: Rows, text_column: str | None, label_column: str | None) -> Corpus:
    text_name = _column(name, "text", rows.columns, text_column, TEXT_COLUMNS)
    label_name = _column(name, "label", rows.columns, label_column, LABEL_COLUMNS)
    messages: list[Message] = []
    left_out: Counter[str] = Counter()
    words: Counter[str] = Counter()
    unknown_row = None
    for number, row in rows.numbered:
        value = row.get(text_name)
        # Half an emoji, as some exports hold it, cannot be encoded: it becomes the replacement character.
        text = (
            ""
            if value is None or (isinstance(value, float) and isnan(value))
            else LONE_SURROGATE.sub(_LOST, str(value))
        )
        if not text.strip():
            left_out["empty"] += 1
            continue
        word = _word(row.get(label_name))
        if word in _UNLABELLED:
            left_out["unlabelled"] += 1
            continue
        words[word] += 1
        if word not in SPAM_WORDS | HAM_WORDS:
            unknown_row = unknown_row or number
            continue
        if text.count(_LOST) > len("".join(text.split())) / 2:
            left_out["unreadable"] += 1
            continue
        kind = _kind(row.get("category")) if label_name != "category" else None
        messages.append(
            Message(
                text,
                "spam" if word in SPAM_WORDS else "ham",
                kind or NAMED_KINDS.get(word),
                str(row["form"]) if row.get("form") else None,
                _matching(r"[A-Z]{2}", str(row.get("country") or "").strip().upper()),
                _matching(r"[a-z][a-z-]{1,31}", _word(row.get("language") or "")),
            )
        )
    if unknown_row is not None:
        raise UserError(f"{name}, row {unknown_row}: {_what_is_wrong(label_name, words)}")
    if not messages:
        raise UserError(f"{name} holds no labelled messages.")
    return Corpus(messages, dict(left_out))


def _what_is_wrong(column: str, words: Counter[str]) -> str:
    """About a column that holds something else than labels.

    With the wrong column, its values are somebody's messages. Only a few short words that most rows share are labels
    beyond doubt and may be shown; anything else is only described.
    """
    unknown = {word: number for word, number in words.items() if word not in SPAM_WORDS | HAM_WORDS}
    said = f"column {column!r} holds no label ({EXPECTED})"
    few = len(words) <= 10 and all(number >= 5 for number in words.values())
    if few and all(re.fullmatch(r"[a-z_-]{1,16}", word) for word in unknown):
        named = ", ".join(f"{word} ({number} rows)" for word, number in sorted(unknown.items()))
        return f"{said} but also {named}; write spam or ham in their place, or leave those rows out."
    return (
        f"{said}; {len(unknown)} values of it, up to {max(map(len, unknown))} characters long, are none: "
        "name the right column (PATH:TEXT_COLUMN:LABEL_COLUMN), or write spam or ham in their place."
    )


def _kind(value: object) -> str | None:
    """A category that the contract of events can carry, or None."""
    return _matching(CATEGORY_PATTERN, _word(value or "").replace(" ", "_").replace("-", "_"))


def _matching(pattern: str, word: str) -> str | None:
    return word if re.fullmatch(pattern, word) else None


def _word(value: object) -> str:
    return str(value).strip().lower()


def _column(name: str, role: str, columns: Sequence[str], wanted: str | None, guesses: Sequence[str]) -> str:
    """The column for `role`: the wanted one, or the best guess. UserError names the columns there are."""
    if wanted is not None:
        if wanted in columns:
            return wanted
        raise _missing(name, f"has no column {wanted!r}", columns, "")
    by_name = {column.strip().lower(): column for column in reversed(columns)}
    for guess in guesses:
        if guess in by_name:
            return by_name[guess]
    raise _missing(name, f"has no column that looks like the {role}", columns, f" {_NAME_BOTH}")


def _missing(name: str, what: str, columns: Sequence[str], advice: str) -> UserError:
    """A file without a line of names has its first message in their place: nothing that looks like one is shown."""
    if any(_word(column) in _HEADLESS for column in columns):
        return UserError(f"{name} begins with a message: write a line with the names of its columns above it.")
    named = (column if re.fullmatch(_NAME, column) else f"one of {len(column)} characters" for column in columns)
    return UserError(f"{name} {what}; its columns are: {', '.join(named) or 'none'}.{advice}")
