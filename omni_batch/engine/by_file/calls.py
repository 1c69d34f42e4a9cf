"""Calls to a Batch API: repeated while the service is down, dropped when the run stops."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from omni_batch.config import RetryConfig
from omni_batch.engine.sending.retry import with_retries
from omni_batch.engine.stop import StopSwitch
from omni_batch.errors import Outage, RateLimited, StreamError, Unavailable
from omni_batch.format import duration

T = TypeVar("T")


class Calls:
    """How a run calls the service about its jobs."""

    def __init__(self, retry: RetryConfig, stopping: StopSwitch) -> None:
        self._retry, self._stopping = retry, stopping

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call that may be repeated, again and again for `retry.outage_timeout_s`.

        Raises:
            Outage: it failed for so long.
            OmniBatchError: it failed for good, or the run is stopping.
        """
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        while True:
            try:
                return await self.unless_stopped(
                    with_retries(lambda _: call(), self._retry, self.sleep)
                )
            except (Unavailable, RateLimited, StreamError) as exc:
                if not exc.retryable:
                    raise
                down_s = loop.time() - began_s
                if down_s >= self._retry.outage_timeout_s:
                    raise Outage(
                        f"the service has not answered about jobs for {duration(down_s)} "
                        f"(retry.outage_timeout_s): {exc}"
                    ) from exc
            await self.sleep(self._retry.max_wait_s)

    async def unless_stopped(self, work: Awaitable[T]) -> T:
        """Do it, and drop it when the run stops.

        Raises:
            OmniBatchError: also the reason why the run is stopping.
        """
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
        finally:
            for each in (task, stop):
                each.cancel()
            await asyncio.wait([task, stop])
        self._stopping.raise_if_on()
        raise RuntimeError("neither the work nor the run has ended")

    async def sleep(self, seconds: float) -> None:
        """Wait, or until the run stops.

        Raises:
            OmniBatchError: the reason why it does.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        self._stopping.raise_if_on()
