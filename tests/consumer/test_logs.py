import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from consumer.logs import configure_logs
from consumer.settings import load_settings
from schemas.errors import UserError

WRITER = """
import sys
from pathlib import Path
from consumer.logs import configure_logs
from consumer.settings import load_settings
import logging
configure_logs(load_settings(log_file=Path(sys.argv[1]), log_max_mb=0.05, log_keep=50))
for number in range(3000):
    logging.getLogger("smsift.load").info("line", extra={"writer": sys.argv[2], "number": number})
"""


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for file in folder.glob("smsift.log*") for line in file.read_text().splitlines()]


def test_two_processes_rotating_one_file_by_size_under_load_lose_no_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "smsift.log")]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    writers = [subprocess.Popen([*command, name], env=environment) for name in ("a", "b")]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    assert len(list(tmp_path.glob("smsift.log*"))) > 5
    written = sorted((line["writer"], line["number"]) for line in lines(tmp_path))
    assert written == sorted((name, number) for name in ("a", "b") for number in range(3000))


def test_retention_keeps_only_as_many_old_files_as_asked(tmp_path: Path) -> None:
    configure_logs(load_settings(log_file=tmp_path / "smsift.log", log_max_mb=0.01, log_keep=3))
    for number in range(2000):
        logging.getLogger("smsift.load").info("line", extra={"number": number})
    files = [file for file in tmp_path.glob("smsift.log*") if not file.name.endswith(".lock")]
    assert len(files) == 4
    assert max(int(str(line["number"])) for line in lines(tmp_path)) == 1999


def test_a_file_is_rotated_by_age_too(tmp_path: Path) -> None:
    configure_logs(load_settings(log_file=tmp_path / "smsift.log", log_max_hours=1 / 3600))
    logger = logging.getLogger("smsift.load")
    logger.info("before")
    deadline = time.monotonic() + 20
    while len(list(tmp_path.glob("smsift.log.*"))) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.2)
        logger.info("after")
    assert {line["message"] for line in lines(tmp_path)} == {"before", "after"}


def test_a_line_is_json_with_its_extras_and_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(load_settings())
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("smsift.x").exception("it broke", extra={"partition": 3})
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["logger"], line["message"], line["partition"]) == ("ERROR", "smsift.x", "it broke", 3)
    assert "ValueError: why" in line["traceback"]


def test_a_log_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="log file"):
        configure_logs(load_settings(log_file=tmp_path / "file" / "smsift.log"))
