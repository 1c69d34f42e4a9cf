"""Typed answers of real runs: asked again, accounted for, stored, read again."""

import asyncio
import datetime
import importlib
import json
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from omni_batch import Config, RunHandle
from omni_batch import run_batch as start
from omni_batch.analytics.reparse import reparse_run
from omni_batch.analytics.results import read_results
from omni_batch.annotation.schema import read_schema
from omni_batch.engine.pipeline import execute
from omni_batch.engine.retry_run import reopen_failed
from omni_batch.engine.run import Run
from omni_batch.errors import ConfigError, Interrupted
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.simulator import Simulator, reply
from omni_batch.store import RunDir
from omni_batch.store.journal import read_journal
from omni_batch.store.parts import merged
from omni_batch.store.record import read_record
from tests.conftest import KEY_ENV, MakeConfig, prompts, read_table
from tests.support.media_files import picture

SCHEMA = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "enum": ["cat", "dog"]},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "seen_on": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["label"],
}
ANNOTATION = {"json_schema": SCHEMA}


def run_batch(config: Config) -> RunHandle:
    return asyncio.run(start(config))


def said(**members: Any) -> Any:
    return reply.text(json.dumps(members))


REFUSED = reply.status(400, code="data_inspection_failed")


def sent(simulator: Simulator) -> list[list[dict[str, Any]]]:
    """The messages of each request."""
    messages: list[Any] = [request.body["messages"] for request in simulator.requests]
    return messages


def test_an_answer_becomes_a_typed_column(make_config: MakeConfig, simulator: Simulator) -> None:
    simulator.script(
        said(label="cat", score=1, seen_on="2026-03-01", tags=["a"]), said(label="dog")
    )
    config = make_config(prompts(2), annotation=ANNOTATION, quota={"max_in_flight": 1})
    run = run_batch(config)
    first, second = read_table(run.path)
    day = datetime.date(2026, 3, 1)
    assert first["annotation"] == {"label": "cat", "score": 1.0, "seen_on": day, "tags": ["a"]}
    assert second["annotation"] == {"label": "dog", "score": None, "seen_on": None, "tags": None}
    assert first["text"] == ('{"label": "cat", "score": 1, "seen_on": "2026-03-01", "tags": ["a"]}')


