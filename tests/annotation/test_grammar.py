"""Which schemas a server is asked to hold an answer to."""

from typing import Any

import pytest

from omni_batch.annotation.grammar import without_grammar
from omni_batch.annotation.schema import read_schema

POINT = {"type": "object", "properties": {"x": {"type": "number", "minimum": 0}}}


def member(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"m": schema}, "required": ["m"]}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "enum": ["a", "b"], "description": "which"},
        {"type": ["integer", "null"], "minimum": 1, "maximum": 5},
        {"type": "string", "format": "date"},
        {"type": "array", "items": POINT, "minItems": 1, "maxItems": 3},
        {"anyOf": [POINT, {"type": "null"}]},
        {"type": "object", "additionalProperties": {"type": "number"}},
        {"$ref": "#/$defs/P", "$defs": {"P": POINT}},
        {"type": "object", "properties": {"pattern": {"type": "string"}}},
    ],
)
def test_what_all_servers_know_is_sent(schema: dict[str, Any]) -> None:
    assert without_grammar(member(schema)) is None


@pytest.mark.parametrize(
    ("schema", "part"),
    [
        ({"type": "string", "pattern": "^a"}, "pattern"),
        ({"type": "integer", "multipleOf": 5}, "multipleOf"),
        ({"type": "array", "items": {"enum": ["a"]}, "uniqueItems": True}, "uniqueItems"),
        ({"type": "string", "format": "hostname"}, "format: hostname"),
        ({"type": "string", "format": "date", "maxLength": 9}, "maxLength beside format"),
        ({"oneOf": [{"const": "a"}, {"const": "b"}]}, "oneOf"),
        ({"allOf": [POINT]}, "allOf"),
        ({"type": "array", "prefixItems": [{"type": "string"}]}, "prefixItems"),
        ({"type": "object", "additionalProperties": {"type": "number", "multipleOf": 2}}, "mult"),
        ({"anyOf": [{"type": "integer", "multipleOf": 5}, {"type": "null"}]}, "multipleOf"),
        ({"$ref": "#/$defs/P", "$defs": {"P": {"type": "string", "pattern": "a"}}}, "pattern"),
    ],
)
def test_what_some_server_has_no_grammar_for_is_named(schema: dict[str, Any], part: str) -> None:
    found = without_grammar(member(schema))
    assert found is not None
    assert found.startswith(part)


def test_a_list_of_items_is_an_old_form() -> None:
    assert without_grammar({"type": "array", "items": [{"type": "string"}]}) == "a list of items"


def test_a_schema_is_judged_as_the_user_wrote_it() -> None:
    assert without_grammar(read_schema(member(POINT)).json_schema) is None
