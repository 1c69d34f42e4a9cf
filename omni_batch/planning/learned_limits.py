"""What earlier runs have found out about an endpoint's limits, for the next one to start with."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from omni_batch.config import Config, EndpointConfig, QuotaConfig, parse_config
from omni_batch.endpoint_status import EndpointStatus, Learned
from omni_batch.errors import ConfigError
from omni_batch.planning.plan import Plan
from omni_batch.planning.resolved_endpoint import ResolvedEndpoint
from omni_batch.store import RunRecord
from omni_batch.store.read import list_runs

_LOOKED_AT = 100
"""Runs: the newest that used the endpoint is among them, or what it learned is old."""
_KNOWN_FOR = timedelta(days=30)
_NUMBERS = ("requests_per_minute", "tokens_per_minute")


def load_learned(plan: Plan, output: Path) -> tuple[EndpointStatus, ...]:
    """One entry for each endpoint of the plan of which something is known."""
    found = (
        (endpoint, _latest(endpoint, plan.config.model, output)) for endpoint in plan.endpoints
    )
    return tuple(
        EndpointStatus(endpoint.name, learned=learned) for endpoint, learned in found if learned
    )


def carry_over(record: RunRecord, changed: Mapping[str, Any]) -> tuple[EndpointStatus, ...]:
    """What a run that goes on with a changed configuration knows of its endpoints' limits."""
    before, now = parse_config(record.config), parse_config(changed)
    quotas = {
        one.label or one.name: (one.quota or before.quota, other.quota or now.quota)
        for one, other in zip(before.all_endpoints, now.all_endpoints, strict=True)
    }
    return tuple(
        replace(endpoint, learned=_unless_restated(endpoint.learned, *quotas[endpoint.name]))
        for endpoint in record.endpoints
    )


def _latest(endpoint: ResolvedEndpoint, model: str, output: Path) -> Learned | None:
    """By the newest run that asked the same endpoint for the same model."""
    for record in _records(output):
        config = _config(record, model)
        entry = (
            next((e for e in config.all_endpoints if _same(e, endpoint.entry)), None)
            if config
            else None
        )
        if config and entry:
            name, stated = entry.label or entry.name, endpoint.entry.quota or endpoint.config.quota
            learned = next((p.learned for p in record.endpoints if p.name == name), None)
            return learned and _unless_restated(learned, entry.quota or config.quota, stated)
    return None


def _unless_restated(learned: Learned, before: QuotaConfig, now: QuotaConfig) -> Learned:
    """Who states another number than before means it: it stands over what was learned."""
    restated = [name for name in _NUMBERS if getattr(before, name) != getattr(now, name)]
    return replace(learned, **dict.fromkeys(restated))


def _records(output: Path) -> Iterator[RunRecord]:
    oldest = datetime.now(UTC) - _KNOWN_FOR
    for number, (_, record) in enumerate(list_runs(output)):
        if number == _LOOKED_AT or record.created_at < oldest:
            return
        if record.endpoints:
            yield record


def _config(record: RunRecord, model: str) -> Config | None:
    try:
        config = parse_config(record.config)
    except ConfigError:
        return None  # written by another version
    return config if config.model == model else None


def _same(one: EndpointConfig, other: EndpointConfig) -> bool:
    """Whether both are the same account at the same host; how they are used makes no difference."""
    how = {"label", "rows", "weight", "quota"}
    return one.model_dump(exclude=how) == other.model_dump(exclude=how)
