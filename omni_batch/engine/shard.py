"""A shard: its items side by side, each kept as soon as it ends, then its part of both tables."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from omni_batch.engine.item import process_item
from omni_batch.engine.run import Run
from omni_batch.engine.same_questions import Turn
from omni_batch.engine.sending.send import History
from omni_batch.errors import OmniBatchError, StorageError
from omni_batch.store import Entry, Journal
from omni_batch.store.audio import drop_unclaimed
from omni_batch.store.columns import (
    RunFacts,
    attempt_rows,
    in_doubt_row,
    result_columns,
    result_row,
)
from omni_batch.store.disk import in_thread
from omni_batch.store.items import read_items
from omni_batch.store.parts import write_parts
from omni_batch.store.reopen import ShardProgress, read_progress
from omni_batch.types import Attempt, Item, Result, Sent


async def process_shard(run: Run, shard_number: int) -> None:
    """Finish one shard: every item that has no result yet, then the part.

    Where answers come as files, it takes in those that are here; the part is left for later where
    some items are asked again.
    """
    directory = run.directory
    items = await asyncio.to_thread(
        read_items, directory.items, shard_number, run.record.shard_size
    )
    progress = read_progress(directory.journal(shard_number))
    waiting = [item for item in items if item.row_number not in progress.done]
    await asyncio.to_thread(drop_unclaimed, directory, waiting)
    with Journal(directory.journal(shard_number), directory.disk) as journal:
        left = await _process_items(run, _ShardLog(journal, run.facts), waiting, progress)
        if not run.stopping.is_on and not left:
            rows = {item.row_number for item in items}
            columns = result_columns(run.record.annotation_schema)
            await in_thread(write_parts, directory, shard_number, rows, journal, columns)


@dataclass(frozen=True, slots=True)
class _ShardLog:
    """Results and attempts as lines of a shard's journal."""

    journal: Journal
    facts: Callable[[Item], RunFacts]

    async def finished(self, result: Result) -> None:
        facts = self.facts(result.item)
        self.journal.append(Entry(result_row(facts, result), attempt_rows(facts, result)))
        await self.journal.sync()

    def unfinished(self, result: Result) -> None:
        self.journal.append(Entry(None, attempt_rows(self.facts(result.item), result)))


@dataclass(frozen=True, slots=True)
class _ItemLog:
    """The attempts for one item as lines of its shard's journal.

    None of them waits for the disk: the next result that does takes them along.
    """

    shard: _ShardLog
    item: Item

    def sent(self, sent: Sent) -> None:
        row = in_doubt_row(self.shard.facts(self.item), self.item, sent)
        self.shard.journal.append(Entry(None, [row]))

    def ended(self, attempt: Attempt) -> None:
        self.shard.unfinished(Result(self.item, attempt.started_at, 0.0, (attempt,)))


async def _process_items(
    run: Run, log: _ShardLog, items: list[Item], progress: ShardProgress
) -> list[Item]:
    """Work on them side by side; those that are asked again later."""
    left: list[Item] = []
    async with asyncio.TaskGroup() as group:
        for item in items:
            await run.gate.acquire()
            if run.stopping.is_on:
                run.gate.release()
                break
            before = progress.attempts.get(item.row_number, 0)
            history = History(before, log=_ItemLog(log, item))
            run.stopping.start(group, _run_item(run, log, item, history, left))
    return left


async def _run_item(
    run: Run, log: _ShardLog, item: Item, history: History, left: list[Item]
) -> None:
    turn = run.questions.turn()
    try:
        result = await _result(run, item, history, turn)
        run.stopping.keep_current()
        if result is None:
            left.append(item)
            _keep_attempts(run, log, item, history)
            return
        await log.finished(result)  # before anything else can fail
        turn.written(result)
        run.ledger.item_ended(result)
    except asyncio.CancelledError:
        _keep_attempts(run, log, item, history)
        raise
    except OmniBatchError as exc:
        _keep_attempts(run, log, item, history)
        run.stop(exc)
    finally:
        turn.end()
        run.gate.release()


async def _result(run: Run, item: Item, history: History, turn: Turn) -> Result | None:
    if run.answered is not None:
        return await run.answered(run, item, history)
    return await process_item(run, item, history, turn)


def _keep_attempts(run: Run, log: _ShardLog, item: Item, history: History) -> None:
    """Write what was sent for an item that has no result yet: it may be on the bill."""
    if not history.attempts:
        return
    unfinished = Result(item, datetime.now(UTC), 0.0, tuple(history.attempts))
    run.ledger.item_left(unfinished)
    try:
        log.unfinished(unfinished)
    except StorageError as exc:
        run.stop(exc)
