"""A run on many machines: each partition is a flow run that a worker of a work pool takes.

The command leads: it submits partitions, watches their heartbeats in the run directory, which all
machines share, and counts the rows at the end. Prefect hands partitions to workers, and no more:
what has been done, and who is at work, is in the run directory alone.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import State, StateType, WorkerStatus
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Cancelling, Completed, Crashed

from omni_batch.engine.pipeline import execute
from omni_batch.errors import ConfigError
from omni_batch.fleet import lead, partitioned
from omni_batch.fleet.lead import Submission
from omni_batch.fleet.partitions import partition_of
from omni_batch.planning.consent import accept_as_described, check_run
from omni_batch.progress import phrases
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.record import read_record
from omni_batch.store.trust.marks import claims_digest
from omni_batch.text import one_line, redacted

from .batch import unfinished, work
from .schedule import reach_server

log = logging.getLogger("omni_batch")

_NAME = "omni-batch-partition"
_ENTRYPOINT = f"{Path(__file__).resolve()}:partition"
"""By its place: on every machine of a pool omni-batch is installed in the same folder."""
_PATIENCE_S = 5.0
_NOBODY_AFTER_S = 30.0


@flow(name=_NAME, persist_result=False)
async def partition(run_dir: str, number: int, digest: str) -> State[None]:
    """One partition of a run, in the hands of a worker.

    Args:
        run_dir: the run, on storage that this machine shares.
        number: of the partition, from 0.
        digest: of what the run asks for, as its leader has vouched for it.
    """

    async def chosen(_: ExitStack) -> RunDir:
        directory = partition_of(Path(run_dir), number)
        accept_as_described(directory, digest)
        check_run(directory)  # before any key is read
        return directory

    async def ended(_: RunDir, record: RunRecord) -> State[None]:
        message = phrases.outcome(record)
        if record.state != "finished":
            return unfinished(record, message)
        return Completed(name="PartiallyFailed" if record.counts.failed else None, message=message)

    return await work(chosen, ended)


def check_pool(pool: str) -> None:
    """Refuse a work pool that no partition could be handed to.

    Raises:
        ConfigError: there is no Prefect server, no such pool, or it is paused.
    """
    asyncio.run(_check_pool(pool))


async def _check_pool(pool: str) -> None:
    await reach_server("--workers")
    async with get_client() as client:
        try:
            found = await client.read_work_pool(pool)
        except ObjectNotFound:
            names = ", ".join(each.name for each in await client.read_work_pools())
            raise ConfigError(
                f"there is no work pool {pool!r} at {redacted(PREFECT_API_URL.value() or '')} "
                f"(there: {names or 'none'}); make it with: prefect work-pool create {pool} "
                "--type process"
            ) from None
    if found.is_paused:
        raise ConfigError(
            f"work pool {pool!r} is paused; resume it with: prefect work-pool resume {pool}"
        )


def run_on_workers(directory: RunDir, workers: int, pool: str, say: Callable[[str], None]) -> None:
    """Have a run worked on by the workers of a pool, until it ends or is interrupted.

    Args:
        workers: how many partitions are wanted.
        say: told what is being waited for.

    Raises:
        ConfigError: as `check_pool`, or another process works on the run.
        OmniBatchError: as `execute`.
    """
    asyncio.run(_run_on_workers(directory, workers, pool, say))


async def _run_on_workers(
    directory: RunDir, workers: int, pool: str, say: Callable[[str], None]
) -> None:
    await _check_pool(pool)
    with partitioned(directory, workers) as parts:
        if len(parts) < workers:
            log.warning("%d partitions: there are no more shards (see shard_size)", len(parts))
        async with get_client() as client:
            handed = _PoolWorkers(parts, pool, client, await _deployed(pool))
            say(f"Waiting for workers of {pool} (prefect worker start --pool {pool} --limit 1)")
            is_finished = await lead(directory, parts, handed)
    if is_finished:
        await execute(directory)  # counts the rows, and sends nothing


async def _deployed(pool: str) -> UUID:
    """Register what a worker runs, the same for all runs on a pool."""
    made = RunnerDeployment(
        name=pool,
        flow_name=_NAME,
        entrypoint=_ENTRYPOINT,
        work_pool_name=pool,
        description="Partitions of runs, by omni-batch run --workers",
        tags=["omni-batch"],
    )
    try:
        return await made.aapply()
    except Exception as exc:
        raise ConfigError(
            f"work pool {pool!r} takes no partition: {one_line(str(exc)):.300}"
        ) from exc


class _PoolWorkers:
    """Hands partitions to the workers of a work pool. Where the server is away, nothing is lost."""

    def __init__(
        self, parts: Sequence[RunDir], pool: str, client: PrefectClient, deployment: UUID
    ) -> None:
        self._parts, self._pool, self._client = parts, pool, client
        self._deployment = deployment
        self._flow_runs: dict[int, UUID] = {}
        self._waiting: set[int] = set()
        self._since_s = asyncio.get_running_loop().time()
        self._has_asked = False

    async def submit(self, number: int) -> None:
        """A new flow run for a partition; one that died meanwhile is Crashed."""
        await self._bury(number)
        part = self._parts[number]
        record = read_record(part.record)
        parameters = {
            "run_dir": str(part.root.resolve()),
            "number": number,
            "digest": claims_digest(part, record),
        }
        try:
            async with asyncio.timeout(_PATIENCE_S):
                flow_run = await self._client.create_flow_run_from_deployment(
                    self._deployment,
                    parameters=parameters,
                    name=part.title,
                    tags=["omni-batch", part.run_id],
                )
        except Exception as exc:
            self._waiting.add(number)
            log.warning("Prefect's API fails (%s); %s waits", one_line(str(exc)), part.title)
            return
        self._waiting.discard(number)
        self._flow_runs[number] = flow_run.id

    async def look(self, number: int) -> Submission:
        """What its flow run says."""
        if number in self._waiting:
            await self.submit(number)
            return Submission("open")
        state = await self._state(number)
        if state is None or not (state.is_final() or state.is_cancelling()):
            if state is not None and state.is_scheduled():
                await self._say_if_nobody_comes()
            return Submission("open")
        if state.type in (StateType.CANCELLED, StateType.CANCELLING):
            return Submission("cancelled", state.message or "")
        return Submission("over", one_line(state.message or state.name or "ended"))

    async def cancel(self) -> None:
        """As the button on Prefect's page does."""
        for number, flow_run in self._flow_runs.items():
            state = await self._state(number)
            if state is not None and not state.is_final():
                wanted: State[None] = Cancelling() if state.is_running() else Cancelled()
                await self._set(flow_run, wanted)

    async def _say_if_nobody_comes(self) -> None:
        waited_s = asyncio.get_running_loop().time() - self._since_s
        if self._has_asked or waited_s < _NOBODY_AFTER_S:
            return
        self._has_asked = True
        async with asyncio.timeout(_PATIENCE_S):
            found = await self._client.read_workers_for_work_pool(self._pool)
        if not any(worker.status == WorkerStatus.ONLINE for worker in found):
            log.warning(
                "no worker serves work pool %s: start one with: prefect worker start --pool %s "
                "--limit 1; Ctrl-C ends this",
                *(self._pool, self._pool),
            )

    async def _bury(self, number: int) -> None:
        if (flow_run := self._flow_runs.pop(number, None)) is not None:
            await self._set(flow_run, Crashed(message="its process died; see the run directory"))

    async def _set(self, flow_run: UUID, state: State) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                found = await self._client.read_flow_run(flow_run)
                if found.state is None or not found.state.is_final():
                    await self._client.set_flow_run_state(flow_run, state, force=True)
        except Exception as exc:
            log.warning("Prefect's API fails (%s)", one_line(str(exc)))

    async def _state(self, number: int) -> State | None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return (await self._client.read_flow_run(self._flow_runs[number])).state
        except Exception:  # a server that is away says nothing, and the heartbeats go on
            return None
