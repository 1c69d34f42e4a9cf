"""Replies in JSON, for prompts that ask for it; a JSON schema in the prompt is obeyed."""

import json
from collections.abc import Mapping, Sequence

import msgspec

from omni_batch.simulator.checks.media_info import Medium

Schema = Mapping[str, object]
_DEEPEST = 12
"""Levels of a schema that are followed; recursive ones end there."""


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
            return example(options[0], root, prose, depth + 1)
    if isinstance(ref := schema.get("$ref"), str):
        return example(_resolve(ref, root), root, prose, depth + 1)
    return _of_type(schema, root, prose, depth)


def _resolve(ref: str, root: Schema) -> object:
    target: object = root
    for step in filter(None, ref.removeprefix("#").split("/")):
        target = target.get(step) if isinstance(target, dict) else None
    return target


def _of_type(schema: Schema, root: Schema, prose: str, depth: int) -> object:
    kind = schema.get("type", "object")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            members = schema.get("properties")
            names = members if isinstance(members, dict) else {}
            return {name: example(part, root, prose, depth + 1) for name, part in names.items()}
        case "array":
            count = max(1, _number(schema, "minItems", 1))
            return [example(schema.get("items"), root, prose, depth + 1) for _ in range(count)]
        case "integer" | "number":
            return _number(schema, "minimum", min(1, _number(schema, "maximum", 1)))
        case "boolean":
            return True
        case "string":
            return _words(schema, prose)
        case _:
            return None


def _number(schema: Schema, key: str, otherwise: int) -> int:
    value = schema.get(key)
    return int(value) if isinstance(value, int | float) else otherwise


def _words(schema: Schema, prose: str) -> str:
    longest = _number(schema, "maxLength", 200)
    return prose[:longest].ljust(min(_number(schema, "minLength", 0), longest), ".")
