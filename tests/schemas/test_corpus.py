"""Corpora of one's own: the layouts that are read, and the sentence for those that are not."""

import json
import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from producer_sim.corpus import generate
from schemas.corpus import CorpusSpec, Message, load_corpus, parse_spec, read_corpus
from schemas.errors import UserError

BOTH = [Message("Win cash, now", "spam"), Message("see you at 5", "ham")]


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture(autouse=True)
def _heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test may have sent smsift's logs elsewhere."""
    monkeypatch.setattr(logging.getLogger("smsift"), "propagate", True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("SMSSpamCollection", "spam\tWin cash, now\nham\tsee you at 5\n"),
        ("collection.txt", "SPAM\tWin cash, now\r\nHam\tsee you at 5\r\n"),
        ("collection.tsv", "spam\tWin cash, now\nham\tsee you at 5"),
        ("a.csv", 'Label,Msg\nspam,"Win cash, now"\nham,see you at 5\n'),
        ("b.csv", 'v1,v2,,,\nspam,"Win cash, now",,,\nham,see you at 5,,,\n'),
        ("c.csv", 'message;class\n"Win cash, now";1\nsee you at 5;0\n'),
        ("bom.csv", '\ufefftext,target\n"Win cash, now",True\nsee you at 5,False\n'),
        ("d.tsv", "sms\tlabel\nWin cash, now\tspam\nsee you at 5\tham\n"),
        ("e.jsonl", '{"text":"Win cash, now","label":"Spam"}\n\n{"text":"see you at 5","label":0}\n'),
        ("f.json", '[{"text":"Win cash, now","label":1},{"text":"see you at 5","label":"ham"}]'),
    ],
)
def test_known_layouts_are_read_without_naming_a_column(tmp_path: Path, name: str, content: str) -> None:
    assert read_corpus(written(tmp_path, name, content)) == BOTH


def test_parquet_is_read(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"Text": [m.text for m in BOTH], "label": [1, 0], "id": [7, 8]}), tmp_path / "corpus.parquet"
    )
    assert read_corpus(tmp_path / "corpus.parquet") == BOTH


def test_named_columns_win_over_guessed_ones(tmp_path: Path) -> None:
    path = written(tmp_path, "c.csv", 'text,label,clean,gold\nx,ham,"Win cash, now",spam\ny,spam,see you at 5,ham\n')
    assert read_corpus(path, "clean", "gold") == BOTH


def test_smishing_is_spam_that_keeps_its_kind(tmp_path: Path) -> None:
    path = written(tmp_path, "c.csv", "text,label\nyour parcel waits,Smishing\n")
    assert read_corpus(path) == [Message("your parcel waits", "spam", "smishing")]


def test_draws_written_to_a_file_come_back_whole(tmp_path: Path) -> None:
    drawn = list(generate(1, 500))
    path = written(tmp_path, "c.jsonl", "\n".join(json.dumps(message._asdict()) for message in drawn))
    assert read_corpus(path) == drawn


def test_a_category_that_no_event_can_carry_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "c.csv", "text,label,category\na,ham,Order Update\nb,spam,42!\nc,spam,\n")
    assert [message.category for message in read_corpus(path)] == ["order_update", None, None]


def test_line_breaks_and_separators_inside_a_text_stay_in_it(tmp_path: Path) -> None:
    lines = written(tmp_path, "c.csv", 'text,label\n"two\nlines",ham\n')
    assert read_corpus(lines)[0].text == "two\nlines"
    odd = written(tmp_path, "SMS", "ham\tone\u2028still one\x85\tyes\n")
    assert read_corpus(odd)[0].text == "one\u2028still one\x85\tyes"


def test_older_encodings_are_read(tmp_path: Path) -> None:
    expected = [Message("won £1000", "spam")]
    assert read_corpus(written(tmp_path, "w.csv", "v1,v2\nspam,won £1000\n".encode("cp1252"))) == expected
    assert read_corpus(written(tmp_path, "u.csv", "v1,v2\nspam,won £1000\n".encode("utf-16"))) == expected


def test_half_an_emoji_in_a_text_does_not_break_encoding_later(tmp_path: Path) -> None:
    path = written(tmp_path, "c.jsonl", r'{"text":"hi \ud83d","label":"ham"}')
    assert read_corpus(path)[0].text.encode() == "hi \ufffd".encode()


