"""The way of an item through the system, and of a run through its items."""

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from omni_batch.catalogue.prices import with_cost
from omni_batch.config import Config, load_config
from omni_batch.engine.attempt import send
from omni_batch.engine.run import Run, open_run
from omni_batch.engine.supervise import Background, supervised
from omni_batch.errors import (
    BudgetReached,
    Interrupted,
    OmniBatchError,
    StorageError,
    out_of_memory,
)
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.planning.prepared_item import PreparedItem, prepare_item
from omni_batch.planning.reuse import Reused, reuse
from omni_batch.progress.budget import check_budget
from omni_batch.requests.fingerprint import fingerprint
from omni_batch.store import Entry, Journal, RunDir, RunRecord
from omni_batch.store.audio import drop_unclaimed
from omni_batch.store.columns import attempt_rows, result_row
from omni_batch.store.disk import in_thread
from omni_batch.store.items import read_items
from omni_batch.store.parts import write_parts
from omni_batch.store.reopen import read_progress
from omni_batch.types import Answer, Attempt, Cost, Item, Request, Result

log = logging.getLogger("omni_batch")

ShardRunner = Callable[[Run, int], Awaitable[None]]
_ACTIVE: ContextVar[Run] = ContextVar("active_run")


def active_run() -> Run:
    """The run that the current task works for."""
    return _ACTIVE.get()


async def run_batch(config: Config | str | Path, *, run_id: str | None = None) -> RunRecord:
    """Run a configuration from manifest to Parquet.

    Raises:
        ConfigError, ManifestError: refused; nothing was sent, no run directory is left.
    """
    plan = make_plan(config if isinstance(config, Config) else load_config(config))
    return await execute(prepare_run(plan, run_id))


async def execute(
    directory: RunDir, run_shard: ShardRunner | None = None, background: Background | None = None
) -> RunRecord:
    """Work on a prepared or interrupted run until it is finished or has to stop.

    Args:
        run_shard: how a shard is run, `process_shard` by default; Prefect wraps a task around it.
        background: goes on while the shards do and is cancelled at their end.

    Raises:
        ConfigError: no run directory, or another process owns it.
    """
    async with open_run(directory) as run:
        _ACTIVE.set(run)
        try:
            await _run_shards(run, run_shard or process_shard, background)
        finally:
            _finish(run)
    return run.record


async def process_shard(run: Run, shard_number: int) -> None:
    """Finish one shard: every item that has no result yet, then the part."""
    directory = run.directory
    items = await asyncio.to_thread(
        read_items, directory.items, shard_number, run.record.shard_size
    )
    standing = read_progress(directory.journal(shard_number))
    waiting = [item for item in items if item.row_number not in standing.done]
    await asyncio.to_thread(drop_unclaimed, directory, waiting)
    with Journal(directory.journal(shard_number), directory.disk) as journal:
        async with asyncio.TaskGroup() as group:
            for item in waiting:
                await run.gate.acquire()
                if run.stop_reason is not None:
                    run.gate.release()
                    break
                history = History(standing.attempts.get(item.row_number, 0))
                task = group.create_task(_run_item(run, journal, item, history))
                run.tasks.add(task)
                task.add_done_callback(run.tasks.discard)
    if run.stop_reason is None:
        await in_thread(write_parts, directory, shard_number)


@dataclass(frozen=True, slots=True)
class History:
    """The attempts for one item: those of earlier processes are counted, those of this one held."""

    before: int = 0
    attempts: list[Attempt] = field(default_factory=list)


async def process_item(run: Run, item: Item, history: History | None = None) -> Result:
    """One item, from its row to its result.

    Args:
        history: gets every attempt as it ends, so that none is lost where there is no result.

    Raises:
        OmniBatchError: only what stops the run; all else becomes the result.
    """
    started_at, started_s = datetime.now(UTC), time.monotonic()
    history = history or History()
    prepared: PreparedItem | None = None
    mark: str | None = None
    reused: Reused | None = None
    answer: Answer | None = None
    error: Exception | None = None

    try:
        prepared = await prepare_item(run.plan, run.loader, item)
        mark = fingerprint(prepared.request, run.plan.endpoint_names)
        reused = await reuse(run.reuse_index, mark, run.directory, item.item_id)
        spoken = prepared.request.wants_audio
        answer = (
            reused.answer
            if reused
            else await send(
                run.router,
                prepared,
                partial(run.estimates.tokens, prepared.estimate, spoken=spoken),
                run.directory,
                run.config.retry,
                raise_if_stopping=run.check_going,
                record=_recorder(run, prepared, history),
            )
        )
    except OmniBatchError as exc:
        if exc.stops_run:
            raise
        error = exc
    except Exception as exc:  # a bug of ours costs a row, not the batch
        if (lack := out_of_memory(exc)) is not None:
            raise lack from exc
        log.exception("item %s", item.item_id)
        error = exc
    request = prepared.request if prepared else None
    return Result(
        item=item,
        started_at=started_at,
        latency_s=time.monotonic() - started_s,
        attempts=tuple(history.attempts),
        attempts_before=history.before,
        request=request,
        answer=answer,
        error=error,
        estimated_prompt_tokens=prepared.estimate.total if prepared else None,
        estimated_text_tokens=prepared.estimate.text if prepared else None,
        cost=_cost(run, request, answer, history, reused),
        reused_from=reused.run_id if reused else None,
        fingerprint=mark,
        warnings=_warnings(prepared, answer),
    )


