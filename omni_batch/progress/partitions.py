"""The record of a run that several processes work on, from those of its partitions. Pure but for
`read_partitions`.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import reduce

import msgspec

from omni_batch.counts import Counts
from omni_batch.endpoint_status import EndpointStatus, Learned
from omni_batch.errors import ConfigError
from omni_batch.store.record import RunRecord, read_record
from omni_batch.store.run_dir import RunDir

_SUMMED = ("requests_last_minute", "tokens_last_minute", "in_flight", "waiting")


def read_partitions(directory: RunDir) -> list[RunRecord]:
    """As they stand. One that is just being replaced by another split is left out."""
    found = []
    for partition in directory.all_partitions():
        with suppress(ConfigError):
            found.append(read_record(partition.record))
    return found


def combined(run: RunRecord, partitions: Sequence[RunRecord]) -> RunRecord:
    """A run's record with what its partitions say of themselves, but for where it is going."""
    if not partitions:
        return run
    counts = sum((one.counts for one in partitions), Counts())
    told = (text for one in partitions for text in one.warnings)
    return msgspec.structs.replace(
        run,
        counts=msgspec.structs.replace(counts, elapsed_s=run.counts.elapsed_s),
        endpoints=_endpoints(partitions),
        warnings=tuple(dict.fromkeys((*run.warnings, *told))),
    )


def _endpoints(partitions: Sequence[RunRecord]) -> tuple[EndpointStatus, ...]:
    by_name: dict[str, list[EndpointStatus]] = {}
    for one in partitions:
        for endpoint in one.endpoints:
            by_name.setdefault(endpoint.name, []).append(endpoint)
    return tuple(reduce(_together, found) for found in by_name.values())


def _together(one: EndpointStatus, other: EndpointStatus) -> EndpointStatus:
    """Limits are those of the account, which they share; what was learned last counts."""
    newest = max((one.learned, other.learned), key=_learned_at)
    return msgspec.structs.replace(
        one,
        **{name: getattr(one, name) + getattr(other, name) for name in _SUMMED},
        rate_limited=dict(Counter(one.rate_limited) + Counter(other.rate_limited)),
        held_s=dict(Counter(one.held_s) + Counter(other.held_s)),
        paused_s=max(one.paused_s, other.paused_s),
        down_s=max(one.down_s, other.down_s),
        learned=newest,
    )


def _learned_at(learned: Learned) -> float:
    return learned.at.timestamp() if learned.at else 0.0