def test_rows_without_text_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path, "c.csv", "text,label\n,spam\n  ,ham\nok,ham\n")
    assert read_corpus(path) == [Message("ok", "ham")]
    assert "2 rows" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("c.csv", "id,body_text,kind\n1,x,spam\n", "looks like the text; its columns are: id, body_text, kind"),
        (
            "c.csv",
            "id,text\n1,x\n",
            "looks like the label; its columns are: id, text. Name both, as in messages.csv:TEXT",
        ),
        ("c.csv", "text,label\nx,spam\ny,maybe\n", "row 3: column 'label' holds no label"),
        ("c.csv", "", "is empty"),
        ("c.csv", "text,label\n", "holds no labelled messages"),
        ("c.jsonl", '{"text": "x"\n', "line 1: not valid JSON"),
        ("c.jsonl", '"x"\n', "not a JSON object"),
        ("c.json", "[]", "its columns are: none"),
        ("c.parquet", "not parquet", "is not a Parquet file"),
        ("c.csv", b"text,label\nx\0y,spam\n", "NUL"),
        ("c.csv", b"text,label\n\x81\x8d,spam\n", "convert it to UTF-8"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(
    tmp_path: Path, name: str, content: str | bytes, sentence: str
) -> None:
    with pytest.raises(UserError) as refusal:
        read_corpus(written(tmp_path, name, content))
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_column_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no column 'Msg'; its columns are: text, label"):
        read_corpus(written(tmp_path, "c.csv", "text,label\nx,ham\n"), text_column="Msg")
    with pytest.raises(UserError, match=r"no column 'gold'"):
        read_corpus(written(tmp_path, "SMS", "ham\tx\n"), label_column="gold")


def test_a_wrong_label_column_does_not_put_a_message_into_the_error(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refusal:
        read_corpus(written(tmp_path, "c.csv", "id,text\n1,call me on 555-0100\n"), "id", "text")
    assert "555" not in str(refusal.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no corpus"):
        read_corpus(tmp_path / "nothing.csv")
    with pytest.raises(UserError, match="is a folder"):
        read_corpus(tmp_path)
    with pytest.raises(UserError, match="There is no corpus"):
        read_corpus("x" * 5000)
    with pytest.raises(UserError, match="No corpus is named"):
        parse_spec("")


def test_a_hub_data_set_that_cannot_be_reached_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def unreachable(_name: str) -> None:
        raise ConnectionError("no route to host\nand a long story")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(UserError, match="Cannot load the data set someone/some_sms") as refusal:
        read_corpus("someone/some_sms")
    assert "\n" not in str(refusal.value)


def test_a_hub_data_set_gives_all_splits_with_the_names_of_its_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"sms": datasets.Value("string"), "label": datasets.ClassLabel(names=["spam", "ham"])})
    split = datasets.Dataset.from_dict({"sms": [m.text for m in BOTH], "label": [0, 1]}, features=features)
    monkeypatch.setattr(
        datasets, "load_dataset", lambda _name: datasets.DatasetDict({"train": split, "test": split.select([1])})
    )
    assert read_corpus("ucirvine/sms_spam") == [*BOTH, BOTH[1]]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("sms.csv", ("sms.csv", None, None)),
        ("sms.csv:msg text:class", ("sms.csv", "msg text", "class")),
        ("sms.csv::class", ("sms.csv", None, "class")),
        ("folder/a:b.csv:msg:class", ("folder/a:b.csv", "msg", "class")),
        ("owner/name", ("owner/name", None, None)),
        ("owner/name:sms:label", ("owner/name", "sms", "label")),
        ("s3://bucket/a/sms.csv", ("s3://bucket/a/sms.csv", None, None)),
        ("s3://bucket/a/sms.csv:msg:class", ("s3://bucket/a/sms.csv", "msg", "class")),
        ("memory://sms.csv:msg:class", ("memory://sms.csv", "msg", "class")),
        ("https://u:p@host:8080/sms.csv", ("https://u:p@host:8080/sms.csv", None, None)),
        ("https://u:p@host:8080/sms.csv:msg:a/b", ("https://u:p@host:8080/sms.csv", "msg", "a/b")),
        ("zip://sms.csv::https://host:80/a.zip", ("zip://sms.csv::https://host:80/a.zip", None, None)),
        ("zip://sms.csv::https://host:80/a.zip:msg:class", ("zip://sms.csv::https://host:80/a.zip", "msg", "class")),
        ("clickhouse:2026-01-01T00:00:00", ("clickhouse:2026-01-01T00:00:00", None, None)),
    ],
)
def test_a_spec_is_a_place_and_perhaps_two_columns(given: str, expected: tuple[str, str | None, str | None]) -> None:
    spec = parse_spec(given)
    assert (spec.spec, spec.text_column, spec.label_column) == expected


def test_a_file_whose_name_has_colons_is_that_file(tmp_path: Path) -> None:
    path = written(tmp_path, "a:b:c.csv", "msg,class\nwin,spam\n")
    assert parse_spec(str(path)) == CorpusSpec(str(path))
    assert parse_spec(f"{path}:msg:class") == CorpusSpec(str(path), "msg", "class")


