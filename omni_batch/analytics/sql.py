"""SQL over the tables of runs, by DuckDB: reads what it is given and reaches nothing else.

DuckDB is handed Arrow datasets and is then cut off from all files and from the network, so that no
statement can read or write anything besides, whatever it says. For queries of our own, copies are
made in a folder which DuckDB may read: it does so in less memory and a third of the time.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet

from omni_batch.analytics.majority import MACRO, MAJORITY_COLUMNS, majority_query
from omni_batch.analytics.parts import Parts
from omni_batch.analytics.parts import copied as copy_parts
from omni_batch.errors import ConfigError, QueryError
from omni_batch.progress.current import current_record
from omni_batch.quota.room import memory_limit_bytes
from omni_batch.sources import is_store
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.columns import ATTEMPT_COLUMNS, result_columns, schema
from omni_batch.store.read import Names, Shard, list_runs, named, written_shards
from omni_batch.store.remote.fetch import runs_below

T = TypeVar("T")
BATCH_ROWS = 2048
_MEMORY_BYTES, _MEMORY_BYTES_PER_ROW = 512 * 2**20, 64
"""Exact percentiles can't go to the disk: they take 8 bytes for each value, and that doubled. The
base is four times what a million rows took, as a report fails beyond it."""
_QUESTIONS = {"SELECT", "EXPLAIN", "MULTI"}  # MULTI is how DuckDB takes PIVOT
_ANNOTATION_AS_JSON = "* replace (to_json(annotation)::varchar as annotation)"
_TIME = pa.timestamp("us", tz="UTC")
_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
# fmt: off
RUN_COLUMNS = pa.schema([
    pa.field(name, kind, metadata={"description": description})
    for name, kind, description in (
        ("run_id", _TEXT, "id of the run"),
        ("path", _TEXT, "the run directory"),
        ("state", _TEXT, "prepared, running, finished, interrupted or stopped"),
        ("model", _TEXT, "model asked; of variants with several, their names joined by +"),
        ("endpoint", _TEXT, "names of all endpoints, joined by +"),
        ("items", _WHOLE, "rows of the manifest, times variants and samples"),
        ("succeeded", _WHOLE, "items with an answer, reused ones included"),
        ("failed", _WHOLE, "items without an answer"),
        ("reused", _WHOLE, "items whose answer an earlier run, or another row, has paid for"),
        ("failures", pa.map_(_TEXT, _WHOLE), "failed items by the kind of their error"),
        ("requests", _WHOLE, "HTTP requests sent"),
        ("answers", _WHOLE, "requests that were answered in full, those asked again included"),
        ("retries", _WHOLE, "requests that were not the first of their item"),
        ("rate_limited", _WHOLE, "requests answered with 429"),
        ("prompt_tokens", _WHOLE, "billed input, failed requests included, reused answers not"),
        ("completion_tokens", _WHOLE, "billed output, likewise"),
        ("audio_s", _REAL, "speech in seconds, without that of reused answers"),
        ("cost", _REAL, "money for these tokens; null without a price and with several currencies"),
        ("currency", _TEXT, "of both costs: ISO 4217; null with several"),
        ("estimated_tokens", _WHOLE, "of requests without a bill: cut before it came, or in doubt"),
        ("estimated_cost", _REAL, "money for these; not in cost"),
        ("in_doubt", _WHOLE, "requests whose process died before they ended"),
        ("in_doubt_tokens", _WHOLE, "at most for these; part of estimated_tokens"),
        ("in_doubt_cost", _REAL, "at most for these; part of estimated_cost"),
        ("elapsed_s", _REAL, "working time of all its processes in seconds"),
        ("created_at", _TIME, "when it was prepared (UTC)"),
        ("finished_at", _TIME, "when it ended (UTC)"),
        ("reason", _TEXT, "why it stopped on the way"),
        ("warnings", pa.list_(_TEXT), "what to look at"),
        ("config", _TEXT, "its configuration as JSON"),
        ("versions", _TEXT, "of omni-batch and its libraries as JSON"),
    )
])
# fmt: on
"""The view `runs`: the figures of each run and how it was made."""

ITEM_WAITS = """
    select r.row_number, greatest(0, r.latency_s - sum(a.latency_s)) as wait_s
    from {prefix}results r join {prefix}attempts a
      on a.run_id = r.run_id and a.row_number = r.row_number and a.started_at >= r.started_at
    where r.latency_s is not null
    group by r.run_id, r.row_number, r.latency_s
