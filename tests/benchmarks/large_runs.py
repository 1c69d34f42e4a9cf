"""Finished runs of any size, written down in the time that their tables take.

One shard is made of real results by the store's own writers. All others are that shard with ids,
row numbers, questions, answers and fingerprints of their own.
"""

import asyncio
import csv
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from omni_batch.config import Config
from omni_batch.errors import Rejected
from omni_batch.planning.plan import Plan, make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.planning.prepared_item import PreparedItem, prepare_item
from omni_batch.progress.counters import of_tables
from omni_batch.requests.fingerprint import fingerprint
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.columns import (
    ATTEMPT_COLUMNS,
    RESULT_COLUMNS,
    RunFacts,
    attempt_rows,
    result_row,
    table,
)
from omni_batch.store.items import read_items
from omni_batch.store.record import read_record, write_record
from omni_batch.store.trust.marks import vouched
from omni_batch.types import Answer, Attempt, Cost, Item, Message, Response, Result, Usage
from tests.benchmarks.bench import config

PORT = 45_777
BASE_URL = f"http://127.0.0.1:{PORT}/compatible-mode/v1"
LEFT = 0.01
"""Share of the rows that `resume` has to do, and that are new in `reuse`."""
_BEGUN = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
_FAILS_EVERY = 100
_WORDS = ("a", "small", "red", "cup", "stands", "on", "the", "wooden", "table", "near", "windows")
_ANSWERS = 997


