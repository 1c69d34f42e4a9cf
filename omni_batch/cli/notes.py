"""Warnings of a run on stderr, one line each."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from omni_batch.progress.log_files import JsonLines
from omni_batch.text import one_line, redacted

_LOGGER = logging.getLogger("omni_batch")


class _Notes(logging.Handler):
    """Warnings in one line each, without those of items: the display shows these."""

    def emit(self, record: logging.LogRecord) -> None:
        from rich.text import Text

        from omni_batch.cli.render import err

        if getattr(record, "event", None) == "item_failed":
            return
        caught = record.exc_info or (None, None, None)
        failure = caught[1]
        cause = f" ({type(failure).__name__}: {failure})" if failure else ""
        note = one_line(f"{record.levelname.lower()}: {record.getMessage()}{cause}")
        err.print(Text(note), soft_wrap=True)
        if failure is not None and self.level <= logging.DEBUG:
            err.print(Text(redacted(JsonLines().formatException(caught))), soft_wrap=True)


@contextmanager
def notes_on_screen(*, debug: bool = False) -> Iterator[None]:
    """Show on stderr what goes wrong beside the items; with `debug` where it did."""
    handler = _Notes(logging.DEBUG if debug else logging.WARNING)
    handler.addFilter(lambda record: record.levelno >= logging.WARNING)
    propagate = _LOGGER.propagate
    _LOGGER.addHandler(handler)
    _LOGGER.propagate = False  # Prefect prints what reaches the root
    try:
        yield
    finally:
        _LOGGER.propagate = propagate
        _LOGGER.removeHandler(handler)
