"""How a run comes to its end before all items are done."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from omni_batch.errors import OmniBatchError


class StopSwitch:
    """Asked before each item and each request; knows the items that are under way."""

    def __init__(self) -> None:
        self.reason: OmniBatchError | None = None
        self._pending: OmniBatchError | None = None
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._before: list[Callable[[OmniBatchError], None]] = []

    @property
    def is_on(self) -> bool:
        """True once the run is stopping."""
        return self.reason is not None

    def stop(self, reason: OmniBatchError) -> None:
        """Start no more items. The first reason counts."""
        if self.reason is None:
            for act in self._before:
                act(reason)
            self.reason = reason
            self._stopping.set()

    def stop_later(self, reason: OmniBatchError) -> None:
        """Stop before anything more is paid for; what has been paid for is still taken in."""
        self._pending = self._pending or reason

    def stop_if_due(self) -> bool:
        """Something would be paid for now: whether the run must stop instead, as it then does."""
        if self._pending is not None:
            self.stop(self._pending)
        return self.is_on

    def before_stopping(self, act: Callable[[OmniBatchError], None]) -> None:
        """Have something done with the reason as soon as there is one."""
        self._before.append(act)

    def raise_if_on(self) -> None:
        """Raise the reason once the run is stopping."""
        if self.reason is not None:
            raise self.reason

    async def wait(self) -> None:
        """Until the run is stopping."""
        await self._stopping.wait()

    def start(self, group: asyncio.TaskGroup, work: Coroutine[Any, Any, None]) -> None:
        """Begin an item, which `abort` cancels."""
        task = group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def keep_current(self) -> None:
        """What the current item still has to do is done, however soon the run ends."""
        if (task := asyncio.current_task()) is not None:
            self._tasks.discard(task)

    def abort(self) -> None:
        """Cancel the items that are under way."""
        for task in tuple(self._tasks):
            task.cancel()
