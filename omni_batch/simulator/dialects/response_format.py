"""`response_format` as two servers read it: a schema that the reply is held to, or a refusal.

Sources: OpenAI's guide to structured outputs and the page of gpt-audio, 2026, and the words of its
400 (llm issue 794); vLLM's `structured_output` and its protocol of chat completions, 2026.
"""

from collections.abc import Iterator, Mapping

from omni_batch.simulator.checks.chat import Body
from omni_batch.simulator.dialects.lenient_parsing import rejected

Schema = Mapping[str, object]
_TYPES = ("json_object", "json_schema", "text")
_NO_GRAMMAR = {
    "integer": ("multipleOf",),
    "number": ("multipleOf",),
    "array": ("uniqueItems", "contains", "minContains", "maxContains"),
}
"""Keywords of a type that xgrammar knows nothing of."""
_FORMATS = """
    email date time date-time duration ipv4 ipv6 hostname uuid uri uri-reference uri-template
    json-pointer relative-json-pointer
"""
"""Of texts, for which xgrammar has a grammar."""
_WITHOUT_SCHEMAS = ("audio", "gpt-3.5", "gpt-4-", "chatgpt-")
"""In names of OpenAI's models without structured outputs."""


def of_vllm(body: Body) -> Schema | None:
    """Held to by a grammar; one of xgrammar's alone, as an operator may have chosen it."""
    described = _described(body)
    schema = described.get("schema") if described else None
    if not isinstance(schema, dict):
        return None
    if any(_is_beyond(part) for part in _parts(schema)):
        raise rejected("The provided JSON schema contains features not supported by xgrammar.")
    return schema


def _is_beyond(part: Schema) -> bool:
    kinds = part.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if any(keyword in part for kind in kinds for keyword in _NO_GRAMMAR.get(str(kind), ())):
        return True
    if "string" not in kinds:
        return False
    bounded = "minLength" in part or "maxLength" in part
    shaped = "pattern" in part or "format" in part
    return (bounded and shaped) or part.get("format", "date") not in _FORMATS.split()


def of_openai(body: Body) -> Schema | None:
    """Held to as well as it can be; `strict` holds to the letter, and makes demands on schemas."""
    described = _described(body)
    if described is None:
        return None
    if any(part in str(body.get("model")) for part in _WITHOUT_SCHEMAS):
        raise rejected(
            "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this "
            "model. Learn more about supported models at the Structured Outputs guide: "
            "https://platform.openai.com/docs/guides/structured-outputs"
        )
    schema = described.get("schema")
    if not isinstance(schema, dict):
        return None
    if schema.get("type") != "object":
        raise _wrong(
            described, f"schema must be of 'type: \"object\"', got {schema.get('type')!r}."
        )
    if described.get("strict") is True:
        _check_strict(described, schema)
    return schema


def _check_strict(described: Body, schema: Schema) -> None:
    for part in _parts(schema):
        members = part.get("properties")
        if not isinstance(members, dict):
            continue
        if part.get("additionalProperties") is not False:
            raise _wrong(described, "'additionalProperties' is required to be false.")
        required = part.get("required")
        if not isinstance(required, list) or set(required) != set(members):
            raise _wrong(described, "'required' must be an array that names every key.")


def _wrong(described: Body, what: str) -> Exception:
    message = f"Invalid schema for response_format '{described.get('name')}': {what}"
    return rejected(message, param="response_format")


def _described(body: Body) -> Body | None:
    """The object `json_schema` of a request; None where it asks for no schema."""
    wanted = body.get("response_format")
    if wanted is None:
        return None
    kind = wanted.get("type") if isinstance(wanted, dict) else wanted
    if not isinstance(wanted, dict) or kind not in _TYPES:
        values = ", ".join(f"'{each}'" for each in _TYPES)
        message = f"Invalid value: '{kind}'. Supported values are: {values}."
        raise rejected(message, code="invalid_value", param="response_format.type")
    if kind != "json_schema":
        return None
    described = wanted.get("json_schema")
    if not isinstance(described, dict) or not isinstance(described.get("name"), str):
        where = "json_schema.name" if isinstance(described, dict) else "json_schema"
        message = f"Missing required parameter: 'response_format.{where}'."
        raise rejected(message, code="missing_required_parameter", param="response_format")
    return described


def _parts(schema: object) -> Iterator[Schema]:
    """A schema and all that are inside of it."""
    if isinstance(schema, dict):
        yield schema
        for inner in schema.values():
            yield from _parts(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _parts(inner)
