"""A schema gives a column its type, or is refused with the part that is at fault."""

import json
from typing import Any

import pyarrow as pa
import pytest

from omni_batch.annotation.arrow import array_of, arrow_type
from omni_batch.annotation.read import read_annotation
from omni_batch.annotation.schema import read_schema
from omni_batch.errors import ConfigError

LABEL = pa.dictionary(pa.int32(), pa.string())
POINT = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}


def member(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"m": schema}, "required": ["m"]}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, pa.string()),
        ({"type": "string", "format": "uri"}, pa.string()),
        ({"type": "string", "format": "date"}, pa.date32()),
        ({"type": "string", "format": "date-time"}, pa.timestamp("us", tz="UTC")),
        ({"type": "integer"}, pa.int64()),
        ({"type": "number"}, pa.float64()),
        ({"type": ["integer", "number"]}, pa.float64()),
        ({"type": ["boolean", "null"]}, pa.bool_()),
        ({"enum": ["a", "b", None]}, LABEL),
        ({"enum": [1, 2]}, pa.int64()),
        ({"enum": [0.5, 1]}, pa.float64()),
        ({"const": "a"}, LABEL),
        ({"oneOf": [{"const": "a", "title": "A"}, {"const": "b"}]}, LABEL),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, pa.int64()),
        ({"anyOf": [{"type": "integer"}, {"type": "number"}]}, pa.float64()),
        ({"allOf": [{"$ref": "#/$defs/P"}], "default": {}}, pa.struct([("x", pa.float64())])),
        ({"$ref": "#/$defs/Ps"}, pa.list_(pa.struct([("x", pa.float64())]))),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, pa.list_(LABEL)),
        ({"type": "array", "prefixItems": [{"type": "number"}] * 4, "items": False},
         pa.list_(pa.float64())),
        ({"type": "object", "additionalProperties": {"type": "number"}},
         pa.list_(pa.struct([("key", pa.string()), ("value", pa.float64())]))),
    ],
)  # fmt: skip
def test_the_type_of_a_member_comes_from_the_schema(schema: Any, kind: pa.DataType) -> None:
    definitions = {"P": POINT, "Ps": {"type": "array", "items": {"$ref": "#/$defs/P"}}}
    found = arrow_type(read_schema({**member(schema), "$defs": definitions}).shape)
    assert found.field("m").type == kind


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ([], "object"),
        ("string", "object"),
        (True, "object"),
        ({}, "no type"),
        ({"label": "cat", "score": 0.9}, "no type"),
        ({"type": "object"}, "properties"),
        ({"type": "object", "properties": ["a"]}, "properties"),
        (member({}), "'m' has no type"),
        (member(True), "'m' may be anything"),
        (member({"type": "strin"}), "strin"),
        (member({"type": ["integer", "string"]}), "'m' may be integer or text"),
        (member({"oneOf": [{"type": "number"}, {"type": "string"}]}), "number or text"),
        (member({"anyOf": [POINT, {"type": "string"}]}), "object or text"),
        (member({"enum": ["A", 1, True]}), "'m' may be"),
        (member({"type": "array"}), '"items"'),
        (member({"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]}),
         "'m[]'"),
        (member({"type": "string", "pattern": "[a-"}), "m.pattern"),
        (member({"$ref": "#/$defs/Gone"}), "'#/$defs/Gone'"),
        (member({"$ref": "http://127.0.0.1:9/x.json"}), "nothing is fetched"),
        ({**member({"type": "string"}), "if": {"$ref": "https://x.example/y"}}, "nothing"),
        (member({"type": "array", "items": {"$ref": "#"}}), "recursive"),
        (member(member(member({"type": ["string", "number"]}))), "'m.m.m'"),
    ],
)  # fmt: skip
def test_what_no_column_can_hold_is_refused(schema: Any, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_schema(schema)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_schema_that_is_nested_without_end_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(200):
        schema = member(schema)
    with pytest.raises(ConfigError, match="levels deep"):
        read_schema(schema)


def test_values_of_all_types_become_an_array_and_come_back() -> None:
    schema = read_schema(
        {
            "type": "object",
            "properties": {
                "label": {"enum": ["a", "b"]},
                "day": {"type": "string", "format": "date"},
                "moments": {"type": "array", "items": {"type": "string", "format": "date-time"}},
                "scores": {"type": "object", "additionalProperties": {"type": "number"}},
                "id": {"type": "integer"},
            },
        }
    )
    answer = {
        "label": "b",
        "day": "0800-12-25",
        "moments": ["1500-01-01T00:00:00Z"],
        "scores": {"x": 1},
        "id": 2**53 + 1,
    }
    value = read_annotation(json.dumps(answer), schema).value
    kind = arrow_type(schema.shape)
    array = array_of([value, None], kind)
    assert array.type == kind
    found = array.to_pylist()
    assert (found[0]["day"].year, found[0]["moments"][0].year) == (800, 1500)
    assert found[0]["scores"] == [{"key": "x", "value": 1.0}]
    assert (found[0]["label"], found[0]["id"], found[1]) == ("b", 2**53 + 1, None)
    assert array_of(found, kind) == array  # a part that is read and written again stays the same


def test_a_column_without_one_answer_has_its_type() -> None:
    kind = arrow_type(read_schema(member({"enum": ["a"]})).shape)
    assert array_of([None, None], kind).type == kind
