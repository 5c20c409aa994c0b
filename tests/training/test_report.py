"""Reports are written, and nothing that a sender wrote acts in them or is shown unasked."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest
from markdown_it import MarkdownIt
from PIL import Image

from consumer.classifier.artifact import Calibration
from consumer.classifier.normalise import normalise
from training.data import Example
from training.evaluate import Evaluation, evaluate
from training.redaction import SHOWN, shape, visible
from training.report import markdown_text, write_report
from training.scorer import Scorer

HOSTILE = (
    "<script>alert(1)</script> win cash",
    '<svg onload="alert(2)"><img src=x onerror=alert(3)> win',
    "</td></tr></table><h1>owned</h1> win",
    "]]> --> </style></title><iframe src=javascript:alert(4)> win",
    "| a | b |\n|---|---|\n# heading\n- win",
    "`code` ```fence``` **bold** _it_ ~~no~~ [click](http://evil.example/x) ![i](http://evil.example/p.png) win",
    "<http://evil.example> http://evil.example/y www.evil.example me@evil.example [r]: http://evil.example win",
    "{{ 7 * 7 }} {% raw %} ${7*7} &lt;b&gt; \\| win",
    "\u202eesrever\u202c zero\u200bwidth \x1b[31mred\x07 win",
)
FORBIDDEN_TAGS = {"script", "img", "iframe", "h1", "b", "a", "object", "embed", "link", "base", "form", "input"}


class Read(NamedTuple):
    margin: float


class Words:
    """A network that knows one word."""

    def read(self, texts: list[str]) -> list[Read]:
        return [Read(4.0 if "win" in text else -4.0) for text in texts]


class Page(HTMLParser):
    """The tags with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def example(text: str, label: str = "ham", source: str = "made") -> Example:
    return Example(normalise(text).text, text, label, source)  # type: ignore[arg-type]


def evaluation_of(parts: dict[str, list[Example]], attacks: tuple[str, ...] = ()) -> Evaluation:
    model = Scorer("words", Words(), Calibration(a=1, b=0), 0.5, {"version": "1"})  # type: ignore[arg-type]
    return evaluate(model, parts, attacks=attacks, samples=50)


@pytest.fixture(scope="module")
def hostile() -> Evaluation:
    """Hostile texts are all errors: they say `win` and are ham."""
    return evaluation_of({'<img src=x onerror="alert(5)">|`': [*map(example, HOSTILE), example("win", "spam")]})


def test_no_text_of_a_message_becomes_markup_in_the_page(hostile: Evaluation, tmp_path: Path) -> None:
    write_report(hostile, tmp_path, show_text=True)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    found = [(tag, attributes) for tag, attributes in page.tags if tag in FORBIDDEN_TAGS]
    assert [tag for tag, _ in found] == ["h1"]  # the page's own title
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    policy = next(each for tag, each in page.tags if tag == "meta" and "content-security-policy" in str(each).lower())
    assert "script" not in str(policy["content"])
    assert str(policy["content"]).startswith("default-src 'none'")
    for text in HOSTILE[:4]:
        assert text in page.text  # shown, literally


def test_no_text_of_a_message_becomes_markup_in_markdown(hostile: Evaluation, tmp_path: Path) -> None:
    write_report(hostile, tmp_path, show_text=True)
    content = (tmp_path / "report.md").read_text(encoding="utf-8")
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(content)
    inline = [child for token in tokens for child in token.children or []]
    kinds = {token.type for token in (*tokens, *inline)}
    assert not kinds & {
        "html_block",
        "html_inline",
        "link_open",
        "code_inline",
        "fence",
        "strong_open",
        "em_open",
        "s_open",
    }
    assert all(str(each.attrs["src"]).startswith("plots/") for each in inline if each.type == "image")
    headings = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    assert "heading" not in headings
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in content.splitlines() if "evil" in line or "alert" in line}
    assert len(widths - {0}) <= 1  # no cell was opened
    assert "evil.example" in "".join(each.content for each in inline)


def test_no_link_is_made_of_an_address_that_a_renderer_would_find_by_itself() -> None:
    shown = markdown_text("see http://evil.example/y or www.evil.example or me@evil.example")
    assert not re.search(r"https?://|www\.|@", shown)


def test_messages_are_shown_by_their_shape_unless_asked(tmp_path: Path) -> None:
    secret = "Zara, your code 493817 is at https://bank.example/pay win"
    made = evaluation_of({"made": [example(secret), example("win it", "spam"), example("later then")]})
    write_report(made, tmp_path / "hidden")
    write_report(made, tmp_path / "shown", show_text=True)
    for name in ("report.html", "report.md"):
        hidden = (tmp_path / "hidden" / name).read_text(encoding="utf-8")
        assert not re.search("Zara|493817|bank|later then", hidden)
        assert "Zara" in (tmp_path / "shown" / name).read_text(encoding="utf-8")
    assert (
        "Xxxx, xxxx xxxx 999999 xx xx https://xxxx.xxxxxxx/xxx xxx"
        in Page((tmp_path / "hidden" / "report.html").read_text(encoding="utf-8")).text
    )


@pytest.mark.parametrize(
    "text",
    [
        "Ñandú Жук 你好 ١٢٣ ½ Ⅷ a\u0301",
        "\U0001d405\U0001d411 \u210eello \ufb01",
        "www.Mine.example",
        "HTTPS://Ab.example",
        "\u24e6\u24d8\u24dd \U0001f170\U0001f131 \U0001f1ec\U0001f1e7 \u249c \u2813\u2811 \u2121",
    ],
)
def test_a_shape_holds_no_letter_or_digit_of_the_text(text: str) -> None:
    bare = re.sub(r"https://|www\.", "", shape(text))
    assert set(re.sub(r"[\W_]", "", bare)) <= set("xX9")
    assert not [symbol for symbol in bare if not symbol.isascii()]


def test_hidden_characters_are_shown_and_long_texts_cut() -> None:
    assert visible("a\u202eb\u200b\x1b") == "a\\u202eb\\u200b\\u001b"
    assert shape("a\u202eb") == "x\\u202ex"
    assert visible("y" * (SHOWN + 7)).endswith("\u2026 (+7)")


def test_a_report_has_its_pictures(tmp_path: Path) -> None:
    texts = [example(f"win number {i}", "spam") for i in range(20)] + [example(f"see you at {i}") for i in range(20)]
    made = evaluation_of({"a": texts[:30], "b": texts[30:]}, attacks=("zero_width", "composed"))
    write_report(made, tmp_path)
    content = (tmp_path / "report.md").read_text(encoding="utf-8")
    names = re.findall(r"\]\((plots/[a-z-]+\.png)\)", content)
    assert [Path(name).stem for name in names] == ["confusion", "scores", "precision-recall", "reliability", "attacks"]
    for name in names:
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 400
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert sum(tag == "svg" for tag, _ in page.tags) == len(names)
    assert {"By data set", "Under attack"} <= set(page.text.split("\n"))
    assert "composed" in page.text


def test_a_file_with_one_class_has_a_report_without_curves(tmp_path: Path) -> None:
    write_report(evaluation_of({"ham": [example(f"see you at {i}") for i in range(5)]}), tmp_path)
    assert sorted(each.stem for each in (tmp_path / "plots").iterdir()) == ["confusion", "scores"]
