"""How far two annotators agree: Cohen's kappa for each field with few values."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_VALUES = 20
_MOST_FIELDS = 200

Pairs = Counter[tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of one field."""

    field: str
    items: int
    """In which both sides have the field."""
    agreed: int
    kappa: float | None
    """1 is full agreement, 0 what chance gives; None where both sides know one value only."""


def cohens_kappa(pairs: Mapping[tuple[Any, Any], int]) -> float | None:
    """Agreement beyond chance (Cohen 1960), from how often each pair of values was given."""
    total = sum(pairs.values())
    left, right = Counter[Any](), Counter[Any]()
    for (a, b), count in pairs.items():
        left[a] += count
        right[b] += count
    observed = sum(count for (a, b), count in pairs.items() if a == b) / total
    expected = sum(left[value] * right[value] for value in left) / total**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


@dataclass(slots=True)
class AgreementCounter:
    """Takes pairs of JSON objects; holds counts of values, never rows.

    A field counts where its values are texts, whole numbers or booleans, at most 20 different ones
    on both sides together, and each was given twice or more on average.
    """

    _pairs: dict[str, Pairs] = field(default_factory=dict)
    _dropped: set[str] = field(default_factory=set)

    def add(self, left: Mapping[str, Any], right: Mapping[str, Any]) -> None:
        """Take the annotations of one item."""
        for name in left.keys() & right.keys() - self._dropped:
            values = _labelled(left[name]), _labelled(right[name])
            if None in values or (name not in self._pairs and len(self._pairs) >= _MOST_FIELDS):
                self._drop(name)
                continue
            pairs = self._pairs.setdefault(name, Counter())
            pairs[values] += 1
            if len(_values(pairs)) > MOST_VALUES:
                self._drop(name)

    def agreements(self) -> list[Agreement]:
        """Of all fields that count, by name."""
        return [
            _agreement(name, pairs)
            for name, pairs in sorted(self._pairs.items())
            if len(_values(pairs)) <= pairs.total()
        ]

    def _drop(self, name: str) -> None:
        self._pairs.pop(name, None)
        if len(self._dropped) < _MOST_FIELDS:
            self._dropped.add(name)


def _agreement(name: str, pairs: Pairs) -> Agreement:
    agreed = sum(count for (a, b), count in pairs.items() if a == b)
    return Agreement(name, pairs.total(), agreed, cohens_kappa(pairs))


def _labelled(value: Any) -> tuple[str, Any] | None:
    """The value with its type, as True and 1 are equal in Python and not in JSON."""
    return (type(value).__name__, value) if isinstance(value, str | int) else None


def _values(pairs: Pairs) -> set[Any]:
    return {value for pair in pairs for value in pair}
