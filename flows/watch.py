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

from .artifacts import progress_text

T = TypeVar("T")
log = logging.getLogger("omni_batch")

_EVERY_S = 2.0
_TIMEOUT_S = 5.0
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

    async def follow(self, run: Run) -> None:
        """Update the page and look for a button until cancelled."""
        artifact: UUID | None = None
        while True:
            percent, text = (
                100 * run.record.counts.done / run.record.items,
                progress_text(run.record),
            )
            if artifact is None:
                artifact = await self.ask(acreate_progress_artifact(percent, description=text))
            else:
                await self.ask(aupdate_progress_artifact(artifact, percent, text))
            if self._flow_run_id is not None and self.answers:
                self._obey(run, await self.ask(_state_type(self._flow_run_id)))
            await asyncio.sleep(_EVERY_S)

    async def ask(self, call: Awaitable[T]) -> T | None:
        """What the server answers; None, and one line for the whole of an outage, if it fails."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                answer = await call
        except Exception as exc:
            if self.answers:
                reason = str(exc) or f"no answer within {_TIMEOUT_S:g} s"
                log.warning("Prefect's API fails (%s); the run goes on without its page", reason)
            self.answers = False
            return None
        self.answers = True
        return answer

    def _obey(self, run: Run, state: StateType | None) -> None:
        if state in _CANCELLED:
            self.cancelled = True
            run.stop(Interrupted("its flow run was cancelled in Prefect"))
        elif state is StateType.PAUSED:
            run.stop(Interrupted("its flow run was paused or suspended in Prefect"))


async def _state_type(flow_run_id: UUID) -> StateType | None:
    async with get_client() as client:
        state = (await client.read_flow_run(flow_run_id)).state
    return state.type if state else None
