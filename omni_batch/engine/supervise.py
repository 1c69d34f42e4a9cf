"""Background tasks of a run: its progress is published, and it stops in an orderly way."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from omni_batch import interrupts
from omni_batch.engine.run import Run
from omni_batch.errors import Interrupted, StorageError
from omni_batch.store.disk import in_thread, when_files_are_free

log = logging.getLogger("omni_batch")

_SNAPSHOT_S = 1.0
Background = Callable[[Run], Awaitable[None]]


@asynccontextmanager
async def supervised(run: Run, background: Background | None = None) -> AsyncIterator[None]:
    """Write run.json every second, and stop the run in order when it must or is asked to."""
    tasks = [_report, _end_in_time, *([background] if background else [])]
    helpers = [asyncio.ensure_future(_run_in_background(task, run)) for task in tasks]
    try:
        with interrupts.heard_in_loop(_stopping_acts(run)):
            yield
    finally:
        for helper in helpers:
            helper.cancel()
        await asyncio.wait(helpers)  # the last word in run.json is not theirs


async def _run_in_background(task: Background, run: Run) -> None:
    """A bug in a background task is logged and ends no run."""
    try:
        await task(run)
    except Exception:
        name = getattr(task, "__name__", repr(task))
        log.exception("%s ended early; the run goes on without it", name.strip("_"))


async def _report(run: Run) -> None:
    while True:
        if run.directory.partition is not None and run.directory.stop_sign.exists():
            _stop_in_order(run, "its leader was")
        try:
            run.update_record("running")
            await when_files_are_free(lambda: in_thread(run.publisher.write))
        except StorageError as exc:
            run.stop(exc)
        await asyncio.sleep(_SNAPSHOT_S)


async def _end_in_time(run: Run) -> None:
    """Once the run stops: let requests in flight end for a while, drop all else."""
    await run.stopping.wait()
    with suppress(TimeoutError):
        async with asyncio.timeout(run.config.shutdown_grace_s):
            await run.router.drained()
    run.stopping.abort()


def interrupt(run: Run, how: str = "Ctrl-C") -> None:
    """At the first call the run stops in order, at the second at once.

    Args:
        how: what asked for it, for people.
    """
    if run.stopping.is_on:
        run.stopping.abort()
    else:
        _stop_in_order(run, how)


def _stop_in_order(run: Run, how: str) -> None:
    run.stop(Interrupted(f"it was asked to stop ({how})"))


def _stopping_acts(run: Run) -> dict[int, Callable[[], None]]:
    """Ctrl-C, SIGTERM and the end of the terminal are interrupts of the run."""
    acts: dict[int, Callable[[], None]] = {
        signal.SIGINT: partial(interrupt, run, "Ctrl-C"),
        signal.SIGTERM: partial(interrupt, run, "SIGTERM"),
    }
    if hasattr(signal, "SIGHUP"):  # a terminal that is closed sends it more than once: no hurry
        how = "SIGHUP: its terminal was closed"
        acts[signal.SIGHUP] = partial(_stop_in_order, run, how)
    return acts
