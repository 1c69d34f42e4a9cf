"""One JSON object of somebody else: no key twice, no depth that a later reader trips over. Pure.

msgspec reads it, which keeps the last of two equal keys and takes any depth that its caller's stack
leaves room for.
"""

import json
from typing import Any

import msgspec

MAX_DEPTH = 100


def json_object(data: bytes) -> dict[str, Any]:
    """Read one object.

    Raises:
        ValueError: it is none, a key stands there twice, or it is nested too deeply.
    """
    try:
        members = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError as exc:
        raise ValueError(str(exc)) from None
    except RecursionError:
        raise _too_deep() from None
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _deeper_than(members, MAX_DEPTH):
        raise _too_deep()
    # A suspicion costs little; only an object that gives one is read again to be certain.
    if b"\\u" in data or any(data.count(msgspec.json.encode(name)) > 1 for name in members):
        json.loads(data, object_pairs_hook=_without_duplicates)
    return members


def _without_duplicates(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise ValueError(f"the key {name[:80]!r} stands there twice; keep one")
        seen.add(name)


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MAX_DEPTH} levels deep; make it flatter")


def _deeper_than(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper_than(member, levels - 1) for member in inner)
