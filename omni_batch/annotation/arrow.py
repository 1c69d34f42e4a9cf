"""The type of the column `annotation`: from the schema alone, whatever the answers were."""

from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from omni_batch.annotation.shape import Shape

_LABEL = pa.dictionary(pa.int32(), pa.string())
_MOMENT = pa.timestamp("us", tz="UTC")
"""Microseconds, since nanoseconds end in 1677 and 2262."""
_TYPES: dict[str, pa.DataType] = {
    "label": _LABEL,
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "moment": _MOMENT,
}


def arrow_type(shape: Shape) -> pa.DataType:
    """The Arrow type of a shape. A map is a list of key and value, which every reader opens."""
    match shape.kind:
        case "object":
            return pa.struct([_field(name, each) for name, each in (shape.members or {}).items()])
        case "list" if shape.item:
            return pa.list_(arrow_type(shape.item))
        case "map" if shape.item:
            pair = [pa.field("key", pa.string()), _field("value", shape.item)]
            return pa.list_(pa.struct(pair))
        case kind:
            return _TYPES[kind]


def _field(name: str, shape: Shape) -> pa.Field:
    metadata = {"description": shape.description} if shape.description else None
    return pa.field(name, arrow_type(shape), metadata=metadata)


def array_of(values: Iterable[Any], kind: pa.DataType) -> pa.Array:
    """Plain values as an array: days and moments may be ISO 8601 texts, as JSON has them."""
    convert = _converter(kind)
    return pa.array(values if convert is None else map(convert, values), kind)


def _converter(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """What makes Arrow's values of JSON's; None where they are the same."""
    if pa.types.is_date(kind):
        return lambda value: date.fromisoformat(value) if isinstance(value, str) else value
    if pa.types.is_timestamp(kind):
        return lambda value: datetime.fromisoformat(value) if isinstance(value, str) else value
    if pa.types.is_list(kind):
        return _of_list(_converter(kind.value_type))
    if pa.types.is_struct(kind):
        return _of_struct({field.name: _converter(field.type) for field in kind})
    return None


def _of_list(item: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    if item is None:
        return None
    return lambda value: None if value is None else [item(each) for each in value]


def _of_struct(
    members: dict[str, Callable[[Any], Any] | None],
) -> Callable[[Any], Any] | None:
    changed = {name: convert for name, convert in members.items() if convert is not None}
    if not changed:
        return None

    def convert(value: Any) -> Any:
        if value is None:
            return None
        return {**value, **{name: to_arrow(value[name]) for name, to_arrow in changed.items()}}

    return convert
