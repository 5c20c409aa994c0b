"""Structured logs: one JSON object a line, to stderr or to a file that is rotated by size and age.

Log what happened with coordinates and counts; never a message's text or a number.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from concurrent_log_handler import ConcurrentTimedRotatingFileHandler

from consumer.settings import Settings
from schemas.errors import UserError

_PLAIN: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """time, level, logger, message, then whatever came in `extra`, then the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in record.__dict__.items() if name not in _PLAIN}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure_logs(settings: Settings) -> None:
    """Send everything under `smsift` where the settings say. Raises UserError where the file cannot be written.

    Several processes may share one file: lines are written and files rotated under a lock between them.
    """
    handler: logging.Handler
    if settings.log_file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        try:
            settings.log_file.parent.mkdir(parents=True, exist_ok=True)
            handler = ConcurrentTimedRotatingFileHandler(
                str(settings.log_file),
                when="S",
                interval=max(1, round(settings.log_max_hours * 3600)),
                maxBytes=round(settings.log_max_mb * 1024 * 1024),
                backupCount=settings.log_keep,
                encoding="utf-8",
                errors="backslashreplace",
            )
        except OSError as error:
            raise UserError(f"Cannot write the log file {settings.log_file}: {error.strerror}.") from error
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("smsift")
    logger.handlers[:] = [handler]
    logger.setLevel(settings.log_level)
    logger.propagate = False
