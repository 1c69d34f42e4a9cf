"""What goes on beside the items: the report of progress, and an end in good order."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from omni_batch.errors import Interrupted, StorageError
from omni_batch.run import Run
from omni_batch.rundir.disk import in_thread
from omni_batch.rundir.record import write_record

log = logging.getLogger("omni_batch")

_SNAPSHOT_S = 1.0
Companion = Callable[[Run], Awaitable[None]]


@asynccontextmanager
async def supervised(run: Run, beside: Companion | None = None) -> AsyncIterator[None]:
    """Write run.json every second, and stop the run in order when it must or is asked to."""
    companions = [_report, _end_in_time, *([beside] if beside else [])]
    helpers = [asyncio.ensure_future(_go_beside(companion, run)) for companion in companions]
    try:
        with _stop_on_signals(run):
            yield
    finally:
        for helper in helpers:
            helper.cancel()
        await asyncio.wait(helpers)  # the last word in run.json is not theirs


async def _go_beside(companion: Companion, run: Run) -> None:
    """A bug beside the items ends no run, but is seen."""
    try:
        await companion(run)
    except Exception:
        name = getattr(companion, "__name__", repr(companion))
        log.exception("%s ended early; the run goes on without it", name.strip("_"))


async def _report(run: Run) -> None:
    while True:
        try:
            record = run.take_stock("running")
            await in_thread(write_record, run.directory.record, record, run.directory.disk)
        except StorageError as exc:
            run.stop(exc)
        await asyncio.sleep(_SNAPSHOT_S)


async def _end_in_time(run: Run) -> None:
    """Once the run stops: let requests in flight end for a while, drop all else."""
    await run.stopping.wait()
    with suppress(TimeoutError):
        async with asyncio.timeout(run.config.shutdown_grace_s):
            await run.fleet.drained()
    for task in tuple(run.tasks):
        task.cancel()


@contextmanager
def _stop_on_signals(run: Run) -> Iterator[None]:
    """First Ctrl-C or SIGTERM: stop in order. Second: at once."""
    loop = asyncio.get_running_loop()

    def handle() -> None:
        if run.stop_reason is None:
            run.stop(Interrupted("it was asked to stop (Ctrl-C or SIGTERM)"))
        else:
            for task in tuple(run.tasks):
                task.cancel()

    handled = []
    # Only the main thread hears of signals, and not on every system.
    with suppress(NotImplementedError, RuntimeError, ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, handle)
            handled.append(number)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
