"""Which schemas a server can hold an answer to while it is written. Pure.

Servers turn a schema into a grammar, and refuse the request where they have none for a keyword:
vLLM's xgrammar knows no `multipleOf`, `uniqueItems` or `contains`, guidance no `patternProperties`
of some forms, and which of them decides is up to the server (vLLM, structured_output, 2026). What
is listed here they all have in common.
"""

from collections.abc import Iterator
from typing import Any

_KEYWORDS = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf"}
    | {"$ref", "$defs", "definitions", "$schema", "$id", "$comment"}
    | {"title", "description", "default", "examples", "deprecated"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    | {"minLength", "maxLength", "minItems", "maxItems", "format"}
)
_FORMATS = frozenset({"date", "date-time", "time", "duration", "email", "uuid", "uri"})
_OF_SCHEMAS = ("properties", "$defs", "definitions")
"""Keywords whose members are schemas by name."""
_INSIDE = ("items", "additionalProperties")
"""Keywords that are a schema."""


def without_grammar(schema: Any) -> str | None:
    """The first part of a schema that a server may have no grammar for; None where there is none.

    Args:
        schema: one that has been found to be a JSON Schema.
    """
    return next(_strange(schema), None)


def _strange(schema: Any) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    yield from (keyword for keyword in schema if keyword not in _KEYWORDS)
    if (form := schema.get("format")) is not None:
        if form not in _FORMATS:
            yield f"format: {form}"
        yield from (
            f"{each} beside format" for each in ("minLength", "maxLength") if each in schema
        )
    if isinstance(schema.get("items"), list):
        yield "a list of items"
    for inner in _parts(schema):
        yield from _strange(inner)


def _parts(schema: dict[str, Any]) -> Iterator[Any]:
    for keyword in _OF_SCHEMAS:
        named = schema.get(keyword)
        yield from named.values() if isinstance(named, dict) else ()
    yield from (schema[keyword] for keyword in _INSIDE if keyword in schema)
    yield from schema.get("anyOf", ())
