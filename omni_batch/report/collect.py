"""A run directory → Facts and gallery, shard by shard: memory does not grow with the run."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from omni_batch.columns import ATTEMPT_COLUMNS, RESULT_COLUMNS, schema
from omni_batch.config import parse_config
from omni_batch.errors import OmniBatchError
from omni_batch.plan import make_plan
from omni_batch.report.breakdown import Breakdown
from omni_batch.report.estimates import Estimates
from omni_batch.report.exchanges import Exchanges
from omni_batch.report.facts import Costs, Facts, Group, Moment, QuotaUse
from omni_batch.report.gallery import Gallery
from omni_batch.report.troubles import Troubles
from omni_batch.rundir import RunDir, RunRecord
from omni_batch.rundir.parts import read_tables
from omni_batch.rundir.record import read_record

_RESULTS = schema(RESULT_COLUMNS)
_ATTEMPTS = pa.unify_schemas(
    [
        schema(ATTEMPT_COLUMNS),
        pa.schema([("estimated_cost", pa.float64()), ("currency", pa.string())]),
    ]
)
_FAILURE_COLUMNS = ["error_kind", "error_message", "item_id", "request_id"]
_SECTIONS = ("manifest", "request", "media", "quota", "retry", "budget")
_SHORTEST_MINUTES = 1.0  # quotas are per minute: a run of a second used one minute's


@dataclass(frozen=True, slots=True)
class Collected:
    """All that a page shows."""

    facts: Facts
    gallery: Gallery


def collect(directory: RunDir, *, with_gallery: bool = True) -> Collected:
    """Read what is written so far, also of a run in progress.

    Raises:
        ConfigError: no run directory.
        StorageError: a part can't be read.
    """
    record = read_record(directory.record)
    breakdown, exchanges, estimates, troubles = Breakdown(), Exchanges(), Estimates(), Troubles()
    gallery = Gallery(directory, record)
    for read_results, read_attempts in read_tables(directory, record.shards):
        results, attempts = conformed(read_results, _RESULTS), conformed(read_attempts, _ATTEMPTS)
        breakdown.add(results)
        estimates.add(results)
        exchanges.add(attempts)
        failed = results.filter(pc.not_equal(results["status"], "succeeded"))
        troubles.add(failed.select(_FAILURE_COLUMNS).to_pylist())
        if with_gallery:
            gallery.add(results)
    gallery.close()
    groups = breakdown.groups("modality")
    facts = Facts(
        run_id=record.run_id,
        state=record.state,
        reason=record.reason,
        quiet_s=_quiet_s(directory.record, record),
        warnings=record.warnings,
        model=record.config.get("model"),
        created_at=record.created_at,
        finished_at=record.finished_at,
        elapsed_s=record.counts.elapsed_s,
        items=record.items,
        done=sum(group.items for group in groups),
        succeeded=sum(group.succeeded for group in groups),
        requests=exchanges.total,
        retries=exchanges.retries,
        rate_limited=exchanges.rate_limited,
        prompt_tokens=sum(group.prompt_tokens for group in groups),
        completion_tokens=sum(group.completion_tokens for group in groups),
        audio_s=sum(group.audio_s for group in groups),
        costs=_costs(groups),
        cut_costs=exchanges.cut_costs(),
        modalities=groups,
        models=breakdown.groups("model"),
        endpoints=breakdown.groups("endpoint"),
        token_kinds=breakdown.token_kinds(),
        quotas=_quotas(record, exchanges, moments := exchanges.moments()),
        timeline=moments,
        waits=exchanges.waits(),
        estimates=estimates.rows(),
        exchanges=exchanges.kinds(),
        failures=troubles.kinds(),
        settings=_settings(record.config),
        versions=record.versions,
    )
    return Collected(facts, gallery)


def conformed(table: pa.Table, wanted: pa.Schema) -> pa.Table:
    """The wanted columns; those that an older version did not write are null."""
    arrays = [
        table[field.name] if field.name in table.column_names else _nulls(table, field)
        for field in wanted
    ]
    return pa.table(arrays, names=wanted.names)


def _nulls(table: pa.Table, field: pa.Field) -> pa.Array:
    return pa.nulls(table.num_rows, field.type)


def _costs(groups: Iterable[Group]) -> Costs:
    costs: dict[str, float] = {}
    for group in groups:
        for currency, amount in group.costs.items():
            costs[currency] = costs.get(currency, 0.0) + amount
    return costs


def _quotas(
    record: RunRecord, exchanges: Exchanges, moments: tuple[Moment, ...]
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
    """Requests and tokens per minute, with the catalogue's values where the config has none."""
    try:
        base = Path(record.base_folder)
        quota = make_plan(parse_config(record.config), base, needs_key=False).quota
    except (OmniBatchError, OSError):  # its media or its catalogue are elsewhere by now
        given = record.config.get("quota") or {}
        return given.get("requests_per_minute"), given.get("tokens_per_minute")
    return quota.requests_per_minute, quota.tokens_per_minute


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for section in _SECTIONS:
        part = config.get(section)
        for name, value in part.items() if isinstance(part, dict) else ():
            if value not in (None, [], {}) and name != "extra":  # what is free may hold secrets
                shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
                found[f"{section}.{name}"] = shown
    return found


def _quiet_s(path: Path, record: RunRecord) -> float | None:
    if record.state != "running":
        return None
    return max(0.0, time.time() - path.stat().st_mtime)
