"""Working on a run with its progress and its warnings on the screen."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.text import Text

from omni_batch.cli.options import debugging, leave_at_once, print_json, print_path
from omni_batch.cli.render import run as render_run
from omni_batch.cli.render.console import err, out
from omni_batch.errors import ConfigError
from omni_batch.nights import Night
from omni_batch.package_files import import_flows
from omni_batch.planning.prepare import dropped_unless_begun
from omni_batch.progress.current import current_record
from omni_batch.progress.log_files import JsonLines
from omni_batch.providers.environment import check_environment
from omni_batch.quota.room import raise_limit
from omni_batch.store import RunDir
from omni_batch.store.record import read_record
from omni_batch.store.remote.copies import shown
from omni_batch.text import one_line, redacted

_LOGGER = logging.getLogger("omni_batch")


Way = Callable[[RunDir, Callable[[str], None]], None]
"""How a run is executed; told whom to tell what is waited for."""


def way_of(workers: int | None = None, pool: str | None = None, *, prefect: bool) -> Way:
    """Directly, through Prefect, or by the workers of one of its work pools.

    Raises:
        ConfigError: there is no such work pool.
    """
    if workers is None and pool is None:
        return _through_prefect if prefect else _directly
    if workers is None or pool is None:
        raise ConfigError("--workers N and --work-pool NAME go together: give both or none")
    if not prefect:
        raise ConfigError("--workers needs Prefect, which hands partitions on: leave --no-prefect")
    _quieten_prefect()
    flow = import_flows("partitions")
    flow.check_pool(pool)
    return lambda directory, say: flow.run_on_workers(directory, workers, pool, say)


def _directly(directory: RunDir, _: Callable[[str], None]) -> None:
    from omni_batch.engine.pipeline import execute

    asyncio.run(execute(directory))


def _through_prefect(directory: RunDir, say: Callable[[str], None]) -> None:
    _quieten_prefect()
    say("Loading Prefect")
    flow = import_flows("batch")
    try:
        flow.run_with_prefect(directory, say)
    finally:
        if flow.is_left_open():
            leave_at_once()


def _quieten_prefect() -> None:
    """Its own log lines would tear the progress display; its pages keep them all, and how a run
    ended is said here.
    """
    for handler in ("CONSOLE", "DEBUG"):
        os.environ.setdefault(f"PREFECT_LOGGING_HANDLERS_{handler}_LEVEL", "CRITICAL")


def run_to_its_end(directory: RunDir, way: Way) -> None:
    """Execute a prepared or interrupted run."""
    raise_limit()
    check_environment(())  # a library ends at its import where a variable names no file
    with notes_on_screen(), render_run.watching(directory) as say:
        way(directory, say)


def run_new(directory: RunDir, way: Way) -> None:
    """Execute a run that was just prepared. One that is refused leaves no directory behind."""
    with dropped_unless_begun(directory):
        run_to_its_end(directory, way)


def print_outcome(directory: RunDir, *, as_json: bool) -> NoReturn:
    """How a run ended, and exit accordingly."""
    record = read_record(directory.record)
    if as_json:
        print_json(record)
    else:
        print_summary(directory)
        print_path(shown(directory.root))
    raise typer.Exit(record.exit_code)


def print_summary(directory: RunDir) -> None:
    """Counts, cost and failures of a run."""
    out.print()
    out.print(render_run.summary(directory, current_record(directory)), crop=False)


def print_night(directory: RunDir, night: Night) -> None:
    """How a night ended, and what to do about it."""
    print_summary(directory)
    out.print(Text(f"night: {night.words}", style="bold"), soft_wrap=True)
    for text in night.to_do:
        out.print(Text(f"to do: {one_line(text)}", style="yellow"), soft_wrap=True)
    print_path(shown(directory.root))


class _Notes(logging.Handler):
    """Warnings in one line each, without those of items: the display shows these."""

    def emit(self, record: logging.LogRecord) -> None:
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
def notes_on_screen() -> Iterator[None]:
    """Show on stderr what goes wrong beside the items; with `--debug` where it did."""
    handler = _Notes(logging.DEBUG if debugging() else logging.WARNING)
    handler.addFilter(lambda record: record.levelno >= logging.WARNING)
    propagate = _LOGGER.propagate
    _LOGGER.addHandler(handler)
    _LOGGER.propagate = False  # Prefect prints what reaches the root
    try:
        yield
    finally:
        _LOGGER.propagate = propagate
        _LOGGER.removeHandler(handler)