def make(folder: Path, rows: int, command: str) -> None:
    """What `large.py` needs for a command, where it isn't there yet.

    A config over `rows` rows, finished runs `a` and `b` of it, `c`: `a` with some of it left, and
    `tonight.yaml`, which reuses `a`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = config(folder, BASE_URL, rows, speech=False, in_flight=64)
    write_config(folder / "config.yaml", settings)
    runs = folder / "runs"
    needed = ["a", "b"] if command == "compare" else [] if command in ("check", "run") else ["a"]
    for seed, name in enumerate(needed):
        if not (runs / name).exists():
            finished_run(settings, name, seed)
    shutil.rmtree(folder / "begun", ignore_errors=True)
    if command == "resume":
        shutil.rmtree(runs / "c", ignore_errors=True)
        shutil.copytree(runs / "a", runs / "c", copy_function=os.link)
        reopen(RunDir(runs / "c"), LEFT)
    if command == "reuse":
        shutil.rmtree(runs / "tonight", ignore_errors=True)
        tonight = folder / "tonight.csv"
        write_manifest(tonight, rows, new=LEFT)
        manifest = settings.manifest.model_copy(update={"path": str(tonight)})
        asked = {"manifest": manifest, "reuse": (str(runs / "a"),)}
        write_config(folder / "tonight.yaml", settings.model_copy(update=asked))


def write_config(path: Path, settings: Config) -> None:
    """JSON is YAML."""
    path.write_text(json.dumps(settings.model_dump(mode="json")), encoding="utf-8")


def finished_run(settings: Config, run_id: str, seed: int) -> RunDir:
    """A run whose every hundredth row failed, with one request for each row."""
    plan = make_plan(settings)
    directory = prepare_run(plan, run_id)
    record = read_record(directory.record)
    writer = _ShardWriter(plan, directory, record, seed)
    counts = record.counts
    for number in record.shards:
        counts += of_tables(*writer.write(number))
    counts = msgspec.structs.replace(counts, elapsed_s=record.items * 0.1)
    done = msgspec.structs.replace(record, state="finished", counts=counts, finished_at=_BEGUN)
    write_record(directory.record, vouched(directory, done))
    return directory


def reopen(directory: RunDir, share: float) -> None:
    """Make it a run that was interrupted when the last rows, so large a share, were left."""
    record = read_record(directory.record)
    left = max(1, round(len(record.shards) * share))
    for number in list(record.shards)[-left:]:
        directory.results(number).unlink()
        directory.attempts(number).unlink()
    directory.journals.mkdir(exist_ok=True)
    open_again = msgspec.structs.replace(record, state="interrupted", finished_at=None)
    write_record(directory.record, vouched(directory, open_again))


def write_manifest(path: Path, rows: int, *, new: float) -> None:
    """The rows of `bench.config`, of which a share, drawn at random, asks something else."""
    changed = set(Random(7).sample(range(rows), round(rows * new)))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "prompt"])
        for number in range(rows):
            what = "new number" if number in changed else "number"
            writer.writerow([f"row-{number:07d}", f"Say something about the {what} {number}."])


class _ShardWriter:
    """Writes both parts of shards."""

    def __init__(self, plan: Plan, directory: RunDir, record: RunRecord, seed: int) -> None:
        self._plan, self._directory, self._record = plan, directory, record
        self._answers = pa.array(list(_answers(seed)))
        items = read_items(directory.items, 0, record.shard_size)
        self._question = asyncio.run(_prepared(plan, items[0]))
        facts = RunFacts(directory.run_id, plan.config.model, plan.endpoint_names)
        results = [_result(self._question, item) for item in items]
        attempts = [row for result in results for row in attempt_rows(facts, result)]
        self._results = table(RESULT_COLUMNS, [result_row(facts, result) for result in results])
        self._attempts = table(ATTEMPT_COLUMNS, attempts)

    def write(self, shard_number: int) -> tuple[pa.Table, pa.Table]:
        """Both tables, as they were written."""
        items = read_items(self._directory.items, shard_number, self._record.shard_size)
        results = _with_items(self._results.slice(0, len(items)), items)
        attempts = _with_items(self._attempts.slice(0, len(items)), items)
        results = self._with_answers(results, items)
        pq.write_table(results, self._directory.results(shard_number), compression="zstd")
        pq.write_table(attempts, self._directory.attempts(shard_number), compression="zstd")
        return results, attempts

    def _with_answers(self, results: pa.Table, items: list[Item]) -> pa.Table:
        numbers = np.array([item.row_number for item in items])
        texts = pc.binary_join_element_wise(
            pc.cast(pa.array(numbers), pa.string()),
            self._answers.take(pa.array(numbers * 31 % _ANSWERS)),
            ": ",
        )
        succeeded = pc.equal(results["status"], "succeeded")
        results = _with(results, "text", pc.if_else(succeeded, texts, None))
        results = _with(results, "prompt", pa.array([item.prompt for item in items]))
        return _with(results, "fingerprint", pa.array([self._fingerprint(item) for item in items]))

    def _fingerprint(self, item: Item) -> str:
        turns = (Message("user", (item.prompt or "",)),)
        request = replace(self._question.request, messages=turns)
        return fingerprint(request, self._plan.endpoint_names)


async def _prepared(plan: Plan, item: Item) -> PreparedItem:
    async with aclosing(plan.media_source(checking=True)) as source:
        return await prepare_item(plan, source, item)


def _answers(seed: int) -> Iterator[str]:
    random = Random(seed)
    for _ in range(_ANSWERS):
        yield " ".join(random.choices(_WORDS, k=random.randint(30, 60)))


def _result(question: PreparedItem, item: Item) -> Result:
    random = Random(item.row_number)
    failed = item.row_number % _FAILS_EVERY == _FAILS_EVERY - 1
    error = Rejected("the service refused it", code="InvalidParameter") if failed else None
    usage, cost = Usage(20, 60, 80, 20), Cost(0.001, "USD")
    latency_s = random.lognormvariate(0.7, 0.5)
    started_at = _BEGUN + timedelta(seconds=item.row_number * 0.1)
    attempt = Attempt(
        1,
        started_at,
        latency_s,
        first_chunk_s=latency_s / 3,
        http_status=400 if failed else 200,
        request_id=f"chat-{item.row_number}",
        error=error,
        usage=None if failed else usage,
        cost=None if failed else cost,
    )
    return Result(
        item,
        started_at,
        latency_s,
        attempts=(attempt,),
        request=question.request,
        answer=None if failed else Answer(Response("", None, "stop", usage, None, "chat"), None),
        error=error,
        cost=None if failed else cost,
        estimated_prompt_tokens=question.estimate.total,
        fingerprint="",
    )


def _with_items(rows: pa.Table, items: list[Item]) -> pa.Table:
    first_s = (items[0].row_number) * 0.1
    later = pc.add(rows["started_at"], pa.scalar(timedelta(seconds=first_s), pa.duration("us")))
    rows = _with(rows, "item_id", pa.array([item.item_id for item in items]))
    rows = _with(rows, "row_number", pa.array([item.row_number for item in items]))
    return _with(rows, "started_at", later)


def _with(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    place = rows.column_names.index(name)
    return rows.set_column(place, rows.schema.field(place), values)


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
