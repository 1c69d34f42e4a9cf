"""A run and its flow run: the page shows how far it is, and its buttons are obeyed."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import TypeVar
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType

from omni_batch.engine.run import Run
from omni_batch.errors import Interrupted
from omni_batch.store import RunDir, RunRecord

from .artifacts import progress_text, publish_summary

T = TypeVar("T")
log = logging.getLogger("omni_batch")

_EVERY_S = 2.0
_TIMEOUT_S = 5.0
_HURRIED_S = 1.2
_CANCELLED = (StateType.CANCELLING, StateType.CANCELLED)


class FlowRunWatch:
    """Beside a run, as long as it works. A server that is slow or gone never costs an item.

    Args:
        flow_run_id: the run's own flow run; None where Prefect ends the process itself, as it does
            with those of deployments.
    """

    def __init__(self, flow_run_id: UUID | None) -> None:
        self._flow_run_id = flow_run_id
        self.cancelled = False
        """Whether somebody cancelled the flow run."""
        self.answers = True
        """Whether the server answered when it was last asked."""
        self._obeyed = False
        self._artifact: UUID | None = None
        self._showing: asyncio.Task[None] | None = None
        self._until_s: float | None = None

    async def follow(self, run: Run) -> None:
        """Update the page and look for a button until cancelled."""
        while True:
            # Not cut where the run ends meanwhile: a bar whose id never came would be made twice.
            self._showing = asyncio.ensure_future(self._show(run.record))
            await asyncio.shield(self._showing)
            if self._flow_run_id is not None and self.answers:
                self._obey(run, await self.ask(_state_type(self._flow_run_id)))
            await asyncio.sleep(_EVERY_S)

    async def show_the_end(self, directory: RunDir, record: RunRecord) -> None:
        """The bar where the run has left it, and its summary; in a hurry after Ctrl-C."""
        if record.state == "interrupted" and not self._obeyed:
            self._until_s = asyncio.get_running_loop().time() + _HURRIED_S
        if self._showing is not None:
            await asyncio.wait({self._showing}, timeout=self.patience_s(_TIMEOUT_S))
        await self._show(record)
        await self.ask(publish_summary(directory))

    @property
    def is_hurried(self) -> bool:
        """Whether somebody waits for the process to end."""
        return self._until_s is not None

    def patience_s(self, most_s: float) -> float:
        """How long the server may still be waited for."""
        if self._until_s is None:
            return most_s
        return min(most_s, max(0.0, self._until_s - asyncio.get_running_loop().time()))

    async def _show(self, record: RunRecord) -> None:
        percent, text = 100 * record.counts.done / record.items, progress_text(record)
        if self._artifact is None:
            made = acreate_progress_artifact(percent, description=text)
            self._artifact = await self.ask(made)
        else:
            await self.ask(aupdate_progress_artifact(self._artifact, percent, text))

    async def ask(self, call: Awaitable[T]) -> T | None:
        """What the server answers; None, and one line for the whole of an outage, if it fails."""
        try:
            async with asyncio.timeout(self.patience_s(_TIMEOUT_S)):
                answer = await call
        except Exception as exc:
            if self.answers and not self.is_hurried:
                reason = str(exc) or f"no answer within {_TIMEOUT_S:g} s"
                log.warning("Prefect's API fails (%s); the run goes on without its page", reason)
            self.answers = False
            return None
        self.answers = True
        return answer

    def _obey(self, run: Run, state: StateType | None) -> None:
        self._obeyed = state in _CANCELLED or state is StateType.PAUSED
        if state in _CANCELLED:
            self.cancelled = True
            run.stop(Interrupted("its flow run was cancelled in Prefect"))
        elif state is StateType.PAUSED:
            run.stop(Interrupted("its flow run was paused or suspended in Prefect"))


async def _state_type(flow_run_id: UUID) -> StateType | None:
    async with get_client() as client:
        state = (await client.read_flow_run(flow_run_id)).state
    return state.type if state else None
