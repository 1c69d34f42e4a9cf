"""Servers that are known to hold answers to a schema get it beside the prompt as well."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from omni_batch import Config, RunHandle
from omni_batch import run_batch as start
from omni_batch.planning.plan import make_plan
from omni_batch.providers.dialects import DIALECTS
from omni_batch.simulator import Simulator, SimulatorOptions, reply
from tests.conftest import KEY_ENV, MakeConfig, prompts, read_table

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["cat", "dog"]}, "legs": {"type": "integer"}},
    "required": ["label"],
}
ANNOTATION = {"json_schema": SCHEMA}
SENT = {"type": "json_schema", "json_schema": {"name": "annotation", "schema": SCHEMA}}
Serve = Callable[[str], Simulator]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(Simulator(SimulatorOptions(dialect=name)))


def run_batch(config: Config) -> RunHandle:
    return asyncio.run(start(config))


def at(simulator: Simulator, name: str) -> dict[str, Any]:
    own = {"name": "custom", "dialect": name, "label": name}
    return {**own, "base_url": simulator.base_url, "api_key_env": KEY_ENV}


@pytest.mark.parametrize("name", [name for name, each in DIALECTS.items() if each.streams])
def test_only_vllm_is_known_to_take_it(make_config: MakeConfig, serve: Serve, name: str) -> None:
    simulator = serve("dashscope" if name == "litellm" else name)
    model = "gpt-audio" if name == "openai" else "qwen3-omni-flash"
    config = make_config(
        prompts(1), endpoint=at(simulator, name), model=model, annotation=ANNOTATION
    )
    run = run_batch(config)
    assert run.counts.succeeded == 1
    (request,) = simulator.requests
    assert request.body.get("response_format") == (SENT if name == "vllm" else None)
    assert "label" in json.dumps(request.body["messages"])


def test_each_of_several_endpoints_gets_what_it_takes(
    make_config: MakeConfig, serve: Serve
) -> None:
    simulators = {name: serve(name) for name in ("vllm", "dashscope")}
    endpoints = [at(simulator, name) for name, simulator in simulators.items()]
    config = make_config(prompts(12), endpoint={}, endpoints=endpoints, annotation=ANNOTATION)
    assert run_batch(config).counts.succeeded == 12
    for name, simulator in simulators.items():
        assert simulator.requests
        held = {"response_format" in request.body for request in simulator.requests}
        assert held == {name == "vllm"}


@pytest.mark.parametrize(
    ("changes", "sent"),
    [
        ({"annotation": {**ANNOTATION, "response_format": "off"}}, None),
        ({"request": {"extra": {"response_format": {"type": "json_object"}}}}, "json_object"),
        ({"request": {"thinking": True}}, None),
    ],
)
def test_the_user_has_the_last_word(
    make_config: MakeConfig, serve: Serve, changes: dict[str, Any], sent: str | None
) -> None:
    simulator = serve("vllm")
    tree = {"endpoint": at(simulator, "vllm"), "annotation": ANNOTATION, **changes}
    run = run_batch(make_config(prompts(1), model="qwen3.5-omni-plus", **tree))
    assert run.counts.succeeded == 1
    wanted = simulator.requests[0].body.get("response_format")
    assert wanted == ({"type": sent} if sent else None)


def test_a_schema_that_a_server_may_refuse_is_told_in_the_prompt_only(
    make_config: MakeConfig, serve: Serve
) -> None:
    """With it, each row would cost a 400."""
    simulator = serve("vllm")
    stepped = {
        **SCHEMA,
        "properties": {"legs": {"type": "integer", "multipleOf": 2}},
        "required": [],
    }
    config = make_config(
        prompts(1), endpoint=at(simulator, "vllm"), annotation={"json_schema": stepped}
    )
    (doubt,) = (each for each in make_plan(config).doubts if each.rule == "schema-in-prompt-only")
    assert "the schema has multipleOf" in doubt.message
    run = run_batch(config)
    assert "response_format" not in simulator.requests[0].body
    assert any("schema-in-prompt-only" in warning for warning in run.record.warnings)


def test_a_model_that_thinks_is_left_to_think(make_config: MakeConfig, serve: Serve) -> None:
    config = make_config(
        prompts(1),
        model="qwen3.5-omni-plus",
        endpoint=at(serve("vllm"), "vllm"),
        annotation=ANNOTATION,
        request={"thinking": True},
    )
    messages = [each.message for each in make_plan(config).doubts]
    assert any("the model thinks before it answers" in message for message in messages)


def test_a_question_asked_again_is_held_to_the_schema_too(
    make_config: MakeConfig, serve: Serve
) -> None:
    simulator = serve("vllm")
    simulator.script(reply.text(json.dumps({"label": "lion"})))
    run = run_batch(make_config(prompts(1), endpoint=at(simulator, "vllm"), annotation=ANNOTATION))
    assert [request.body["response_format"] for request in simulator.requests] == [SENT, SENT]
    (row,) = read_table(run.path)
    assert row["annotation"]["label"] in ("cat", "dog")
