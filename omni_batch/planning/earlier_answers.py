"""How long the answers of earlier runs were, for estimates of the next one with the same config."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from omni_batch.config import Config, parse_config
from omni_batch.errors import OmniBatchError
from omni_batch.planning.plan import Plan
from omni_batch.progress.spending.estimates import AnswerBill
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.read import list_runs, read_results

_RUNS_LOOKED_AT = 100
_SHARDS_READ = 20
_ENOUGH_ANSWERS = 1000
_BILLED = ("audio_path", "completion_tokens", "completion_audio_tokens")
_NAMES = ("status", "reused_from", "variant", *_BILLED)


@dataclass(frozen=True, slots=True)
class EarlierAnswers:
    """What is known of earlier answers, at least of one."""

    found: tuple[tuple[str | None, AnswerBill], ...]
    """Each with the variant that asked; those of the newest run last."""
    run_id: str
    """The newest run that has some."""

    @property
    def bills(self) -> tuple[AnswerBill, ...]:
        """All of them."""
        return tuple(bill for _, bill in self.found)

    def of(self, variant: str | None) -> tuple[AnswerBill, ...]:
        """Those to one variant."""
        return tuple(bill for name, bill in self.found if name == variant)


def load_answers(plan: Plan, output: Path) -> EarlierAnswers | None:
    """Of the newest runs with the same name, model and request; at most some 1,000 answers.

    A run that goes on finds its own.
    """
    bills: list[tuple[str | None, AnswerBill]] = []
    named: str | None = None
    shards = islice(_shards(plan.config, output), _SHARDS_READ)
    for directory, record, shard_number in shards:
        with suppress(OmniBatchError, OSError, pa.ArrowException):  # it may be of another version
            table = read_results(directory, record, shard_number, _NAMES)
            found = _bills(table, _ENOUGH_ANSWERS - len(bills))
            bills += found
            named = named or (directory.run_id if found else None)
        if len(bills) >= _ENOUGH_ANSWERS:
            break
    return EarlierAnswers(tuple(reversed(bills)), named) if named else None


def _shards(config: Config, output: Path) -> Iterator[tuple[RunDir, RunRecord, int]]:
    for directory, record in islice(list_runs(output), _RUNS_LOOKED_AT):
        if record.counts.succeeded > record.counts.reused and _asks_the_same(record, config):
            for shard_number in record.shards:
                yield directory, record, shard_number


def _asks_the_same(record: RunRecord, config: Config) -> bool:
    if record.config.get("name") != config.name or record.config.get("model") != config.model:
        return False
    with suppress(OmniBatchError):
        earlier = parse_config(record.config)
        return (earlier.request, earlier.variants) == (config.request, config.variants)
    return False


def _bills(results: pa.Table, most: int) -> list[tuple[str | None, AnswerBill]]:
    # Not by Arrow's functions: they import pandas, which takes longer than a thousand rows.
    paid = (row for row in results.to_pylist() if _is_paid(row))
    return [(row["variant"], _bill(row)) for row in islice(paid, most)]


def _bill(row: dict[str, Any]) -> AnswerBill:
    speaks = row["audio_path"] is not None
    return AnswerBill(row["completion_tokens"], row["completion_audio_tokens"], speaks)


def _is_paid(row: dict[str, Any]) -> bool:
    billed = row["completion_tokens"] is not None
    return billed and row["status"] == "succeeded" and row["reused_from"] is None
