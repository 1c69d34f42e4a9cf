"""Answers that a run itself has: found by fingerprint, read when another row asks the same."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pyarrow.compute as pc

from omni_batch.errors import StorageError
from omni_batch.store.journal import ResultFinder
from omni_batch.store.read import read_results
from omni_batch.store.record import RunRecord
from omni_batch.store.reuse_index import KEPT_SHARDS, KeptParts, is_answer
from omni_batch.store.run_dir import RunDir

MOST_QUESTIONS = 100_000
"""How many different questions are remembered: some 20 MB, whatever the number of rows."""
_KEY_DIGITS = 15  # of 64: 60 bits, the most that Python keeps in two digits of its own


class LastQuestions:
    """The last different questions, each with the row that asked it. The oldest are forgotten."""

    def __init__(self, most: int = MOST_QUESTIONS) -> None:
        self._most = most
        self._rows: OrderedDict[int, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, fingerprint: str, row_number: int) -> None:
        """A row has asked it."""
        key = _key(fingerprint)
        self._rows[key] = row_number
        self._rows.move_to_end(key)
        if len(self._rows) > self._most:
            self._rows.popitem(last=False)

    def add_earlier(self, fingerprint: str, row_number: int) -> None:
        """A row before all others has asked it: of equal ones it has paid."""
        key = _key(fingerprint)
        if key not in self._rows:
            if len(self._rows) >= self._most:
                return
            self._rows[key] = row_number
            self._rows.move_to_end(key, last=False)
        self._rows[key] = row_number

    def row_number(self, fingerprint: str) -> int | None:
        """The row that asked it; what is asked again counts as new."""
        key = _key(fingerprint)
        found = self._rows.get(key)
        if found is not None:
            self._rows.move_to_end(key)
        return found


class OwnAnswers:
    """The answers of a run to its last questions. Rows stay in its parts and journals.

    Args:
        most: questions that are remembered.
    """

    def __init__(self, directory: RunDir, record: RunRecord, most: int = MOST_QUESTIONS) -> None:
        self._directory, self._record = directory, record
        self._last = LastQuestions(most)
        self._parts, self._reading = KeptParts(), asyncio.Lock()
        self._journals: OrderedDict[int, ResultFinder] = OrderedDict()
        for fingerprint, row_number in self._answered(most):
            self._last.add_earlier(fingerprint, row_number)

    def add(self, fingerprint: str, row_number: int) -> None:
        """A row is answered, and written."""
        self._last.add(fingerprint, row_number)

    async def row(self, fingerprint: str) -> tuple[RunDir, dict[str, Any]] | None:
        """The row of `results` that answers a request; None where none is known or there."""
        row_number = self._last.row_number(fingerprint)
        if row_number is None:
            return None
        row = await self._row(row_number)
        return (self._directory, row) if is_answer(row, fingerprint, row_number) else None

    async def _row(self, row_number: int) -> dict[str, Any]:
        """Empty where it is gone."""
        part = self._directory.results(row_number // self._record.shard_size)
        if not part.exists():
            async with self._reading:
                if row := await asyncio.to_thread(self._journaled, row_number):
                    return row
            if not part.exists():
                return {}
        return await self._parts.row(self._directory, self._record, row_number)

    def _journaled(self, row_number: int) -> dict[str, Any] | None:
        """Of a shard without a part; the journal may go while it is read, as the part has come."""
        shard_number = row_number // self._record.shard_size
        if shard_number not in self._journals:
            self._journals[shard_number] = ResultFinder(self._directory.journal(shard_number))
            if len(self._journals) > KEPT_SHARDS:
                self._journals.popitem(last=False)
        with suppress(StorageError):
            return self._journals[shard_number].find(row_number)
        return None

    def _answered(self, most: int) -> Iterator[tuple[str, int]]:
        """What earlier processes have finished: the last rows, backwards."""
        count = 0
        for shard_number in reversed(self._record.shards):
            if count >= most:
                return
            names = ("status", "fingerprint", "row_number")
            found = read_results(self._directory, self._record, shard_number, names)
            if not found.num_rows:
                continue
            known = pc.and_(
                pc.equal(found["status"], "succeeded"), pc.is_valid(found["fingerprint"])
            )
            found = found.filter(known)
            columns = (found[name].to_pylist()[::-1] for name in ("fingerprint", "row_number"))
            yield from zip(*columns, strict=True)
            count += found.num_rows


def _key(fingerprint: str) -> int:
    return int(fingerprint[:_KEY_DIGITS], 16)
