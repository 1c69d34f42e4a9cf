"""What run.json may say: bounded before anything is counted, drawn or reserved by it. Pure.

Far beyond what a run can be; whoever writes more means no run, or no good.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

MOST_BYTES = 16 * 2**20
MOST_ITEMS = 1_000_000_000
MOST_SHARD_ITEMS = 1_000_000
MOST_SHARDS = 2_000_000
MOST = 1e15
"""Of any other number: whole and exact as a float, and added up within 64 bits."""
_MOST_DEPTH = 50
_ID_CHARS = 255
_SHOWN_BITS = 64
TIMES = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""Between these a run was made."""


class _Endpoint(msgspec.Struct):
    """What is read of an endpoint as it stands."""

    name: str | None = None
    label: str | None = None


class _Media(msgspec.Struct):
    roots: list[str] | None = None


class _Request(msgspec.Struct):
    system: str | None = None
    prompt: str | None = None
    modalities: list[str] | None = None


class _Variant(_Request):
    model: str | None = None


class _Config(msgspec.Struct):
    """Keys of a configuration that are read without parsing it, which another version wrote."""

    name: str | None = None
    model: str | None = None
    endpoint: _Endpoint | None = None
    endpoints: list[_Endpoint] | None = None
    media: _Media | None = None
    request: _Request | None = None
    variants: Annotated[dict[str, _Variant], msgspec.Meta(max_length=100)] | None = None
    samples: int | None = None
    budget: dict[str, Any] | None = None


def problems(tree: Any) -> Iterator[str]:
    """What of a record, as plain values, is out of bounds; the first one is enough to refuse it."""
    items, shard_size = tree["items"], tree["shard_size"]
    if not 1 <= items <= MOST_ITEMS:
        yield f"items = {_shown(items)} must be between 1 and {MOST_ITEMS:,}"
    elif not 1 <= shard_size <= MOST_SHARD_ITEMS:
        yield f"shard_size = {_shown(shard_size)} must be between 1 and {MOST_SHARD_ITEMS:,}"
    elif -(-items // shard_size) > MOST_SHARDS:
        yield f"{items:,} items in shards of {shard_size:,} are more than {MOST_SHARDS:,} shards"
    if len(tree["run_id"]) > _ID_CHARS:
        yield f"run_id is longer than {_ID_CHARS} characters"
    yield from _walk(tree, "")
    yield from _config_problems(tree["config"])
    counts = tree["counts"]
    if counts["reused"] > counts["succeeded"]:
        yield f"it counts {counts['reused']:,} reused of {counts['succeeded']:,} that succeeded"


def _config_problems(config: Any) -> Iterator[str]:
    try:
        msgspec.convert(config, _Config)
    except msgspec.ValidationError as exc:
        what, _, where = str(exc).partition(" - at ")
        yield f"config{where.strip('`').removeprefix('$')}: {what[:1].lower()}{what[1:]}"


def _walk(value: Any, where: str, depth: int = 0) -> Iterator[str]:
    if depth > _MOST_DEPTH:
        yield f"{where[:60]}… is nested more than {_MOST_DEPTH} levels deep"
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _walk(inner, f"{where}.{name}" if where else str(name), depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _walk(inner, where, depth + 1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number_problems(value, where)
    elif isinstance(value, datetime) and not _is_time(value):
        zone = "" if value.tzinfo else ", which has no time zone"
        yield f"{where} = {value.isoformat()} is not a time of a run{zone}"


def _is_time(value: datetime) -> bool:
    return value.tzinfo is not None and TIMES[0] <= value <= TIMES[1]


def _number_problems(value: float, where: str) -> Iterator[str]:
    if abs(value) > MOST or (value < 0 and where.startswith("counts.")):
        yield f"{where} = {_shown(value)} is out of bounds"


def _shown(value: float) -> str:
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return f"a number of {value.bit_length():,} binary digits"
    return f"{value:,}"
