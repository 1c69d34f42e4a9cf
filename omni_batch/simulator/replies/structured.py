"""Replies in JSON, for prompts that ask for it; a JSON schema in the prompt is obeyed."""

import json
from collections.abc import Mapping, Sequence

import msgspec

from omni_batch.simulator.checks.media_info import Medium

Schema = Mapping[str, object]
_DEEPEST = 12
"""Levels of a schema that are followed; recursive ones end there."""

_FORMATS: Mapping[str, str] = {
    "date": "2026-03-01",
    "date-time": "2026-03-01T09:30:00Z",
    "time": "09:30:00Z",
    "duration": "PT1M",
    "email": "someone@example.org",
    "uri": "https://example.org/",
    "uuid": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
}
"""One text for each format that JSON Schema names and people use."""


def as_json(prompt: str, prose: str, media: Sequence[Medium]) -> str:
    """A JSON object in the shape of the schema that the prompt holds, or in a shape of its own.

    Args:
        prompt: all that was asked.
        prose: the plain reply; it fills the object's strings.
        media: what the object describes where there is no schema.
    """
    schema = find_schema(prompt)
    if schema is not None:
        return json.dumps(example(schema, schema, prose), ensure_ascii=False)
    kinds = [type(medium).__name__.lower() for medium in media]
    facts = [msgspec.to_builtins(medium) for medium in media]
    whole = {"description": prose, "language": "en", "media": kinds, "facts": facts}
    return json.dumps(whole, ensure_ascii=False)


def find_schema(prompt: str) -> Schema | None:
    """The first JSON object in a text that looks like the schema of an object."""
    decoder, start = json.JSONDecoder(), prompt.find("{")
    while start >= 0:
        try:
            found, _ = decoder.raw_decode(prompt, start)
        except ValueError:
            found = None
        if isinstance(found, dict) and isinstance(found.get("properties"), dict):
            return found
        start = prompt.find("{", start + 1)
    return None


def example(schema: object, root: Schema, prose: str, depth: int = 0) -> object:
    """A value that the schema accepts; strings say `prose`."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    if "const" in schema:
        return schema["const"]
    if isinstance(choices := schema.get("enum"), list) and choices:
        return choices[len(prose) % len(choices)]
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(options := schema.get(key), list) and options:
            return example(options[len(prose) % len(options)], root, prose, depth + 1)
    if isinstance(ref := schema.get("$ref"), str):
        return example(_resolve(ref, root), root, prose, depth + 1)
    return _of_type(schema, root, prose, depth)


def _resolve(ref: str, root: Schema) -> object:
    target: object = root
    for step in filter(None, ref.removeprefix("#").split("/")):
        target = target.get(step) if isinstance(target, dict) else None
    return target


def _of_type(schema: Schema, root: Schema, prose: str, depth: int) -> object:
    stated = schema.get("type", "array" if "items" in schema else "object")
    kinds = [kind for kind in stated if kind != "null"] if isinstance(stated, list) else [stated]
    match kinds[0] if kinds else None:
        case "object":
            members = schema.get("properties")
            names = members if isinstance(members, dict) else {}
            return {name: example(part, root, prose, depth + 1) for name, part in names.items()}
        case "array":
            return _list(schema, root, prose, depth)
        case "integer":
            least = _number(schema, "minimum", 0)
            return least + len(prose) % (_number(schema, "maximum", least + 9) - least + 1)
        case "number":
            low = _bound(schema, "minimum", 0.0)
            high = _bound(schema, "maximum", low + 1)
            return round(low + (high - low) * (len(prose) % 10) / 10, 3)
        case "boolean":
            return True
        case "string":
            return _words(schema, prose)
        case _:
            return None


def _list(schema: Schema, root: Schema, prose: str, depth: int) -> list[object]:
    first = schema.get("prefixItems")
    if isinstance(first, list):
        return [example(each, root, prose, depth + 1) for each in first]
    count = max(1, _number(schema, "minItems", 1))
    return [example(schema.get("items"), root, prose, depth + 1) for _ in range(count)]


def _bound(schema: Schema, key: str, otherwise: float) -> float:
    value = schema.get(key)
    return float(value) if isinstance(value, int | float) else otherwise


def _number(schema: Schema, key: str, otherwise: int) -> int:
    value = schema.get(key)
    return int(value) if isinstance(value, int | float) else otherwise


def _words(schema: Schema, prose: str) -> str:
    if (form := schema.get("format")) in _FORMATS:
        return _FORMATS[str(form)]
    longest = _number(schema, "maxLength", 200)
    return prose[:longest].ljust(min(_number(schema, "minLength", 0), longest), ".")
