"""The type of the column `annotation`: from the schema alone, whatever the answers were."""

from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from .shape import Shape

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


def annotation_array(values: Iterable[Any], shape: Shape) -> pa.Array:
    """Plain JSON values, as `project` gives them, as one array of the shape's type."""
    to_arrow = _converter(shape)
    return pa.array([to_arrow(value) for value in values], arrow_type(shape))


def _converter(shape: Shape) -> Callable[[Any], Any]:
    """Days and moments are texts in JSON and have types of their own in Arrow."""
    match shape.kind:
        case "date":
            return _of_text(date.fromisoformat)
        case "moment":
            return _of_text(datetime.fromisoformat)
        case "object":
            members = {name: _converter(each) for name, each in (shape.members or {}).items()}
            return lambda value: (
                value and {name: convert(value[name]) for name, convert in members.items()}
            )
        case "list" if shape.item:
            item = _converter(shape.item)
            return lambda value: value and [item(each) for each in value]
        case "map" if shape.item:
            of_value = _converter(shape.item)
            return lambda value: (
                value and [(each["key"], of_value(each["value"])) for each in value]
            )
        case _:
            return lambda value: value


def _of_text(read: Callable[[str], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)
