"""A `response_format` with a schema: who holds the reply to it, who refuses it, who skips it."""

import json
from typing import Any

import pytest

from tests.simulator.sim_client import ask, body, post, text
from tests.simulator.sim_dialects import SAID, Start

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"label": {"enum": ["cat", "dog"]}, "seen": {"type": "string", "format": "date"}},
    "required": ["label", "seen"],
    "additionalProperties": False,
}


def wanted(schema: Any = None, **more: Any) -> dict[str, Any]:
    described = {"name": "animal", "schema": SCHEMA if schema is None else schema, **more}
    return {"type": "json_schema", "json_schema": described}


@pytest.mark.parametrize(("dialect", "model"), [("vllm", "any"), ("openai", "gpt-4o")])
def test_a_reply_is_held_to_the_schema(start: Start, dialect: str, model: str) -> None:
    said = json.loads(text(ask(start(dialect), model=model, response_format=wanted(strict=True))))
    assert said["label"] in ("cat", "dog")
    assert said["seen"] == "2026-03-01"


@pytest.mark.parametrize("dialect", ["vllm-omni", "sglang-omni", "dashscope"])
def test_others_do_not_hold_to_it(start: Start, dialect: str) -> None:
    """Of vllm-omni and sglang-omni it is known that they skip it, of dashscope nothing is."""
    chunks = ask(start(dialect), modalities=["text"], response_format=wanted())
    assert text(chunks) == SAID


@pytest.mark.parametrize(
    ("schema", "refused"),
    [
        ({"type": "integer", "multipleOf": 5}, True),
        ({"type": "array", "items": {}, "uniqueItems": True}, True),
        ({"type": "string", "format": "iri"}, True),
        ({"type": "string", "format": "date", "maxLength": 9}, True),
        ({"type": ["string", "null"], "pattern": "^a", "minLength": 2}, True),
        ({"type": "string", "pattern": "^a"}, False),
        ({"type": "object", "properties": {"contains": {"type": "string"}}}, False),
    ],
)
def test_vllm_refuses_what_it_has_no_grammar_for(
    start: Start, schema: dict[str, Any], *, refused: bool
) -> None:
    whole = {"type": "object", "properties": {"m": schema}}
    response = post(start("vllm"), body(response_format=wanted(whole)))
    assert response.status_code == (400 if refused else 200)
    assert ("not supported by xgrammar" in response.text) is refused


OPTIONAL = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("model", "response_format", "says"),
    [
        ("gpt-audio", wanted(), "of type 'json_schema' is not supported with this model"),
        ("gpt-4o-audio-preview", wanted(), "is not supported with this model"),
        ("gpt-4-turbo", wanted(), "is not supported with this model"),
        ("gpt-4o", wanted(OPTIONAL, strict=True), "'additionalProperties' is required to be false"),
        (
            "gpt-4o",
            wanted({**OPTIONAL, "additionalProperties": False}, strict=True),
            "'required' must be an array",
        ),
        ("gpt-4o", wanted({"type": "array", "items": {}}), "schema must be of 'type: \"object\"'"),
        ("gpt-4o", {"type": "json"}, "Invalid value: 'json'"),
        ("gpt-4o", {"type": "json_schema"}, "'response_format.json_schema'"),
        ("gpt-4o", {"type": "json_schema", "json_schema": {}}, "response_format.json_schema.name"),
    ],
)
def test_openai_refuses(start: Start, model: str, response_format: Any, says: str) -> None:
    response = post(start("openai"), body(model=model, response_format=response_format))
    assert response.status_code == 400
    assert says in response.json()["error"]["message"]


def test_openai_takes_any_object_without_strict(start: Start) -> None:
    chunks = ask(start("openai"), model="gpt-4o", response_format=wanted(OPTIONAL))
    assert isinstance(json.loads(text(chunks))["a"], str)
