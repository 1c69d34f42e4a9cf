"""A request starts when it fits into the budget, and while there is hope that it is of use."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from omni_batch.engine.stop import StopSwitch
from omni_batch.errors import BudgetReached
from omni_batch.progress.ledger import Ledger
from omni_batch.progress.spending.reservations import Reservations
from omni_batch.progress.spending.workload import Group, Workload


class BudgetGate:
    """Shared by all items of a run. They pass in the order they came."""

    def __init__(self, reservations: Reservations, ledger: Ledger, stopping: StopSwitch) -> None:
        self._reservations, self._ledger, self._stopping = reservations, ledger, stopping
        ledger.call_when_cleared(self._serve)
        self._waiting: deque[tuple[asyncio.Future[None], Group, Workload]] = deque()

    @asynccontextmanager
    async def reserved(self, group: Group, work: Workload) -> AsyncIterator[None]:
        """Wait until it fits, and until no trial is going on; it is reserved while the block lasts.

        Raises:
            OmniBatchError: nothing is in flight and it does not fit, or the run is stopping.
        """
        await self._enter(group, work)
        try:
            yield
        finally:
            self._reservations.remove(group, work)
            self._serve()

    def obstacle_of_job(self, work: Mapping[Group, Workload]) -> str | None:
        """Which limit the lines of jobs would pass together, in words; None where they fit."""
        return self._reservations.obstacle_of_job(self._ledger.counts, work)

    async def _enter(self, group: Group, work: Workload) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, group, work))
        self._serve()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._reservations.remove(group, work)  # let in and cancelled in the same moment
            self._serve()
            raise

    def _serve(self) -> None:
        while self._waiting:
            future, group, work = self._waiting[0]
            if not future.done() and not self._decided(future, group, work):
                return
            self._waiting.popleft()

    def _decided(self, future: asyncio.Future[None], group: Group, work: Workload) -> bool:
        """Whether the first in the line has not to wait any longer."""
        if self._stopping.reason is not None:
            future.set_exception(self._stopping.reason)
            return True
        if self._ledger.on_trial:
            return False
        obstacle = self._reservations.obstacle(self._ledger.counts, group, work)
        if obstacle is None:
            self._reservations.add(group, work)
            future.set_result(None)
            return True
        if self._reservations.none:
            reason = BudgetReached(obstacle)
            self._stopping.stop(reason)
            future.set_exception(reason)
            return True
        return False
