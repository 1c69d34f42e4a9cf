"""A run directory → RunReport: its record, and what DuckDB sums up of its tables."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

import msgspec

from omni_batch.analytics.report import queries
from omni_batch.analytics.report.facts import (
    Estimate,
    FailureKind,
    FailurePattern,
    Group,
    Outcome,
    Percentiles,
    QuotaUse,
    ResponseTime,
    RunReport,
    TimeBucket,
    TokenKind,
)
from omni_batch.analytics.report.quota_use import Peak, Starts, combined, known_since, quota_use
from omni_batch.analytics.report.typed import typed_answers
from omni_batch.analytics.sql import RunDatabase
from omni_batch.counts import Counts
from omni_batch.doubts import Doubt, DoubtGroup, DoubtGroups, of_run_and_rows
from omni_batch.errors import remedy_of
from omni_batch.progress import phrases
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.record import read_record

T = TypeVar("T")
_WIDTHS_S = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 21_600, 86_400, 864_000)
"""Of a stretch of the timeline; those below a minute divide it."""
_MOST_BUCKETS = 240
_SECTIONS = ("manifest", "request", "media", "quota", "retry", "budget")
_MONEY = ("cost", "estimated_cost", "in_doubt_cost")


def collect(directory: RunDir) -> RunReport:
    """Sum up what is written so far, also of a run in progress.

    Raises:
        ConfigError: not a run directory.
        StorageError: a part can't be read.
    """
    with RunDatabase(read_record(directory.record).items) as database:
        (record,) = database.add([directory], copied=queries.COLUMNS)
        return _report(database, record)


def _report(database: RunDatabase, record: RunRecord) -> RunReport:
    cells = [*database.rows(queries.ITEMS), *database.rows(queries.ATTEMPTS)]
    run = _one(database, queries.starts())
    waits = _one(database, queries.WAITS)["seconds"]
    return RunReport(
        record=record,
        modalities=_groups(cells, "modality"),
        models=_groups(cells, "model"),
        endpoints=_groups(cells, "endpoint"),
        token_kinds=tuple(_token_kinds(_one(database, queries.TOKEN_KINDS), record.counts)),
        quotas=_quotas(database, record, run),
        timeline=_timeline(database, run),
        response_times=_all(database, queries.RESPONSE_TIMES, ResponseTime),
        waits=Percentiles(**waits) if waits["count"] else None,
        estimates=_all(database, queries.ESTIMATES, Estimate),
        outcomes=_all(database, queries.OUTCOMES, Outcome),
        failures=tuple(_failures(database.rows(queries.FAILURES))),
        doubts=_doubts(database, record),
        annotation=typed_answers(database, record),
        settings=_settings(record.config) | _learned(record),
    )


def _all(database: RunDatabase, query: str, kind: type[T]) -> tuple[T, ...]:
    return tuple(msgspec.convert(row, kind) for row in database.rows(query))


def _one(database: RunDatabase, query: str) -> dict[str, Any]:
    (row,) = database.rows(query)
    return row


def _groups(cells: Iterable[Mapping[str, Any]], column: str) -> tuple[Group, ...]:
    """One group for each value of a column, the one with most items first."""
    sums: dict[str, Counts] = defaultdict(Counts)
    for cell in cells:
        sums[cell[column]] += _counts(cell)
    groups = (Group(name, counts) for name, counts in sums.items())
    return tuple(sorted(groups, key=lambda group: (-group.counts.done, group.name)))


def _counts(cell: Mapping[str, Any]) -> Counts:
    figures = {name: cell[name] for name in Counts.__struct_fields__ if name in cell}
    for name in _MONEY:
        amount = cell.get(name)
        figures[name] = {} if amount is None else {cell["currency"]: amount}
    return Counts(**figures)


def _token_kinds(tokens: Mapping[str, int | None], counts: Counts) -> Iterator[TokenKind]:
    """What the bill is made of; kinds that did not occur are left out."""
    named = {", ".join(kind): tokens[name] or 0 for name, kind in queries.TOKEN_COLUMNS.items()}
    billed = tokens["billed"] or 0
    named["not broken down by the service"] = billed - sum(named.values())
    named["failed and retried requests"] = counts.prompt_tokens + counts.completion_tokens - billed
    yield from (TokenKind(name, number) for name, number in named.items() if number > 0)


# --- time ---


def _timeline(database: RunDatabase, run: Mapping[str, Any]) -> tuple[TimeBucket, ...]:
    if not run["requests"]:
        return ()
    span_s = (run["last"] - run["first"]).total_seconds()
    width_s = next((w for w in _WIDTHS_S if span_s / w < _MOST_BUCKETS - 1), _WIDTHS_S[-1])
    return _all(database, queries.timeline(width_s), TimeBucket)


def _quotas(
    database: RunDatabase, record: RunRecord, run: Mapping[str, Any]
) -> tuple[QuotaUse, QuotaUse]:
    busiest = _one(database, queries.BUSIEST_MINUTES)

    def use(what: str) -> QuotaUse:
        limits = combined(record.endpoints, what)
        since = known_since(limits)
        limited = run if since is None else _one(database, queries.starts(since))
        units, end = busiest[what], busiest[f"{what}_end"]
        return quota_use(
            what,
            limits,
            _starts(run, what),
            _starts(limited, what),
            Peak(units, end) if end else None,
            record.counts.elapsed_s,
        )

    return use("requests"), use("tokens")


def _starts(row: Mapping[str, Any], what: str) -> Starts | None:
    if not row["requests"]:
        return None
    return Starts(row["requests"], row[what], row["first"], row["last"])


# --- failures and settings ---


def _failures(rows: Iterable[dict[str, Any]]) -> Iterator[FailureKind]:
    for (kind, items), group in groupby(rows, itemgetter("kind", "kind_items")):
        patterns = tuple(msgspec.convert(row, FailurePattern) for row in group)
        yield FailureKind(kind, items, remedy_of(kind), patterns)


def _doubts(database: RunDatabase, record: RunRecord) -> tuple[DoubtGroup, ...]:
    of_run = DoubtGroups(map(Doubt.read, record.warnings)).all()
    return of_run_and_rows(of_run, _all(database, queries.DOUBTS, DoubtGroup))


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    sections = {name: config.get(name) for name in _SECTIONS}
    for variant, keys in (config.get("variants") or {}).items():
        sections[f"variants.{variant}"] = keys
    found = {} if config.get("samples") is None else {"samples": str(config["samples"])}
    for section, part in sections.items():
        for name, value in part.items() if isinstance(part, dict) else ():
            if value not in (None, [], {}) and name != "extra":  # what is free may hold secrets
                found[f"{section}.{name}"] = _shown(value)
    return found


def _shown(value: Any) -> str:
    """A setting; of groups their number, for they are long and may name media by signed URLs."""
    if not isinstance(value, list):
        return str(value)
    groups = any(isinstance(each, dict) for each in value)
    return str(len(value)) if groups else ", ".join(map(str, value))


def _learned(record: RunRecord) -> dict[str, str]:
    found = {f"learned.{status.name}": phrases.learned(status) for status in record.endpoints}
    return {name: value for name, value in found.items() if value}
