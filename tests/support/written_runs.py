"""Runs written down by the run directory's own writers, without asking anybody anything."""

import hashlib
import wave
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from omni_batch.doubts import Doubt
from omni_batch.endpoint_status import EndpointStatus
from omni_batch.errors import OmniBatchError, Rejected
from omni_batch.progress.counters import of_tables
from omni_batch.store import Counts, Entry, Journal, RunDir, RunRecord
from omni_batch.store.columns import RunFacts, attempt_rows, result_columns, result_row
from omni_batch.store.items import ItemsWriter
from omni_batch.store.parts import write_parts
from omni_batch.store.read import read_tables
from omni_batch.store.record import write_record
from omni_batch.store.trust.marks import vouched
from omni_batch.types import Answer, Attempt, Cost, Item, Response, Result, Speech, Usage, WavFile

TIME = datetime(2026, 11, 21, 2, 0, 0, tzinfo=UTC)
SHARD_SIZE = 500


@dataclass(frozen=True)
class Written:
    """One item and what became of it; no text means that it failed."""

    item_id: str
    text: str | None = "answer"
    annotation: Any = None
    speech_s: float = 0.0
    cost: float | None = 0.001
    tokens: int = 15
    latency_s: float = 1.0
    message: str = "=no"
    """Of its error, where it failed."""
    error: OmniBatchError | None = None
    """Where it is another one than Rejected; then the text may be there."""
    attempts: tuple[Attempt, ...] | None = None
    """Others than the one that the fields above tell of."""
    reused_from: str | None = None
    doubts: tuple[Doubt, ...] = ()
    columns: dict[str, Any] = field(default_factory=dict)
    """Of its Item: image, audio, frames, variant, sample, source, …"""


def write_run(
    root: Path,
    rows: Iterable[Written],
    *,
    items: int,
    unfinished_shards: int = 0,
    base_folder: Path = Path(),
    media_roots: Iterable[str] = (".",),
    endpoints: tuple[EndpointStatus, ...] = (),
    elapsed_s: float = 0.0,
    schema: dict[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    times: int = 1,
) -> RunDir:
    """Write a whole run; the last `unfinished_shards` stay journals.

    Args:
        schema: of its annotations.
        config: further keys, such as `variants`.
        times: rows of one item, one after the other.
    """
    run = RunDir(root)
    run.make_folders()
    shards = -(-items // SHARD_SIZE)
    numbered = enumerate(rows)
    with ItemsWriter(run.items, SHARD_SIZE, times=times) as manifest:
        for shard_number in range(shards):
            with Journal(run.journal(shard_number)) as journal:
                for number, row in _take(numbered, SHARD_SIZE):
                    item = Item(row.item_id, number, **row.columns)
                    # Items that share an id need not come in whole groups here, as `times` asks.
                    own_id = item.item_id if times > 1 else item.name
                    manifest.add(replace(item, item_id=own_id))
                    journal.append(_entry(run, row, item))
            if shard_number < shards - unfinished_shards:
                write_parts(run, shard_number, columns=result_columns(schema))
        manifest.close()
    record = RunRecord(
        run_id=run.run_id,
        state="running" if unfinished_shards else "finished",
        items=items,
        shard_size=SHARD_SIZE,
        created_at=TIME,
        base_folder=str(base_folder),
        endpoints=endpoints,
        annotation_schema=schema,
        config={
            "name": "test",
            "model": "qwen3-omni-flash",
            "endpoint": {"name": "simulator"},
            "request": {
                "prompt": "Describe {{ subject }}.",
                "modalities": ["text", "audio"],
            },
            "media": {"roots": [*media_roots]},
            **(config or {}),
        },
    )
    write_record(run.record, record)
    tables = (of_tables(*pair) for pair in read_tables(run, record))
    counts = sum(tables, Counts(elapsed_s=elapsed_s))
    write_record(run.record, vouched(run, msgspec.structs.replace(record, counts=counts)))
    return run


def _take(numbered: Any, count: int) -> Iterable[tuple[int, Written]]:
    for _, pair in zip(range(count), numbered, strict=False):
        yield pair


def _entry(run: RunDir, row: Written, item: Item) -> Entry:
    usage = Usage(row.tokens - 5, 5, row.tokens)
    response = Response(row.text or "", None, "stop", usage, None, "chat-1")
    failed = row.text is None
    error = row.error or (Rejected(row.message, code="InvalidParameter") if failed else None)
    cost = None if row.cost is None else Cost(row.cost, "USD")
    attempt = Attempt(
        1,
        TIME,
        row.latency_s,
        http_status=400 if failed else 200,
        error=error,
        usage=None if failed else usage,
        cost=None if failed else cost,
    )
    result = Result(
        item=item,
        started_at=TIME,
        latency_s=row.latency_s,
        attempts=_attempts(row, attempt),
        answer=None if failed else Answer(response, _speech(run, row)),
        error=error,
        cost=None if failed else cost,
        reused_from=row.reused_from,
        doubts=row.doubts,
    )
    facts = RunFacts(run.run_id, "qwen3-omni-flash", "simulator")
    return Entry(
        result_row(facts, result) | {"annotation": row.annotation}, attempt_rows(facts, result)
    )


def _attempts(row: Written, usual: Attempt) -> tuple[Attempt, ...]:
    if row.attempts is not None:
        return row.attempts
    return () if row.reused_from else (usual,)


def _speech(run: RunDir, row: Written) -> WavFile | None:
    if not row.speech_s:
        return None
    path = run.speech(row.item_id)
    samples = round(row.speech_s * 24_000)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(b"\x01\x00" * samples)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return WavFile(str(path.relative_to(run.root)), Speech(samples, 24_000), sha256)
