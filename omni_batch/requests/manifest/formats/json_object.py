"""One JSON object of somebody else: no duplicate key, no depth that trips a later reader. Pure.

msgspec reads it, which is strict on numbers and text but keeps the last of two equal keys; json
looks for those. Both together take 6 µs for a short row.
"""

import json
from collections import Counter
from typing import Any

import msgspec

MAX_DEPTH = 100


def json_object(data: bytes) -> tuple[dict[str, Any], bool]:
    """Read one object; NaN and Infinity, as Python's json writes them, become null.

    Returns:
        The object, and whether there was an Infinity in it.

    Raises:
        ValueError: it is not one, a key is duplicate, or it is nested too deeply.
    """
    constants: list[str] = []
    try:
        plain = json.loads(data, object_pairs_hook=_unique, parse_constant=constants.append)
        strict = json.dumps(plain).encode() if constants else data
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError:
        strict = data  # msgspec says better why
    try:
        members = msgspec.json.decode(strict, type=dict[str, Any])
    except msgspec.DecodeError as exc:
        raise ValueError(str(exc)) from None
    except RecursionError:
        raise _too_deep() from None
    brackets = data.count(b"[") + data.count(b"{")
    if brackets > MAX_DEPTH and _deeper_than(members, MAX_DEPTH):
        raise _too_deep()
    return members, any("Infinity" in name for name in constants)


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MAX_DEPTH} levels deep; make it flatter")


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
