"""One JSON object of somebody else: no duplicate key, no depth that trips a later reader. Pure.

msgspec reads it, which is strict on numbers and text but keeps the last of two equal keys; json
looks for those. Both together take 6 µs for a short row.
"""

import json
from collections import Counter
from typing import Any

import msgspec

MAX_DEPTH = 100


def json_object(data: bytes) -> dict[str, Any]:
    """Read one object.

    Raises:
        ValueError: it is not one, a key is duplicate, or it is nested too deeply.
    """
    try:
        members = msgspec.json.decode(data, type=dict[str, Any])
        json.loads(data, object_pairs_hook=_unique)
    except msgspec.DecodeError as exc:
        raise ValueError(str(exc)) from None
    except RecursionError:
        members = None
    brackets = data.count(b"[") + data.count(b"{")
    if members is None or (brackets > MAX_DEPTH and _deeper_than(members, MAX_DEPTH)):
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep; make it flatter")
    return members


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"duplicate key {name[:80]!r}")
    return members


def _deeper_than(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper_than(member, levels - 1) for member in inner)