def _warnings(prepared: PreparedItem | None, answer: Answer | None) -> tuple[str, ...]:
    found = (
        *(prepared.warnings if prepared else ()),
        *(answer.response.warnings if answer else ()),
    )
    return tuple(dict.fromkeys(found))  # a reused answer brings those of its request along


def _cost(
    run: Run,
    request: Request | None,
    answer: Answer | None,
    history: History,
    reused: Reused | None,
) -> Cost | None:
    if answer is None or request is None:
        return None
    last = history.attempts[-1].endpoint if history.attempts else None
    cost = run.plan.tariff(last, spoken=request.wants_audio).cost(answer.response.usage)
    return replace(cost, amount=0.0) if cost and reused else cost


def _recorder(run: Run, prepared: PreparedItem, history: History) -> Callable[[Attempt], Attempt]:
    def record(attempt: Attempt) -> Attempt:
        tariff = run.plan.tariff(attempt.endpoint, spoken=prepared.request.wants_audio)
        attempt = with_cost(attempt, prepared.estimate, tariff)
        history.attempts.append(replace(attempt, number=history.before + attempt.number))
        run.counters.add_attempt(history.attempts[-1])
        run.observers.on_attempt_end(prepared.item, history.attempts[-1])
        _check_budget(run)
        return attempt

    return record


async def _run_item(run: Run, journal: Journal, item: Item, history: History) -> None:
    try:
        result = await process_item(run, item, history)
        if (task := asyncio.current_task()) is not None:
            run.tasks.discard(task)  # what has been answered is kept, however soon the run ends
        await _keep(run, journal, result)
    except asyncio.CancelledError:
        _keep_attempts(run, journal, item, history)
        raise
    except OmniBatchError as exc:
        _keep_attempts(run, journal, item, history)
        run.stop(exc)
    finally:
        run.gate.release()


def _keep_attempts(run: Run, journal: Journal, item: Item, history: History) -> None:
    """Write what was sent for an item that has no result yet: it may be on the bill."""
    if not history.attempts:
        return
    unfinished = Result(item, datetime.now(UTC), 0.0, tuple(history.attempts))
    run.observers.on_item_end(unfinished)
    try:
        journal.append(Entry(None, attempt_rows(run.facts, unfinished)))
    except StorageError as exc:
        run.stop(exc)


async def _keep(run: Run, journal: Journal, result: Result) -> None:
    """Write the result before anything else can fail, then learn from it."""
    journal.append(Entry(result_row(run.facts, result), attempt_rows(run.facts, result)))
    await journal.sync()
    run.counters.add_result(result)
    run.observers.on_item_end(result)
    usage = result.answer.response.usage if result.answer else None
    if usage is not None and result.request is not None and result.reused_from is None:
        spoken = result.request.wants_audio
        run.estimates.learn(result.estimated_text_tokens, usage, spoken=spoken)
    _check_budget(run)


def _check_budget(run: Run) -> None:
    try:
        check_budget(run.config.budget, run.counters.counts)
    except BudgetReached as exc:
        run.stop(exc)


async def _run_shards(run: Run, run_shard: ShardRunner, background: Background | None) -> None:
    numbers = (n for n in range(run.record.shards) if not run.directory.results(n).exists())

    _check_budget(run)

    async def lane() -> None:
        for number in numbers:
            if run.stop_reason is None:
                await _until_it_stops(run, run_shard(run, number))

    async with supervised(run, background), asyncio.TaskGroup() as group:
        # A second shard fills the gap while the last items of the first one end.
        for _ in range(2 + run.plan.max_in_flight // run.record.shard_size):
            group.create_task(lane())


async def _until_it_stops(run: Run, work: Awaitable[None]) -> None:
    try:
        await work
    except Exception as exc:
        reason = exc if isinstance(exc, OmniBatchError) else out_of_memory(exc)
        if reason is None:
            raise
        run.stop(reason)


def _finish(run: Run) -> None:
    whole = all(run.directory.results(n).exists() for n in range(run.record.shards))
    if whole and run.stop_reason is None:
        shutil.rmtree(run.directory.journals, ignore_errors=True)
        run.write_record("finished")
        return
    reason = run.stop_reason
    run.write_record(
        "interrupted" if reason is None or isinstance(reason, Interrupted) else "stopped"
    )
