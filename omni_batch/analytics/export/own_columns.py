"""The user's own columns as columns of a dataset: types are found before anything is written.

`source` of a row holds them as JSON. A column that holds several types is text, and a name that the
results have as well becomes `source.NAME`; both are said.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import msgspec
import pyarrow as pa

_MOST_COLUMNS = 1000
"""Rows of JSON may each name others; a table of more columns is of no use to anybody."""
_DEEPEST = 16
"""Levels of lists and objects in one cell."""
_EXACT_DOUBLE = 2**53
_LEAST, _MOST = -(2**63), 2**63 - 1
_KEPT_WHOLE = "source"
_EMPTY, _TEXT, _DOUBLE = pa.null(), pa.string(), pa.float64()
_WHOLE, _WIDE = pa.int64(), pa.uint64()
"""`_WIDE` stands for whole numbers that a double can't hold, until all rows are read."""
_MIXED = pa.large_string()
"""Stands for what is text because no type holds it."""
_SIMPLE = {type(None): _EMPTY, str: _TEXT, float: _DOUBLE}


@dataclass(frozen=True, slots=True)
class OwnColumns:
    """Names of the user's columns in the dataset, with their types; none where there are too many.

    Attributes:
        names: in the user's table → in the dataset.
        notes: what was decided, a line each.
        whole: there is one column, which has all of them as JSON.
    """

    names: Mapping[str, str]
    types: Mapping[str, pa.DataType]
    notes: tuple[str, ...] = ()
    whole: bool = False

    def fields(self) -> Iterator[pa.Field]:
        """Those of the dataset."""
        for name, shown in self.names.items():
            told = {"description": "of the manifest" if self.whole else f"{name} of the manifest"}
            yield pa.field(shown, self.types[name], metadata=told)

    def arrays(self, sources: Sequence[str | None]) -> list[pa.Array]:
        """Their values, by the JSON of each row."""
        if self.whole:
            return [pa.array(sources, _TEXT)]
        rows = [_read(source) for source in sources]
        return [
            pa.array([_fitted(row.get(name), self.types[name]) for row in rows], self.types[name])
            for name in self.names
        ]


def find_own_columns(sources: Iterable[str | None], taken: Collection[str]) -> OwnColumns:
    """Look at all rows; keeps one type for each column.

    Args:
        taken: names that the dataset has already.
    """
    kinds: dict[str, pa.DataType] = {}
    for source in sources:
        for name, value in _read(source).items():
            kinds[name] = _joined(kinds.get(name, _EMPTY), _kind(value))
        if len(kinds) > _MOST_COLUMNS:
            note = f"more than {_MOST_COLUMNS:,} columns of the manifest: source has them as JSON"
            one = {_KEPT_WHOLE: _KEPT_WHOLE}
            return OwnColumns(one, {_KEPT_WHOLE: _TEXT}, (note,), whole=True)
    names = _named(kinds, taken)
    notes = [
        f"column {name} of the manifest holds values of several types: it is text"
        for name, kind in kinds.items()
        if str(_MIXED) in str(kind)
    ]
    notes += [
        f"column {name} of the manifest is {shown}: the results have a {name} of their own"
        for name, shown in names.items()
        if name != shown
    ]
    return OwnColumns(names, {name: _final(kind) for name, kind in kinds.items()}, tuple(notes))


def unique_name(name: str, taken: Collection[str]) -> str:
    """The name, or the first of `NAME_2`, `NAME_3` … that nothing else has."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _named(kinds: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    kinds = list(kinds)
    names: dict[str, str] = {}
    for name in kinds:
        others = {*taken, *kinds, *names.values()}
        names[name] = unique_name(f"source.{name}", others) if name in taken or not name else name
    return names


def _read(source: str | None) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(source or "{}")
    except (msgspec.DecodeError, RecursionError):
        return {_KEPT_WHOLE: source}
    return found if isinstance(found, dict) else {_KEPT_WHOLE: found}


def _kind(value: Any, depth: int = 0) -> pa.DataType:
    match value:
        case bool():
            return pa.bool_()
        case int() if _LEAST <= value <= _MOST:
            return _WHOLE if abs(value) <= _EXACT_DOUBLE else _WIDE
        case list() if depth < _DEEPEST:
            return pa.list_(reduce(_joined, (_kind(each, depth + 1) for each in value), _EMPTY))
        case dict() if depth < _DEEPEST and 0 < len(value) <= _MOST_COLUMNS:
            return pa.struct({name: _kind(each, depth + 1) for name, each in value.items()})
    return _SIMPLE.get(type(value), _MIXED)


def _joined(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """What holds values of both without changing any; text, where nothing else does."""
    if one == other or other == _EMPTY:
        return one
    if one == _EMPTY:
        return other
    if {one, other} in ({_WHOLE, _DOUBLE}, {_WHOLE, _WIDE}):
        return _DOUBLE if _DOUBLE in (one, other) else _WIDE
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(_joined(one.value_type, other.value_type))
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        members = {field.name: field.type for field in one}
        for field in other:
            members[field.name] = _joined(members.get(field.name, _EMPTY), field.type)
        return pa.struct(members) if len(members) <= _MOST_COLUMNS else _MIXED
    return _MIXED


def _final(kind: pa.DataType) -> pa.DataType:
    """The type that is written: what was never seen is text."""
    if pa.types.is_list(kind):
        return pa.list_(_final(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct({field.name: _final(field.type) for field in kind})
    return {_EMPTY: _TEXT, _MIXED: _TEXT, _WIDE: _WHOLE}.get(kind, kind)


def _fitted(value: Any, kind: pa.DataType) -> Any:
    """A value as its column takes it: what is no text in a column of text is JSON."""
    if value is None:
        return None
    if kind == _TEXT:
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if pa.types.is_list(kind):
        return [_fitted(each, kind.value_type) for each in value]
    if pa.types.is_struct(kind):
        return {field.name: _fitted(value.get(field.name), field.type) for field in kind}
    return float(value) if kind == _DOUBLE else value
