"""What the documents say against what the code does."""

import re

from typer.main import get_command

import smsift
from consumer.metrics import markdown_table
from consumer.settings import Settings
from deploy.local.leash import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = README + (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_the_readmes_table_of_metrics_is_the_catalogue() -> None:
    table = re.search(r"<!-- metrics: .*? -->\n(.*)<!-- /metrics -->", README, re.DOTALL)
    assert table
    assert table[1].strip() == markdown_table().strip()


def test_every_command_and_option_in_the_readme_exists() -> None:
    commands = get_command(smsift.app).commands  # type: ignore[attr-defined]
    typed = re.findall(r"^    smsift ([a-z]+)(.*)$", README, re.MULTILINE)
    assert len(typed) > 10
    for name, rest in typed:
        command = commands[name]
        if hasattr(command, "commands"):  # a group, such as data: the next word is its command
            command = command.commands[rest.split()[0]]
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert set(re.findall(r"(?<=\s)--[a-z-]+", rest)) <= options


def test_every_setting_in_the_documents_exists() -> None:
    named = set(re.findall(r"SMSIFT_[A-Z_]+", DOCUMENTS))
    assert named <= {f"SMSIFT_{name.upper()}" for name in Settings.model_fields}


def test_every_file_that_the_documents_link_to_exists() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", DOCUMENTS):
        assert (ROOT / link).exists()
    for path in re.findall(r"`((?:consumer|schemas|deploy|tests|training|producer_sim)/[\w./]+)`", DOCUMENTS):
        assert (ROOT / path).exists()


def test_the_python_in_the_readme_is_python() -> None:
    for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        compile(code, "README.md", "exec")


def test_no_command_in_the_readme_lets_the_shell_change_a_text() -> None:
    for command in re.findall(r"^    smsift .*$", README, re.MULTILINE):
        assert not re.search(r'"[^"]*\$[^"]*"', command)
