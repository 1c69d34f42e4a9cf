"""A run and its flow run: the page shows how far it is, and its buttons are obeyed."""

import asyncio
import logging
from collections.abc import Awaitable
from datetime import UTC
from typing import TypeVar
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State, StateType

from omni_batch.engine.run import Run
from omni_batch.errors import Interrupted
from omni_batch.store import RunDir, RunRecord

from .artifacts import percent_done, progress_text, publish_summary

T = TypeVar("T")
log = logging.getLogger("omni_batch")

_EVERY_S = 2.0
_TIMEOUT_S = 5.0
_HURRIED_S = 1.2
_GRACE_S = 15.0  # Prefect kills the process of a deployment 30 s after Cancel
_CANCELLED = (StateType.CANCELLING, StateType.CANCELLED)
# Resume puts a run in line for another process, and may be faster than our question for a pause.
_GIVEN_AWAY = (StateType.PAUSED, StateType.SCHEDULED, StateType.PENDING)
PAUSED = "its flow run was paused or suspended in Prefect"


class FlowRunWatch:
    """Beside a run, as long as it works. A server that is slow or gone never costs an item.

    Args:
        flow_run: the run's own, as this process has begun it; None outside of Prefect.
    """

    def __init__(self, flow_run: FlowRun | None) -> None:
        self._flow_run = flow_run
        self.cancelled = False
        """Whether somebody cancelled the flow run."""
        self.given_away: State | None = None
        """Its state once it was paused, or waits for another process already."""
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
            if self.answers:
                await self._look()
                self._obey(run)
            await asyncio.sleep(_EVERY_S)

    async def show_the_end(self, directory: RunDir, record: RunRecord) -> None:
        """The bar where the run has left it, and its summary; in a hurry after Ctrl-C."""
        if record.state == "interrupted" and self.is_of_deployment:
            await self._look()  # Prefect's signal may have been faster than our question
        elif record.state == "interrupted" and not self._obeyed:
            self._until_s = asyncio.get_running_loop().time() + _HURRIED_S
        if self._showing is not None:
            await asyncio.wait({self._showing}, timeout=self.patience_s(_TIMEOUT_S))
        await self._show(record)
        if directory.partition is None:  # else the run has more to say, and who leads it says it
            await self.ask(publish_summary(directory))

    async def name_it(self, run_id: str) -> None:
        """Give the flow run the name of its run, and of the time that it was scheduled for."""
        if self._flow_run is not None:
            name = flow_run_name(run_id, self._flow_run)
            if name != self._flow_run.name:
                await self.ask(_rename(self._flow_run.id, name))

    @property
    def is_of_deployment(self) -> bool:
        """Whether Prefect started this process, and may start another one for the flow run."""
        return self._flow_run is not None and self._flow_run.deployment_id is not None

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
        percent, text = percent_done(record), progress_text(record)
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

    async def _look(self) -> None:
        """What has become of the flow run meanwhile."""
        found = await self.ask(_read(self._flow_run.id)) if self._flow_run else None
        if self._flow_run is None or found is None or found.state is None:
            return
        if found.state.type in _CANCELLED:
            self.cancelled = True
        elif found.state.type in _GIVEN_AWAY:
            self.given_away = found.state

    def _obey(self, run: Run) -> None:
        if self._obeyed or not (self.cancelled or self.given_away):
            return
        self._obeyed = True
        run.stop(Interrupted("its flow run was cancelled in Prefect" if self.cancelled else PAUSED))
        if self.is_of_deployment:
            asyncio.get_running_loop().call_later(_GRACE_S, run.stopping.abort)


def flow_run_name(name: str, flow_run: FlowRun) -> str:
    """A run and, where a schedule has made the flow run, the time that it was due."""
    due = flow_run.expected_start_time
    if due is None or not flow_run.auto_scheduled:
        return name
    return f"{name} due {due.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


async def _read(flow_run_id: UUID) -> FlowRun:
    async with get_client() as client:
        return await client.read_flow_run(flow_run_id)


async def _rename(flow_run_id: UUID, name: str) -> None:
    async with get_client() as client:
        await client.update_flow_run(flow_run_id, name=name)
