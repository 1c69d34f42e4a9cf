"""A run directory → Facts and gallery, shard by shard: memory does not grow with the run."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from omni_batch.analytics.report.breakdown import Breakdown
from omni_batch.analytics.report.estimates import Estimates
from omni_batch.analytics.report.exchanges import Exchanges
from omni_batch.analytics.report.facts import Costs, Facts, Group, QuotaUse, TimeBucket
from omni_batch.analytics.report.gallery import Gallery
from omni_batch.analytics.report.troubles import Troubles
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.columns import ATTEMPT_COLUMNS, RESULT_COLUMNS, schema
from omni_batch.store.read import read_tables
from omni_batch.store.record import read_record

_RESULTS = schema(RESULT_COLUMNS)
_ATTEMPTS = schema(ATTEMPT_COLUMNS)
_FAILURE_COLUMNS = ["error_kind", "error_message", "item_id", "request_id"]
_SECTIONS = ("manifest", "request", "media", "quota", "retry", "budget")
_SHORTEST_MINUTES = 1.0  # quotas are per minute: a run of a second used one minute's


@dataclass(frozen=True, slots=True)
class Collected:
    """All that a page shows."""

    facts: Facts
    gallery: Gallery


def collect(directory: RunDir) -> Collected:
    """Read what is written so far, also of a run in progress.

    Raises:
        ConfigError: no run directory.
        StorageError: a part can't be read.
    """
    record = read_record(directory.record)
    sums, gallery = _Sums(), Gallery(directory, record)
    for results, attempts in read_tables(directory, record.shards):
        results = conformed(results, _RESULTS)
        sums.add(results, conformed(attempts, _ATTEMPTS))
        gallery.add(results)
    gallery.close()
    return Collected(_facts(record, sums, _silent_for_s(directory.record, record)), gallery)


@dataclass(frozen=True, slots=True)
class _Sums:
    """What is kept of the shards that went by."""

    breakdown: Breakdown = field(default_factory=Breakdown)
    exchanges: Exchanges = field(default_factory=Exchanges)
    estimates: Estimates = field(default_factory=Estimates)
    troubles: Troubles = field(default_factory=Troubles)

    def add(self, results: pa.Table, attempts: pa.Table) -> None:
        self.breakdown.add(results)
        self.estimates.add(results)
        self.exchanges.add(attempts)
        failed = results.filter(pc.not_equal(results["status"], "succeeded"))
        self.troubles.add(failed.select(_FAILURE_COLUMNS).to_pylist())


def _facts(record: RunRecord, sums: _Sums, silent_for_s: float | None) -> Facts:
    groups = sums.breakdown.groups("modality")
    moments = sums.exchanges.moments()
    return Facts(
        run_id=record.run_id,
        state=record.state,
        reason=record.reason,
        silent_for_s=silent_for_s,
        warnings=record.warnings,
        model=record.config.get("model"),
        created_at=record.created_at,
        finished_at=record.finished_at,
        elapsed_s=record.counts.elapsed_s,
        items=record.items,
        done=sum(group.items for group in groups),
        succeeded=sum(group.succeeded for group in groups),
        requests=sums.exchanges.total,
        retries=sums.exchanges.retries,
        rate_limited=sums.exchanges.rate_limited,
        prompt_tokens=sum(group.prompt_tokens for group in groups),
        completion_tokens=sum(group.completion_tokens for group in groups),
        audio_s=sum(group.audio_s for group in groups),
        costs=_costs(groups),
        cut_costs=sums.exchanges.cut_costs(),
        modalities=groups,
        models=sums.breakdown.groups("model"),
        endpoints=sums.breakdown.groups("endpoint"),
        token_kinds=sums.breakdown.token_kinds(),
        quotas=_quotas(record, sums.exchanges, moments),
        timeline=moments,
        waits=sums.exchanges.waits(),
        estimates=sums.estimates.rows(),
        exchanges=sums.exchanges.kinds(),
        failures=sums.troubles.kinds(),
        settings=_settings(record.config) | _learned(record),
        versions=record.versions,
    )


def conformed(table: pa.Table, wanted: pa.Schema) -> pa.Table:
    """The wanted columns; those that an older version did not write are null."""
    arrays = [
        table[name] if name in table.column_names else pa.nulls(table.num_rows, kind)
        for name, kind in zip(wanted.names, wanted.types, strict=True)
    ]
    return pa.table(arrays, names=wanted.names)


def _costs(groups: Iterable[Group]) -> Costs:
    costs: dict[str, float] = {}
    for group in groups:
        for currency, amount in group.costs.items():
            costs[currency] = costs.get(currency, 0.0) + amount
    return costs


def _quotas(
    record: RunRecord, exchanges: Exchanges, moments: tuple[TimeBucket, ...]
) -> tuple[QuotaUse, ...]:
    requests_per_minute, tokens_per_minute = _limits(record)
    minutes = max(_SHORTEST_MINUTES, record.counts.elapsed_s / 60)
    return (
        QuotaUse(
            "requests",
            requests_per_minute,
            exchanges.total / minutes,
            max((moment.requests_per_minute for moment in moments), default=0.0),
        ),
        QuotaUse(
            "tokens",
            tokens_per_minute,
            exchanges.tokens / minutes,
            max((moment.tokens_per_minute for moment in moments), default=0.0),
        ),
    )


def _limits(record: RunRecord) -> tuple[float | None, float | None]:
    """Requests and tokens per minute of all endpoints: as they were found out, else as stated."""
    in_force = [
        (endpoint.requests_per_minute, endpoint.tokens_per_minute) for endpoint in record.endpoints
    ]
    pairs = in_force if any(any(pair) for pair in in_force) else _stated(record)
    requests, tokens = zip(*pairs, strict=True) if pairs else ((), ())
    return _sum(requests), _sum(tokens)


def _stated(record: RunRecord) -> list[tuple[float | None, float | None]]:
    return [
        (endpoint.stated_requests_per_minute, endpoint.stated_tokens_per_minute)
        for endpoint in record.endpoints
    ]


def _sum(limits: tuple[float | None, ...]) -> float | None:
    """None where one has no limit: then all together have none."""
    known = [limit for limit in limits if limit is not None]
    return sum(known) if known and len(known) == len(limits) else None


def _learned(record: RunRecord) -> dict[str, str]:
    found = {}
    for endpoint in record.endpoints:
        for what in ("requests_per_minute", "tokens_per_minute"):
            if (value := getattr(endpoint.learned, what)) is not None:
                found[f"learned.{endpoint.name}.{what}"] = f"{value:,.0f}"
    return found


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for section in _SECTIONS:
        part = config.get(section)
        for name, value in part.items() if isinstance(part, dict) else ():
            if value not in (None, [], {}) and name != "extra":  # what is free may hold secrets
                shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
                found[f"{section}.{name}"] = shown
    return found


def _silent_for_s(path: Path, record: RunRecord) -> float | None:
    if record.state != "running":
        return None
    return max(0.0, time.time() - path.stat().st_mtime)
