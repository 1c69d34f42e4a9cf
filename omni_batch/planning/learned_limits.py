"""What earlier runs have found out about an endpoint's limits, for the next one to start with."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
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
_LOOKED_BACK = timedelta(days=30)
_FRESH_FOR = timedelta(hours=1)
"""Limits change, and others who use the account come and go: what is older is not begun with."""
_NUMBERS = ("requests_per_minute", "tokens_per_minute")


def load_learned(plan: Plan, output: Path) -> tuple[EndpointStatus, ...]:
    """One entry for each endpoint of the plan of which something is known."""
    found = ((endpoint.name, _latest(endpoint, output)) for endpoint in plan.endpoints)
    return tuple(EndpointStatus(name, learned=learned) for name, learned in found if learned)


def fresh(learned: Learned) -> Learned | None:
    """What a run may begin with of what an earlier process has learned; None of what is old."""
    if learned.at is None or datetime.now(UTC) - learned.at > _FRESH_FOR:
        return None
    return replace(learned, handed_on=True)


def carry_over(record: RunRecord, changed: Mapping[str, Any]) -> tuple[EndpointStatus, ...]:
    """What a run that goes on with a changed configuration knows of its endpoints' limits."""
    before, now = parse_config(record.config), parse_config(changed)
    quotas = {
        name: (one.quota or before.quota, now.targets[name][0].quota or now.quota)
        for name, (one, _) in before.targets.items()
    }
    return tuple(
        replace(endpoint, learned=_unless_restated(endpoint.learned, *quotas[endpoint.name]))
        for endpoint in record.endpoints
    )


def _latest(endpoint: ResolvedEndpoint, output: Path) -> Learned | None:
    """By the newest run that asked the same endpoint for the same model."""
    stated = endpoint.entry.quota or endpoint.config.quota
    for record, config in _earlier_runs(endpoint.config.model, output):
        for name, (entry, model) in config.targets.items():
            if model == endpoint.config.model and _same(entry, endpoint.entry):
                quota = entry.quota or config.quota
                learned = next((s.learned for s in record.endpoints if s.name == name), None)
                return learned and fresh(_unless_restated(learned, quota, stated))
    return None


def _unless_restated(learned: Learned, before: QuotaConfig, now: QuotaConfig) -> Learned:
    """Who states another number than before means it: it stands over what was learned."""
    restated = [name for name in _NUMBERS if getattr(before, name) != getattr(now, name)]
    return replace(learned, **dict.fromkeys(restated))


def _earlier_runs(model: str, output: Path) -> Iterator[tuple[RunRecord, Config]]:
    oldest = datetime.now(UTC) - _LOOKED_BACK
    for _, record in islice(list_runs(output), _LOOKED_AT):
        if record.created_at < oldest:
            return
        with suppress(ConfigError):  # written by another version
            config = parse_config(record.config)
            if record.endpoints and model in config.models:
                yield record, config


def _same(one: EndpointConfig, other: EndpointConfig) -> bool:
    """Whether both are the same account at the same host; how they are used makes no difference."""
    how = {"label", "rows", "weight", "quota"}
    return one.model_dump(exclude=how) == other.model_dump(exclude=how)
