"""What earlier runs have found out about an endpoint's limits, for the next one to start with."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from omni_batch.analytics import list_runs
from omni_batch.config import Config, RouteConfig, parse_config
from omni_batch.errors import ConfigError
from omni_batch.pace import Learned, Pace
from omni_batch.plan import Plan
from omni_batch.route import Route
from omni_batch.rundir import RunRecord

_LOOKED_AT = 100
"""Runs: the newest that used the endpoint is among them, or what it learned is old."""
_KNOWN_FOR = timedelta(days=30)


def learned_before(plan: Plan, output: Path) -> tuple[Pace, ...]:
    """One entry for each endpoint of the plan of which something is known."""
    found = ((route, _latest(route, plan.config.model, output)) for route in plan.routes)
    return tuple(Pace(route.name, learned=learned) for route, learned in found if learned)


def _latest(route: Route, model: str, output: Path) -> Learned | None:
    """By the newest run that asked the same endpoint for the same model."""
    for record in _records(output):
        entry = next((e for e in _entries(record, model) if _same(e, route.entry)), None)
        if entry is not None:
            name = entry.label or entry.name
            return next((p.learned for p in record.paces if p.endpoint == name), None)
    return None


def _records(output: Path) -> Iterator[RunRecord]:
    oldest = datetime.now(UTC) - _KNOWN_FOR
    for number, (_, record) in enumerate(list_runs(output)):
        if number == _LOOKED_AT or record.created_at < oldest:
            return
        if record.paces:
            yield record


def _entries(record: RunRecord, model: str) -> tuple[RouteConfig, ...]:
    try:
        config: Config = parse_config(record.config)
    except ConfigError:
        return ()  # written by another version
    return config.routes if config.model == model else ()


def _same(one: RouteConfig, other: RouteConfig) -> bool:
    """Whether both are the same account at the same host; how they are used makes no difference."""
    how = {"label", "rows", "weight", "quota"}
    return one.model_dump(exclude=how) == other.model_dump(exclude=how)
