"""Where the system gives no more memory or threads: the run has what it needs to end in order."""

import asyncio
import mmap
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from omni_batch.engine.stop import StopSwitch
from omni_batch.errors import OmniBatchError, OutOfMemory, out_of_memory
from omni_batch.quota.room import Room

_RESERVE_BYTES = 16 * 2**20
_THREADS = min(32, (os.cpu_count() or 1) + 4)
"""As asyncio has it."""


@contextmanager
def prepared_for_want(room: Room, stopping: StopSwitch) -> Iterator[None]:
    """Within the block threads are there already, and some memory is kept for the run's end.

    Raises:
        OutOfMemory: not one thread starts.
    """
    loop = asyncio.get_running_loop()
    loop.set_default_executor(_started(room.threads or _THREADS))
    reserve = mmap.mmap(-1, _RESERVE_BYTES)  # addresses only, until they are written to

    def give_back(reason: OmniBatchError) -> None:
        if isinstance(reason, OutOfMemory):
            reserve.close()

    def on_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What no task hears of, such as a socket that there is no memory to read from."""
        exc = context.get("exception")
        lack = out_of_memory(exc) if isinstance(exc, Exception) else None
        if lack is None:
            loop.default_exception_handler(context)
        else:
            stopping.stop(lack)

    stopping.before_stopping(give_back)
    before = loop.get_exception_handler()
    loop.set_exception_handler(on_failure)
    try:
        yield
    finally:
        loop.set_exception_handler(before)
        reserve.close()


def _started(wanted: int) -> ThreadPoolExecutor:
    """A pool of threads that run, so that none is missing later: as many as the system gives."""
    pool, go, started = ThreadPoolExecutor(wanted), threading.Event(), 0
    try:
        for started in range(wanted):  # noqa: B007  how many there are where it ends early
            pool.submit(go.wait)
        return pool
    except RuntimeError as exc:
        lack = out_of_memory(exc)
        if lack is None:
            raise
        if not started:
            raise lack from None
    finally:
        go.set()
    pool.shutdown(wait=True)
    return _started(started)