"""
"""Seconds of each item that was sent which it did not spend in its requests: waits for quota, media
and retries. Requests of an earlier process count there, not here."""


def find_runs(paths: Iterable[str]) -> list[RunDir]:
    """Runs that are named, lie in a named folder, or match a pattern such as `data/runs/night-*`.

    Raises:
        ConfigError: nothing found, or two runs of one name, whose rows could not be told apart.
    """
    found: dict[str, RunDir] = {}
    for directory in chain.from_iterable(map(_runs_at, paths)):
        twin = found.setdefault(directory.run_id, directory)
        if twin.root != directory.root:
            raise ConfigError(f"{twin.root} and {directory.root} have one name; rename one of them")
    return list(found.values())


def _runs_at(text: str) -> list[RunDir]:
    if is_store(text):
        runs = runs_below(text, "tables")
    else:
        path = Path(text)
        places = [path] if path.exists() else _matches(path)
        runs = [run for place in places for run in _runs_in(place.resolve())]
    if not runs:
        raise ConfigError(f"{text}: no run directory there; a run holds a run.json")
    return runs


def _matches(pattern: Path) -> list[Path]:
    root = Path(pattern.anchor)
    try:
        return sorted(path for path in root.glob(str(pattern.relative_to(root))) if path.is_dir())
    except ValueError as exc:
        raise ConfigError(f"{pattern} is not a pattern: {exc}") from None


def _runs_in(place: Path) -> list[RunDir]:
    directory = RunDir(place)
    if directory.record.exists():
        return [directory]
    return sorted((run for run, _ in list_runs(place)), key=lambda run: run.run_id)


class Database(ExitStack):
    """DuckDB over the tables that it is handed.

    Sorting and joining more than fits in memory goes through temporary files.

    Args:
        rows: about which queries of our own are to be asked, with the memory that these need;
            None for queries of the user, which may take what there is.
    """

    def __init__(self, rows: int | None = None) -> None:
        super().__init__()
        self._spill = tempfile.TemporaryDirectory(prefix="omni-batch-sql-")
        self._copies = tempfile.TemporaryDirectory(prefix="omni-batch-copy-")
        config: dict[str, Any] = {
            "temp_directory": self.enter_context(self._spill),
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
            "python_enable_replacements": False,
            **({} if rows is None else _bounded(rows)),
            **({"threads": 1} if memory_limit_bytes() else {}),
        }
        copies = self.enter_context(self._copies)
        self._connection = self.enter_context(duckdb.connect(":memory:", config=config))
        self._worker = self.enter_context(ThreadPoolExecutor(1, "omni-batch-sql"))
        self._connection.execute("set TimeZone = 'UTC'")
        self._connection.execute(MACRO)
        if rows is not None:
            self._connection.execute(f"set allowed_directories = [{_quoted(copies)}]")
        self._connection.execute("set enable_external_access = false")
        self._connection.execute("set lock_configuration = true")

    def show(self, name: str, table: Any) -> None:
        """Make an Arrow table or dataset a view, or put it in the place of the one before."""
        self._connection.register(name, table)

    def ask(self, statement: str) -> pa.RecordBatchReader:
        """Run one query; its rows come as they are asked for, once.

        Raises:
            QueryError: it is wrong, or no query; also later, while rows are read.
        """
        try:
            self._refuse_all_but_a_query(statement)
            reader = self._interruptible(
                lambda: self._connection.sql(statement).to_arrow_reader(BATCH_ROWS)
            )
        except duckdb.Error as exc:
            raise QueryError(str(exc)) from None
        return pa.RecordBatchReader.from_batches(reader.schema, self._rows(reader))

    def rows(self, statement: str) -> Iterator[dict[str, Any]]:
        """The same as plain dictionaries."""
        return plain_rows(self.ask(statement))

    def _rows(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        try:
            while (batch := self._interruptible(partial(next, reader, None))) is not None:
                yield batch
        except (duckdb.Error, pa.ArrowException, OSError) as exc:
            raise QueryError(str(exc)) from None

    def _interruptible(self, work: Callable[[], T]) -> T:
        """DuckDB keeps its thread to itself, so not the main one: that one hears of Ctrl-C."""
        working = self._worker.submit(work)
        try:
            return working.result()
        except KeyboardInterrupt:
            self._connection.interrupt()
            raise

    def _refuse_all_but_a_query(self, statement: str) -> None:
        found = [part.type.name for part in self._connection.extract_statements(statement)]
        if len(found) != 1 or found[0] not in _QUESTIONS:
            held = " and ".join(found) or "nothing"
            raise QueryError(f"write one SELECT; this is {held}, and the tables are read only")


class RunDatabase(Database):
    """The views `results`, `attempts`, `items`, `runs` and `majority` over some runs.

    A run in progress shows what it has written so far, its journal included, as it stood when it
    was added.
    """

    def add(self, runs: Sequence[RunDir], copied: Names | None = None) -> list[RunRecord]:
        """Make the views over these runs, once.

        Columns have their descriptions as comments (`duckdb_columns()`).

        Args:
            copied: columns that the views have, which are checked and copied first; for many
                queries of our own, which each take a moment then. There is no view `majority`.

        Returns:
            The records of the runs, as `runs` shows them.

        Raises:
            ConfigError: one of them is not a run directory.
            StorageError: a table can't be read.
        """
        records = [current_record(run) for run in runs]
        pairs = list(zip(runs, records, strict=True))
        written = [(record, list(written_shards(run, record))) for run, record in pairs]
        if copied is not None:
            written = [(record, self._copied(record, shards, copied)) for record, shards in written]
        self._results(written, copied)
        attempts = [shard.attempts for _, shards in written for shard in shards]
        columns = named(ATTEMPT_COLUMNS, copied.attempts) if copied else ATTEMPT_COLUMNS
        self._view("attempts", schema(columns), attempts)
        rows = [_run_row(run, record) for run, record in pairs]
        self._view("runs", RUN_COLUMNS, [pa.Table.from_pylist(rows, schema=RUN_COLUMNS)])
        items = [(f"{_quoted(run.run_id)} as run_id, *", Parts([run.items])) for run in runs]
        self._union("items", items)
        return records

    def rows_written(self, records: Iterable[RunRecord]) -> list[tuple[RunRecord, int]]:
        """Runs that were added, each with the number of its rows in `results`."""
        counted = self.rows("select run_id, count(*) as rows from results group by run_id")
        rows = {row["run_id"]: row["rows"] for row in counted}
        return [(record, rows.get(record.run_id, 0)) for record in records]

    def _copied(self, record: RunRecord, shards: list[Shard], names: Names) -> list[Shard]:
        """The shards of a run as one, with some columns only."""
        folder = Path(tempfile.mkdtemp(dir=self._copies.name))
        results, attempts = folder / "results.parquet", folder / "attempts.parquet"
        columns = named(result_columns(record.annotation_schema), names.results)
        copy_parts(results, columns, (shard.results for shard in shards))
        columns = named(ATTEMPT_COLUMNS, names.attempts)
        copy_parts(attempts, columns, (shard.attempts for shard in shards))
        return [Shard(results, attempts)]

    def _results(self, written: list[tuple[RunRecord, list[Shard]]], copied: Names | None) -> None:
        """Typed answers keep their type; those of several types meet as JSON."""
        by_type: dict[str, tuple[pa.Schema, list[Path | pa.Table]]] = {}
        for record, shards in written:
            whole = result_columns(record.annotation_schema)
            columns = schema(named(whole, copied.results) if copied else whole)
            _, tables = by_type.setdefault(str(columns.field("annotation").type), (columns, []))
            tables += [shard.results for shard in shards]
        results, majorities = [], []
        shown = "*" if len(by_type) == 1 else _ANNOTATION_AS_JSON
        for number, (columns, tables) in enumerate(by_type.values()):
            source = f"_results_of_{number}"
            self._view(source, columns, tables)
            results.append(f"select {shown} from {source}")
            if copied is not None:
                continue
            majority = majority_query(source, columns.field("annotation").type)
            majorities.append(f"select {shown} from ({majority})")
        self._create("results", results, columns)
        if majorities:
            self._create("majority", majorities, MAJORITY_COLUMNS)

    def _view(self, name: str, columns: pa.Schema, tables: list[Path | pa.Table]) -> None:
        """A view over parts, or copies of them, and journals."""
        parts = [table for table in tables if isinstance(table, Path)]
        copies = [path for path in parts if path.is_relative_to(self._copies.name)]
        journaled = [table for table in tables if not isinstance(table, Path)]
        sources: list[tuple[str, Any]] = [("*", columns.empty_table())]
        sources += [("*", path) for path in copies] or ([("*", Parts(parts))] if parts else [])
        sources += [("*", pa.concat_tables(journaled))] if journaled else []
        self._union(name, sources, columns)

    def _union(
        self, name: str, sources: Iterable[tuple[str, Any]], columns: Iterable[pa.Field] = ()
    ) -> None:
        """A view over (columns to select, table, dataset or copy) pairs."""
        selects = []
        for number, (selected, source) in enumerate(sources):
            place = f"_{name}_{number}"
            if isinstance(source, Path):
                place = f"read_parquet({_quoted(str(source))})"
            else:
                self.show(place, source)
            selects.append(f"select {selected} from {place}")
        self._create(name, selects, columns)

    def _create(self, name: str, selects: Iterable[str], columns: Iterable[pa.Field]) -> None:
        """A view over all that some SELECTs give, with the descriptions of its columns."""
        self._connection.execute(f"create view {name} as {' union all by name '.join(selects)}")
        for field in columns:
            description = _quoted(field.metadata[b"description"].decode())
            self._connection.execute(f"comment on column {name}.{field.name} is {description}")


def plain_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[dict[str, Any]]:
    """Rows as Python's values.

    Raises:
        QueryError: one has a value that Python does not know, such as a date beyond the year 9999.
    """
    for batch in batches:
        try:
            rows = batch.to_pylist()
        except (ValueError, OverflowError, pa.ArrowException) as exc:
            raise QueryError(f"a value can't be shown: {exc}; cast it to varchar") from None
        yield from rows


def _bounded(rows: int) -> dict[str, Any]:
    """Each thread holds a part of every sum, so there are as few as were tried."""
    memory_bytes = _MEMORY_BYTES + _MEMORY_BYTES_PER_ROW * rows
    return {"memory_limit": f"{memory_bytes}B", "threads": 2}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _run_row(run: RunDir, record: RunRecord) -> dict[str, Any]:
    known = msgspec.structs.asdict(record) | msgspec.structs.asdict(record.counts)
    row = {name: known.get(name) for name in RUN_COLUMNS.names}
    counts, money = record.counts, record.counts.spent
    # Amounts of several currencies have no sum; `attempts` holds each.
    currency = next(iter(money)) if len(money) == 1 else None
    return row | {
        "cost": counts.cost.get(currency, 0.0) if currency else None,
        "currency": currency,
        "estimated_cost": counts.estimated_cost.get(currency, 0.0) if currency else None,
        "in_doubt_cost": counts.in_doubt_cost.get(currency, 0.0) if currency else None,
        "failures": list(counts.failures.items()),
        "path": str(run.root),
        "model": "+".join(record.models) or None,
        "endpoint": record.endpoint_names,
        "warnings": list(record.warnings),
        "config": msgspec.json.encode(record.config).decode(),
        "versions": msgspec.json.encode(record.versions).decode(),
    }