def test_other_readers_open_the_column_without_parsing_text(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    simulator.script(said(label="cat", score=0.5, tags=["a"]), reply.text("no"))
    config = make_config(
        prompts(2), annotation={**ANNOTATION, "max_reasks": 0}, quota={"max_in_flight": 1}
    )
    run = run_batch(config)
    (part,) = (run.path / "results").glob("*.parquet")
    assert pd.read_parquet(part)["annotation"].iloc[0]["label"] == "cat"
    labels = pl.read_parquet(part)["annotation"].struct.field("label").cast(pl.String)
    assert labels.to_list() == ["cat", None]
    asked = duckdb.execute(f"select annotation.score, annotation.tags[1] from '{part}'")
    assert asked.fetchall() == [(0.5, "a"), (None, None)]
    assert list(read_results(run.path)["annotation"])[1] is None


def test_the_schema_is_told_with_every_request(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    rows = [{"item_id": "a", "prompt": "Which?", "system": "Be brief."}]
    simulator.script(said(label="cat"))
    run_batch(make_config(rows, annotation=ANNOTATION))
    ((system, user),) = sent(simulator)
    assert system["role"] == "system"
    assert system["content"].startswith("Be brief.\n\nAnswer with JSON")
    assert all(word in system["content"] for word in ("label", "cat", "dog", "score"))
    assert user["content"] == "Which?"


def test_an_invalid_answer_is_asked_again_with_what_is_wrong_with_it(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    simulator.script(said(label="lion"), said(label="dog", score=0.9))
    run = run_batch(make_config(prompts(1), annotation=ANNOTATION))
    first, again = sent(simulator)
    assert again[: len(first)] == first
    answer, objection = again[len(first) :]
    assert (answer["role"], objection["role"]) == ("assistant", "user")
    assert "lion" in json.dumps(answer)
    assert "label" in json.dumps(objection)
    (row,) = read_table(run.path)
    assert (row["status"], row["annotation"]["label"], row["attempts"]) == ("succeeded", "dog", 2)
    assert row["prompt"] == "Say 0."
    attempts = read_table(run.path, "attempts")
    assert [attempt["number"] for attempt in attempts] == [1, 2]
    assert all(attempt["prompt_tokens"] for attempt in attempts)
    assert run.counts.requests == 2
    assert run.counts.prompt_tokens == sum(attempt["prompt_tokens"] for attempt in attempts)


def test_media_of_a_question_asked_again_are_uploaded_once(
    make_config: MakeConfig, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.change(policy_valid_s=20)  # so each upload gets a folder of its own
    (tmp_path / "a.png").write_bytes(picture())
    simulator.script(said(label="lion"), said(label="bear"), said(label="dog"))
    config = make_config(
        [{"item_id": "a", "image": "a.png", "prompt": "Which?"}],
        annotation={**ANNOTATION, "max_reasks": 2},
        media={"transport": "upload"},
    )
    (row,) = read_table(run_batch(config).path)
    assert (row["annotation"]["label"], row["attempts"]) == ("dog", 3)
    (key,) = simulator.files
    asked = [messages[1]["content"][0] for messages in sent(simulator)]
    assert asked == [{"type": "image_url", "image_url": {"url": f"oss://{key}"}}] * 3


def test_media_behind_urls_are_named_again(make_config: MakeConfig, simulator: Simulator) -> None:
    simulator.script(said(label="lion"), said(label="dog"))
    url = "https://a.example/64x48.jpg"
    run_batch(make_config([{"item_id": "a", "image": url}], annotation=ANNOTATION))
    assert [messages[1]["content"][0]["image_url"]["url"] for messages in sent(simulator)] == [
        url,
        url,
    ]


@pytest.mark.parametrize("last", ["dog", "lion"])
def test_each_question_is_on_the_bill_with_its_tokens_and_cost(
    make_config: MakeConfig, simulator: Simulator, last: str
) -> None:
    """Whether the row succeeds or fails in the end, all of it was paid for."""
    simulator.script(said(label="lion"), said(label="bear"), said(label=last))
    priced = {"name": "dashscope-singapore", "base_url": simulator.base_url}
    config = make_config(
        prompts(1),
        endpoint={**priced, "api_key_env": KEY_ENV},
        annotation={**ANNOTATION, "max_reasks": 2},
    )
    run = run_batch(config)
    (row,) = read_table(run.path)
    attempts = read_table(run.path, "attempts")
    assert [attempt["number"] for attempt in attempts] == [1, 2, 3]
    assert [attempt["error_kind"] for attempt in attempts] == [None] * 3
    prompt_tokens = [attempt["prompt_tokens"] for attempt in attempts]
    assert prompt_tokens[0] < min(prompt_tokens[1:])  # which hold an answer and an objection
    assert row["prompt_tokens"] == prompt_tokens[-1]
    counts = run.counts
    assert counts.requests == row["attempts"] == 3
    assert counts.prompt_tokens == sum(prompt_tokens)
    assert counts.completion_tokens == sum(attempt["completion_tokens"] for attempt in attempts)
    cost = sum(attempt["cost"] for attempt in attempts)
    assert counts.cost == {"USD": pytest.approx(cost)}
    assert cost > row["cost"] > 0


def test_an_answer_that_stays_invalid_fails_its_row_and_is_kept(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    simulator.script(said(label="lion"), said(label="cat", score="much"))
    run = run_batch(make_config(prompts(1), annotation=ANNOTATION))
    (row,) = read_table(run.path)
    assert (row["status"], row["error_kind"]) == ("failed", "annotation_error")
    assert row["error_message"].startswith("score: 'much'")
    assert row["annotation"] is None
    assert row["text"] == '{"label": "cat", "score": "much"}'
    assert row["completion_tokens"]
    assert run.counts.failures == {"annotation_error": 1}


def test_what_can_be_repaired_is_not_bought_again(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    simulator.script(reply.text("```json\n{'label': 'Cat',}\n```"))
    run = run_batch(make_config(prompts(1), annotation=ANNOTATION))
    (row,) = read_table(run.path)
    assert (row["attempts"], row["annotation"]["label"]) == (1, "cat")
    rules = [warning.partition(":")[0] for warning in row["warnings"]]
    assert rules == ["annotation-syntax", "annotation-spelling"]


def test_of_odd_answers_none_becomes_a_wrong_value(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    """Two of five answers come in one of twelve odd forms, half of which hold no right value."""
    schema = {
        "type": "object",
        "properties": {
            "label": {"type": "string", "enum": ["cat", "dog", "bird", "other"]},
            "count": {"type": "integer", "minimum": 1, "maximum": 50},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
            "caption": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "sure": {"type": "boolean"},
        },
        "required": ["label", "count", "score", "caption", "tags", "sure"],
    }
    rows = [{"item_id": f"i{n}", "prompt": f"Look at photo {'x' * n}."} for n in range(150)]
    asked: dict[str, Any] = {"annotation": {"json_schema": schema, "max_reasks": 2}}
    meant = {
        row["item_id"]: row["annotation"]
        for row in read_table(run_batch(make_config(rows, **asked)).path)
    }
    simulator.change(faults={"json_any": 0.4})
    found = read_table(run_batch(make_config(rows, **asked)).path)
    taken = [row for row in found if row["status"] == "succeeded"]
    assert len(taken) >= 0.95 * len(rows)
    assert sum(row["attempts"] > 1 for row in found) > 10
    at_once = [row for row in taken if row["attempts"] == 1]
    assert {row["item_id"]: row["annotation"] for row in at_once} == {
        row["item_id"]: meant[row["item_id"]] for row in at_once
    }


def test_a_long_answer_is_sent_back_in_part(make_config: MakeConfig, simulator: Simulator) -> None:
    simulator.script(said(label=5, note="x" * 100_000), said(label="cat"))
    run_batch(make_config(prompts(1), annotation=ANNOTATION))
    assert len(json.dumps(sent(simulator)[1])) < 20_000


def test_only_invalid_answers_are_retried(make_config: MakeConfig, simulator: Simulator) -> None:
    config = make_config(
        prompts(3), annotation={**ANNOTATION, "max_reasks": 0}, quota={"max_in_flight": 1}
    )
    simulator.script(
        said(label="cat"), reply.text("no"), reply.status(400, code="data_inspection_failed")
    )
    run = run_batch(config)
    assert run.counts.failed == 2
    assert reopen_failed(RunDir(run.path), ["annotation_error"]) == 1


@pytest.mark.parametrize("max_reasks", [0, 1])
def test_an_earlier_answer_that_is_none_by_now_is_asked_for_anew(
    make_config: MakeConfig,
    simulator: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    max_reasks: int,
) -> None:
    """The questions are the same; what the model's validators ask of answers is not."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"changing_{max_reasks}"
    (tmp_path / f"{name}.py").write_text(CHANGING)
    asked = {"model": f"{name}:Animal", "max_reasks": max_reasks}
    simulator.script(said(legs=4), said(legs=6))
    run_batch(make_config(prompts(1), annotation=asked))
    monkeypatch.setattr(importlib.import_module(name), "FEWEST", 5)
    config = make_config(prompts(1), annotation=asked, reuse=[f"{tmp_path}/runs/*"])
    run = run_batch(config)
    (row,) = read_table(run.path)
    assert (row["annotation"], row["reused_from"], row["attempts"]) == ({"legs": 6}, None, 1)
    assert read_record(RunDir(run.path).record).counts.reused == 0


CHANGING = """
from pydantic import BaseModel, field_validator

FEWEST = 0

class Animal(BaseModel):
    legs: int

    @field_validator("legs")
    @classmethod
    def _enough(cls, value):
        if value < FEWEST:
            raise ValueError("too few")
        return value
"""


def test_a_process_that_dies_while_it_asks_again_leaves_the_bill_of_the_first_answer(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    simulator.script(said(label="lion"), reply.fault("stall"))
    config = make_config(prompts(1), annotation=ANNOTATION, shutdown_grace_s=0)
    directory = prepare_run(make_plan(config))
    kept: list[dict[str, Any]] = []

    async def look_and_stop(run: Run) -> None:
        while len(simulator.requests) < 2:  # noqa: ASYNC110  a moment, not an event
            await asyncio.sleep(0.01)
        kept.extend(merged(read_journal(directory.journal(0)))[1].values())
        run.stop(Interrupted("somebody asked"))

    asyncio.run(execute(directory, background=look_and_stop))
    assert [attempt.get("error_kind") for attempt in kept] == [None, "in_doubt"]
    assert kept[0]["prompt_tokens"]


def test_stored_answers_are_read_again_by_another_schema(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    config = make_config(
        prompts(4),
        annotation={**ANNOTATION, "max_reasks": 0},
        quota={"max_in_flight": 1},
        shard_size=2,
    )
    simulator.script(
        *(
            said(label="cat"),
            said(label="lion"),
            said(label="dog"),
            reply.status(400, code="data_inspection_failed"),
        )
    )
    run = run_batch(config)
    asked = len(simulator.requests)
    wider = {**SCHEMA, "properties": {"label": {"enum": ["cat", "lion"]}}}
    found = reparse_run(RunDir(run.path), read_schema(wider))
    assert (found.answers, found.now_succeeded, found.now_failed) == (3, 1, 1)
    rows = read_table(run.path)
    labels = [row["annotation"]["label"] for row in rows if row["annotation"]]
    assert sorted(labels) == ["cat", "lion"]
    kinds = [row["error_kind"] for row in rows if row["error_kind"]]
    assert sorted(kinds) == ["annotation_error", "content_refused"]
    counts = read_record(RunDir(run.path).record).counts
    assert (counts.succeeded, counts.failed) == (2, 2)
    assert len(simulator.requests) == asked
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    again = reparse_run(RunDir(run.path))
    assert (again.now_succeeded, again.now_failed) == (0, 0)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_a_run_without_annotations_becomes_a_typed_one(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    simulator.script(said(label="cat"), reply.text("A cat."))
    run = run_batch(make_config(prompts(2), quota={"max_in_flight": 1}))
    with pytest.raises(ConfigError, match="has no schema"):
        reparse_run(RunDir(run.path))
    reparse_run(RunDir(run.path), read_schema(SCHEMA))
    assert [row["status"] for row in read_table(run.path)] == ["succeeded", "failed"]
    (part,) = (run.path / "results").glob("*.parquet")
    assert pq.read_schema(part).field("annotation").type.field("label")


PYDANTIC = """
from pydantic import BaseModel, field_validator
from typing import Literal

class Animal(BaseModel):
    label: Literal["cat", "dog"]
    legs: int = 4

    @field_validator("legs")
    @classmethod
    def _even(cls, value):
        if value % 2:
            raise ValueError("legs come in pairs")
        return value

class Node(BaseModel):
    children: list["Node"] = []

class Either(BaseModel):
    size: int | str

NOT_A_MODEL = 3
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"models_of_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(PYDANTIC)
    (tmp_path / "broken_models.py").write_text("raise RuntimeError('half written')")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_pydantic_model_has_the_last_word_and_its_defaults_fill(
    make_config: MakeConfig, simulator: Simulator, models: str
) -> None:
    simulator.script(said(label="cat", legs=3), said(label="cat"))
    run = run_batch(make_config(prompts(1), annotation={"model": f"{models}:Animal"}))
    (row,) = read_table(run.path)
    assert row["annotation"] == {"label": "cat", "legs": 4}
    assert "legs come in pairs" in json.dumps(sent(simulator)[1])


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        ({"model": "MODELS:Gone"}, "has no Gone"),
        ({"model": "no_such_module:Animal"}, "can't be imported"),
        ({"model": "broken_models:Animal"}, "half written"),
        ({"model": "MODELS"}, "package.module:Name"),
        ({"model": "MODELS:NOT_A_MODEL"}, "is not a pydantic model"),
        ({"model": "MODELS:Node"}, "recursive"),
        ({"model": "MODELS:Either"}, "size"),
        ({"model": "MODELS:Animal", "json_schema": SCHEMA}, "either json_schema or model"),
        ({"json_schema": "gone.json"}, "gone.json can't be read"),
        ({"json_schema": {"type": "object"}}, "properties"),
        ({"json_schema": SCHEMA, "max_reasks": -1}, "max_reasks"),
        ({}, "either json_schema or model"),
    ],
)
def test_a_wrong_annotation_is_refused_before_anything_is_sent(
    make_config: MakeConfig, models: str, annotation: dict[str, Any], says: str
) -> None:
    asked = {
        key: value.replace("MODELS", models) if isinstance(value, str) else value
        for key, value in annotation.items()
    }
    with pytest.raises(ConfigError) as caught:
        make_plan(make_config(prompts(1), annotation=asked))
    assert says in str(caught.value)


def test_speech_of_json_is_refused(make_config: MakeConfig) -> None:
    spoken = {"modalities": ["text", "audio"]}
    with pytest.raises(ConfigError, match="nobody speaks"):
        make_plan(make_config(prompts(1), annotation=ANNOTATION, request=spoken))


def test_a_schema_file_is_kept_in_the_run(
    make_config: MakeConfig, simulator: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    simulator.script(said(label="cat"))
    run = run_batch(make_config(prompts(1), annotation={"json_schema": str(path)}))
    path.unlink()
    assert reparse_run(RunDir(run.path)).answers == 1