def test_one_column_alone_is_refused_with_the_form() -> None:
    for given in ("sms.csv:msg", "https://user:secret@host/sms.csv:msg"):
        with pytest.raises(UserError, match="PATH:TEXT_COLUMN:LABEL_COLUMN") as refusal:
            parse_spec(given)
        assert "secret" not in str(refusal.value)


def test_reports_call_a_corpus_by_its_file() -> None:
    names = {CorpusSpec(spec).name for spec in ("a/sms.csv", "s3://bucket/sms.csv", "https://host/sms.csv?sig=abc")}
    assert names == {"sms"}
    assert CorpusSpec("ucirvine/sms_spam").name == "sms_spam"
    assert CorpusSpec("clickhouse:2026-01-01").name == "clickhouse"


def test_clickhouse_is_not_read_where_no_settings_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="training and evaluation only"):
        read_corpus("clickhouse:2026-01-01")


def test_one_old_line_does_not_garble_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path, "SMS", "spam\twon £1000\n".encode("cp1252") + "ham\tnaïve 日本\n".encode())
    assert [message.text for message in read_corpus(path)] == ["won £1000", "naïve 日本"]
    assert "1 lines of SMS are not UTF-8" in caplog.text


def test_rows_without_label_and_texts_lost_in_conversion_are_counted(tmp_path: Path) -> None:
    rows = [("ok", "ham"), ("won \ufffd1000", "spam"), ("\ufffd\ufffd \ufffd a", "ham"), ("who knows", None)]
    content = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
    found = load_corpus(CorpusSpec(written(tmp_path, "c.jsonl", content)))
    assert [message.text for message in found.messages] == ["ok", "won \ufffd1000"]
    assert found.left_out == {"unreadable": 1, "unlabelled": 1}


def test_country_and_language_are_kept_where_they_are_codes(tmp_path: Path) -> None:
    path = written(
        tmp_path, "c.csv", "text,label,country,language\na,ham,gb,EN\nb,ham,England,+44 7700 900123\nc,ham,,\n"
    )
    found = [(message.country, message.language) for message in read_corpus(path)]
    assert found == [("GB", "en"), (None, None), (None, None)]


def test_labels_beyond_doubt_are_named_and_anything_else_is_only_described(tmp_path: Path) -> None:
    rows = ["text,label", *("x,spam", "y,ham", "z,promo") * 5]
    with pytest.raises(UserError, match=r"row 4: .* also promo \(5 rows\); write spam or ham"):
        read_corpus(written(tmp_path, "c.csv", "\n".join(rows)))
    swapped = ["text,label", *(f"{label},hi {name}" for label, name in [("ham", "ann"), ("spam", "bob")] * 8)]
    with pytest.raises(UserError, match="2 values of it, up to 6 characters long") as refusal:
        read_corpus(written(tmp_path, "s.csv", "\n".join(swapped)))
    assert "bob" not in str(refusal.value)
    short = ["text,label", *(f"ham,{word}" for word in ("yup", "later", "ok", "sure", "mum"))]
    with pytest.raises(UserError) as refusal:
        read_corpus(written(tmp_path, "o.csv", "\n".join(short)))
    assert "mum" not in str(refusal.value)


def test_quotation_marks_that_belong_to_a_text_swallow_no_row_of_a_tab_separated_file(tmp_path: Path) -> None:
    lines = ["label\ttext", 'ham\t"Later" was an hour ago', 'ham\t"no end', "spam\twin now", 'ham\tshe said "yes"']
    found = read_corpus(written(tmp_path, "raw.tsv", "\n".join(lines)))
    assert [(message.label, message.text) for message in found] == [tuple(line.split("\t")) for line in lines[1:]]
    swallowed = read_corpus(written(tmp_path, "ends.tsv", 'label\ttext\nham\t"no end\nspam\twin now\nham\tso "yes"\n'))
    assert len(swallowed) == 3
    quoted = read_corpus(written(tmp_path, "quoted.tsv", 'label\ttext\nham\t"two\nlines, ""so"""\nspam\twin now\n'))
    assert [message.text for message in quoted] == ['two\nlines, "so"', "win now"]


def test_a_file_without_names_of_columns_does_not_put_its_first_message_into_the_error(tmp_path: Path) -> None:
    for first in (
        'ham,"Ann please ring 07700 900123 tonight"',
        'spam,"Ann, please ring 07700 900123"',
        "Ann ring me at 6,0",
    ):
        with pytest.raises(UserError, match=r"begins with a message|one of \d+ characters") as refusal:
            read_corpus(written(tmp_path, "c.csv", f"{first}\nspam,win now\n"))
        assert "Ann" not in str(refusal.value)


def test_a_missing_text_in_parquet_is_empty_and_not_the_word_for_it(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [None, float("nan"), 5.0], "label": [1, 1, 0]}), tmp_path / "c.parquet")
    assert load_corpus(CorpusSpec(tmp_path / "c.parquet")).left_out == {"empty": 2}
