"""A run from its manifest to its tables."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import replace
from functools import partial

import msgspec

from omni_batch.engine.by_file.desk import Arrivals, work_by_file
from omni_batch.engine.run import Run, open_run
from omni_batch.engine.shard import process_shard
from omni_batch.engine.supervise import Background, supervised
from omni_batch.errors import Interrupted, OmniBatchError, StorageError, out_of_memory
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.census import shortage_of_files
from omni_batch.store.disk import when_files_are_free

ShardRunner = Callable[[Run, int], Awaitable[None]]
_ACTIVE: ContextVar[Run] = ContextVar("active_run")


def active_run() -> Run:
    """The run that the current task works for."""
    return _ACTIVE.get()


async def execute(
    directory: RunDir, run_shard: ShardRunner | None = None, background: Background | None = None
) -> RunRecord:
    """Work on a prepared or interrupted run until it is finished or has to stop.

    Args:
        run_shard: how a shard is run, `process_shard` by default; Prefect wraps a task around it.
        background: runs beside the shards and is cancelled at their end.

    Raises:
        ConfigError: no run directory, or another process owns it.
        RunAtWork: another run is at work whose answers it would reuse.
        StorageError: nothing can be written there; nothing was sent.
    """
    async with open_run(directory) as run:
        arrivals = Arrivals() if run.plan.by_file else None
        run = replace(run, answered=arrivals.answered) if arrivals else run
        _ACTIVE.set(run)
        run.write_record("running")  # where nothing can be written, nothing is sent
        try:
            await _run_shards(run, arrivals, run_shard or process_shard, background)
            _count(run)
            await _say_the_end(run)
        finally:
            _finish(run)
    return run.record


async def _run_shards(
    run: Run, arrivals: Arrivals | None, run_shard: ShardRunner, background: Background | None
) -> None:
    # As of now: a part that goes while the run works has been counted, and is asked for by resume.
    shards = [n for n in run.record.shards if not run.directory.results(n).exists()]
    run.ledger.check_budget()

    async def one_shard(number: int) -> None:
        await _until_it_stops(run, partial(run_shard, run, number))

    async with supervised(run, background):
        if arrivals is None:
            await _in_lanes(run, shards, one_shard)
        else:
            by_file = partial(work_by_file, run, arrivals, shards, one_shard)
            await _until_it_stops(run, by_file)
        await run.outlet.settled(run.stopping.wait, run.config.shutdown_grace_s)


async def _in_lanes(
    run: Run, shards: list[int], one_shard: Callable[[int], Awaitable[None]]
) -> None:
    numbers = iter(shards)

    async def lane() -> None:
        for number in numbers:
            await run.outlet.room(lambda: run.stopping.is_on)
            if not run.stopping.is_on:
                await one_shard(number)

    async with asyncio.TaskGroup() as group:
        # A second shard fills the gap while the last items of the first one end.
        for _ in range(2 + run.plan.max_in_flight // run.record.shard_size):
            group.create_task(lane())


async def _until_it_stops(run: Run, work: Callable[[], Awaitable[None]]) -> None:
    try:
        await when_files_are_free(work)
    except Exception as exc:
        reason = exc if isinstance(exc, OmniBatchError) else out_of_memory(exc)
        if reason is None:
            raise
        run.stop(reason)


def _count(run: Run) -> None:
    """Whoever says "finished" has counted the rows, and seen the files that they name."""
    if run.stopping.is_on:
        return
    counted = msgspec.structs.replace(run.record, state="finished")
    if lack := shortage_of_files(run.directory, counted) or _miscount(run):
        run.stop(StorageError(lack))


def _miscount(run: Run) -> str | None:
    """Rows that went after they had been counted were asked for, and counted, twice."""
    done, items = run.ledger.counts.done, run.record.items
    if done == items:
        return None
    return f"{done:,} results were counted for {items:,} rows; resume counts what is there"


async def _say_the_end(run: Run) -> None:
    """At a store "finished" is the last word, and is said here once it is said there."""
    if _is_whole(run) and run.stopping.reason is None:
        try:
            await run.outlet.end(run.update_record("finished"))
        except StorageError as exc:
            run.stop(exc)


def _is_whole(run: Run) -> bool:
    return all(run.directory.results(n).exists() for n in run.record.shards)


def _finish(run: Run) -> None:
    reason = run.stopping.reason
    if _is_whole(run) and reason is None:
        for folder in run.directory.scaffolds:
            shutil.rmtree(folder, ignore_errors=True)
        run.write_record("finished")
        return
    asked = reason is None or isinstance(reason, Interrupted)
    run.write_record("interrupted" if asked else "stopped")
