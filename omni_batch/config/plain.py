"""Values that are sent as they are: what JSON can say, and nothing that is meant otherwise."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

MOST_LEVELS = 100
"""Of values in values."""
_WHOLE_NUMBERS = range(-(2**63), 2**64)
"""Those that readers of JSON take."""

_SHOWN_CHARS = 100


class Switch(str):
    """`yes`, `no`, `on` or `off` without quotes: true or false to YAML 1.1, a text to YAML 1.2."""

    __slots__ = ()


def unsendable(value: Any, name: str, level: int = 0) -> Iterator[str]:
    """Why a value can't be sent as it is, for each part of it by name."""
    if level > MOST_LEVELS:
        yield f"{name.partition('.')[0]} is nested more than {MOST_LEVELS} levels deep"
    elif isinstance(value, Mapping):
        for key, member in value.items():
            if isinstance(key, bool) or not isinstance(key, str | int):
                yield f"{name} has the key {key!r:.60}; expected a text"
            yield from unsendable(member, f"{name}.{key}", level + 1)
    elif isinstance(value, list | tuple):
        for number, member in enumerate(value):
            yield from unsendable(member, f"{name}.{number}", level + 1)
    elif (why := _why_unsendable(value)) is not None:
        yield f"{name} is {why}"


def _why_unsendable(value: Any) -> str | None:
    match value:
        case Switch():
            return (
                f"{value}, which is true or false to some readers of YAML and a text to others; "
                "write true or false, or put it in quotes"
            )
        case None | bool() | str():
            return None
        case int():
            return None if value in _WHOLE_NUMBERS else "a number of more than 64 bits"
        case float():
            return None if math.isfinite(value) else f"{value}, which JSON has no number for"
    return f"of the type {type(value).__name__}, which JSON does not have; give a text or a number"


def shortened(text: str) -> str:
    """For a message: all of it, or its beginning."""
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
