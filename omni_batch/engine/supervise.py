"""Background tasks of a run: its progress is published, and it stops in an orderly way."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

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
        with _stop_on_signals(run):
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


@contextmanager
def _stop_on_signals(run: Run) -> Iterator[None]:
    """Take Ctrl-C, SIGTERM and the end of the terminal as interrupts of the run."""
    with ExitStack() as stack:
        # Only the main thread hears of signals, and not on every system.
        with suppress(NotImplementedError, RuntimeError, ValueError, AttributeError):
            stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(-1))
            _take(stack, signal.SIGINT, interrupt, run, "Ctrl-C")
            _take(stack, signal.SIGTERM, interrupt, run, "SIGTERM")
            if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it
                # A terminal that is closed sends it more than once, which is no hurry.
                how = "SIGHUP: its terminal was closed"
                _take(stack, signal.SIGHUP, _stop_in_order, run, how)
        yield


def _take(stack: ExitStack, number: signal.Signals, act: Callable[..., None], *args: Any) -> None:
    """Hear a signal in the event loop; whoever heard it before does so again afterwards."""
    before = signal.getsignal(number)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, act, *args)
    stack.callback(signal.signal, number, before or signal.SIG_DFL)
    stack.callback(loop.remove_signal_handler, number)
