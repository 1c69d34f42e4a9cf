"""What does a nightly increment cost?  python -m tests.benchmarks.reuse [ROWS] [--shuffled]

A manifest of ROWS (1,000,000) short texts, of which an earlier run has answered 99 %; the new ones
are spread at random. Prints the time from the start of the command to its first request, peak
memory, and the time of all for each reused row. --shuffled puts the known rows in another order.
"""

import asyncio
import csv
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from omni_batch.config import Config
from omni_batch.engine.pipeline import execute
from omni_batch.engine.run import Run
from omni_batch.planning.plan import Plan, make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.planning.prepared_item import prepare_item
from omni_batch.requests.fingerprint import fingerprint
from omni_batch.store import RunDir
from omni_batch.store.columns import ATTEMPT_COLUMNS, RESULT_COLUMNS, RunFacts, result_row, table
from omni_batch.store.items import read_items
from omni_batch.store.record import read_record, write_record
from omni_batch.types import Answer, Item, Response, Result, Usage
from tests.benchmarks.bench import config, simulator

_KNOWN = 0.99
_ANSWER = "A reply of the usual length about the number that was asked for, word by word. " * 3


def main(rows: int, *, shuffled: bool) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, simulator() as base_url:
        known = config(Path(folder), base_url, rows, speech=False, in_flight=64)
        asyncio.run(answered(known))
        tonight = Path(folder, "tonight.csv")
        new = write_manifest(tonight, rows, shuffled=shuffled)
        settings = known.model_copy(
            update={
                "manifest": known.manifest.model_copy(update={"path": str(tonight)}),
                "reuse": (f"{folder}/runs/earlier",),
            }
        )
        here, there = multiprocessing.Pipe()
        # Peak memory is of a process, so the run has one of its own.
        process = multiprocessing.get_context("spawn").Process(
            target=measured, args=(there, settings)
        )
        process.start()
        first_s, indexed_s, all_s, peak_mb, counts = here.recv()
        process.join()
    reused = counts["reused"]
    print(f"{rows:,} rows, {counts['succeeded']:,} succeeded, {reused:,} reused, {new:,} new")
    print(f"first request after {first_s:.1f} s, of which the index took {indexed_s:.1f} s")
    print(f"peak memory {peak_mb:.0f} MB")
    print(f"in all {all_s:.1f} s, {1e6 * all_s / reused:.0f} us for each reused row")


async def answered(settings: Config) -> None:
    """An earlier run whose answers are made up, written as the pipeline writes them."""
    plan = make_plan(settings)
    directory = prepare_run(plan, "earlier")
    record = read_record(directory.record)
    for number in record.shards:
        items = read_items(directory.items, number, record.shard_size)
        rows = [await answered_row(plan, directory, item) for item in items]
        pq.write_table(table(RESULT_COLUMNS, rows), directory.results(number), compression="zstd")
        pq.write_table(table(ATTEMPT_COLUMNS, []), directory.attempts(number), compression="zstd")
    write_record(directory.record, msgspec.structs.replace(record, state="finished"))


async def answered_row(plan: Plan, directory: RunDir, item: Item) -> dict[str, object]:
    """One row of the earlier run."""
    question = await prepare_item(plan, plan.media_source(checking=False), item)
    text = f"{item.row_number}: {_ANSWER}"
    response = Response(text, None, "stop", Usage(20, 60, 80, 20), None, "chat-1")
    result = Result(
        item,
        datetime.now(UTC),
        1.0,
        request=question.request,
        answer=Answer(response, None),
        estimated_prompt_tokens=question.estimate.total,
        fingerprint=fingerprint(question.request, plan.endpoint_names),
    )
    return result_row(RunFacts(directory.run_id, plan.config.model, plan.endpoint_names), result)


def write_manifest(path: Path, rows: int, *, shuffled: bool) -> int:
    """Tonight's rows; returns how many of them are new."""
    random.seed(7)
    order = list(range(rows))
    if shuffled:
        random.shuffle(order)
    new = set(random.sample(range(rows), round(rows * (1 - _KNOWN))))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "prompt"])
        for number in order:
            what = "new number" if number in new else "number"
            writer.writerow([f"row-{number:07d}", f"Say something about the {what} {number}."])
    return len(new)


def measured(pipe: Connection, settings: Config) -> None:
    """The run, in a process of its own."""
    started_s = time.monotonic()
    seen_s: dict[str, float] = {}

    async def watch(run: Run) -> None:
        seen_s["indexed"] = time.monotonic()
        while not run.router.in_flight:  # noqa: ASYNC110  a moment, not an event
            await asyncio.sleep(0.001)
        seen_s["first"] = time.monotonic()

    directory = prepare_run(make_plan(settings))
    prepared_s = time.monotonic()
    record = asyncio.run(execute(directory, background=watch))
    pipe.send(
        (
            seen_s["first"] - started_s,
            seen_s["indexed"] - prepared_s,
            time.monotonic() - started_s,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            msgspec.to_builtins(record.counts),
        )
    )


if __name__ == "__main__":
    sizes = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    main(sizes[0] if sizes else 1_000_000, shuffled="--shuffled" in sys.argv)
