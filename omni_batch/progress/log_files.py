"""Log files: one JSON object a line."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from omni_batch.errors import ConfigError
from omni_batch.text import redacted

_LOGGER = logging.getLogger("omni_batch")


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, event, run_id, item_id, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        fields = dict(getattr(record, "fields", {}))
        if record.exc_info:
            fields["traceback"] = redacted(self.formatException(record.exc_info))
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "event": getattr(record, "event", None),
            "run_id": getattr(record, "run_id", None),
            "item_id": getattr(record, "item_id", None),
            "message": redacted(record.getMessage()),
            "fields": fields,
        }
        return msgspec.json.encode(line, enc_hook=str).decode()


class _LogFile(logging.FileHandler):
    """A log that can't be written any more is given up: it is no reason to stop a run."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say so once, where an error of the system was met."""
        exc = sys.exception()
        if not isinstance(exc, OSError):
            super().handleError(record)
        elif self in _LOGGER.handlers:
            _LOGGER.removeHandler(self)
            reason = os.strerror(exc.errno or 0).lower()
            _LOGGER.warning("--log %s ends here: %s; the run goes on", self.baseFilename, reason)

    def close(self) -> None:
        """Close it, whether or not it takes what was left to be written."""
        with suppress(OSError):
            super().close()


@contextmanager
def logging_to(path: Path, *, debug: bool = False) -> Iterator[None]:
    """Append JSON lines to a file: INFO and above, with `debug` every attempt.

    Raises:
        ConfigError: the file can't be written.
    """
    try:
        handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    except OSError as exc:
        raise ConfigError(f"--log {path} can't be written: {exc.strerror}") from None
    handler.setFormatter(JsonLines())
    level = _LOGGER.level
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(logging.DEBUG if debug else logging.INFO)
    try:
        yield
    finally:
        _LOGGER.setLevel(level)
        _LOGGER.removeHandler(handler)
        handler.close()
