"""Runs with variants and samples: each answer is a row, and what goes on with a run finds it."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import omni_batch
from omni_batch import Config, RunHandle
from omni_batch.analytics.results import doubt_groups, failure_groups
from omni_batch.analytics.verify import verify_run
from omni_batch.config import EndpointConfig
from omni_batch.engine.pipeline import execute
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import change_run, prepare_run
from omni_batch.simulator import Simulator, reply
from omni_batch.store import RunDir
from omni_batch.store.read import read_tables
from tests.conftest import MakeConfig, read_table

ROWS: list[Mapping[str, str]] = [{"item_id": "cup"}, {"item_id": "Cat.1"}]
VARIANTS: dict[str, Any] = {
    "terse": {"prompt": "{{ item_id }}?"},
    "big": {"model": "qwen3.5-omni-plus"},
    "spoken": {"modalities": ["text", "audio"], "voice": "Cherry"},
}
TEMPLATE = {"prompt": "Describe {{ item_id }}."}
MATRIX: dict[str, Any] = {"request": TEMPLATE, "variants": VARIANTS, "samples": 2}


def run_batch(config: Config) -> RunHandle:
    return asyncio.run(omni_batch.run_batch(config))


def asked(simulator: Simulator) -> list[dict[str, Any]]:
    return [request.body for request in simulator.requests]


def test_each_row_of_the_matrix_is_asked_as_its_variant_says(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    run = run_batch(make_config(ROWS, **MATRIX))
    rows = read_table(run.path)
    assert [(row["item_id"], row["variant"], row["sample"]) for row in rows] == [
        (item, variant, sample)
        for item in ("cup", "Cat.1")
        for variant in VARIANTS
        for sample in (1, 2)
    ]
    assert [row["row_number"] for row in rows] == list(range(12))
    assert {row["status"] for row in rows} == {"succeeded"}
    assert {(row["variant"], row["model"]) for row in rows} == {
        ("terse", "qwen3-omni-flash"),
        ("big", "qwen3.5-omni-plus"),
        ("spoken", "qwen3-omni-flash"),
    }
    assert {row["prompt"] for row in rows if row["variant"] == "terse"} == {"cup?", "Cat.1?"}
    assert {row["variant"] for row in rows if row["audio_path"]} == {"spoken"}
    assert Counter(body["model"] for body in asked(simulator)) == {
        "qwen3-omni-flash": 8,
        "qwen3.5-omni-plus": 4,
    }
    attempts = read_table(run.path, "attempts")
    for table in (rows, attempts):
        assert {(row["variant"], row["model"], row["endpoint"]) for row in table} == {
            ("terse", "qwen3-omni-flash", "custom/qwen3-omni-flash"),
            ("big", "qwen3.5-omni-plus", "custom/qwen3.5-omni-plus"),
            ("spoken", "qwen3-omni-flash", "custom/qwen3-omni-flash"),
        }
    assert [row["row_number"] for row in attempts] == list(range(12))


def test_speech_of_each_row_has_a_file_of_its_own(make_config: MakeConfig) -> None:
    run = run_batch(make_config(ROWS, **MATRIX))
    named = [row["audio_path"] for row in read_table(run.path) if row["audio_path"]]
    assert named[:2] == ["audio/cup.spoken.1.wav", "audio/cup.spoken.2.wav"]
    assert len({name.lower() for name in named}) == 4
    assert sorted(named) == sorted(f"audio/{path.name}" for path in (run.path / "audio").iterdir())
    assert verify_run(RunDir(run.path)).problems == 0


def test_each_sample_is_asked_with_its_seed_and_is_a_question_of_its_own(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    run = run_batch(make_config(ROWS[:1], request=TEMPLATE, samples=3))
    assert sorted(body["seed"] for body in asked(simulator)) == [1, 2, 3]
    rows = read_table(run.path)
    assert [(row["variant"], row["sample"]) for row in rows] == [(None, 1), (None, 2), (None, 3)]
    assert len({row["fingerprint"] for row in rows}) == 3


def test_the_columns_of_a_manifest_stay_its_own(make_config: MakeConfig) -> None:
    rows = [{"item_id": "cup", "variant": "mine", "sample": "7"}]
    prompt = {"prompt": "{{ variant }} {{ sample }}"}
    run = run_batch(make_config(rows, request=prompt, variants={"a": {}, "b": {}}, samples=1))
    for row, variant in zip(read_table(run.path), "ab", strict=True):
        assert json.loads(row["source"]) == {"variant": "mine", "sample": "7"}
        assert (row["variant"], row["sample"], row["prompt"]) == (variant, 1, "mine 7")


def test_what_an_earlier_run_has_answered_is_reused_sample_by_sample(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    first = run_batch(make_config(ROWS, **MATRIX))
    reuse = [str(first.path)]
    more = run_batch(make_config(ROWS, **{**MATRIX, "samples": 3}, reuse=reuse))
    assert (more.counts.reused, more.counts.requests) == (12, 6)
    rows = read_table(more.path)
    assert {row["sample"] for row in rows if not row["reused_from"]} == {3}
    before = {
        (row["item_id"], row["variant"], row["sample"]): row for row in read_table(first.path)
    }
    for row in rows:
        if row["reused_from"]:
            earlier = before[row["item_id"], row["variant"], row["sample"]]
            assert row["audio_sha256"] == earlier["audio_sha256"]
    assert verify_run(RunDir(more.path)).problems == 0


def test_a_run_of_one_model_is_reused_by_a_variant_of_that_model(make_config: MakeConfig) -> None:
    alone = run_batch(make_config(ROWS, request=TEMPLATE, model="qwen3.5-omni-plus"))
    variants = {"flash": {}, "plus": {"model": "qwen3.5-omni-plus"}}
    both = run_batch(make_config(ROWS, request=TEMPLATE, variants=variants, reuse=str(alone.path)))
    assert {row["variant"] for row in read_table(both.path) if row["reused_from"]} == {"plus"}
    assert (both.counts.reused, both.counts.requests) == (2, 2)
    again = run_batch(
        make_config(ROWS, request=TEMPLATE, model="qwen3.5-omni-plus", reuse=str(both.path))
    )
    assert again.counts.requests == 0


def test_only_the_rows_that_failed_are_retried(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    refused = reply.status(400, code="data_inspection_failed")
    simulator.script(refused, *[reply.normal()] * 4, refused)
    quota = {"max_in_flight": 1}
    variants = {"a": {}, "b": {"temperature": 0.3}}
    config = make_config(
        ROWS[:1], request=TEMPLATE, variants=variants, samples=3, quota=quota, shard_size=2
    )
    run = run_batch(config)
    before = read_table(run.path)
    failed = [number for number, row in enumerate(before) if row["status"] == "failed"]
    assert len(failed) == 2
    (group,) = failure_groups(RunDir(run.path))
    example = before[failed[0]]
    assert group.example_item_id == f"cup.{example['variant']}.{example['sample']}"

    run.retry()
    after = read_table(run.path)
    assert {row["status"] for row in after} == {"succeeded"}
    assert run.counts.requests == 8
    assert [row for number, row in enumerate(after) if number not in failed] == [
        row for number, row in enumerate(before) if number not in failed
    ]


async def test_an_interrupted_run_is_resumed_row_by_row(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    config = make_config(ROWS, **MATRIX, quota={"max_in_flight": 1})
    directory = prepare_run(make_plan(config))
    simulator.script(*[reply.normal()] * 5, reply.status(401, code="invalid_api_key"))
    record = await execute(directory)
    assert record.state == "stopped"
    kept = {
        row["row_number"]: row
        for results, _ in read_tables(directory, record)
        for row in results.to_pylist()
    }
    assert 0 < len(kept) == record.counts.done < 12
    change_run(directory, ["quota.requests_per_minute=1e8"])
    record = await execute(directory)
    assert (record.state, record.counts.succeeded) == ("finished", 12)
    rows = read_table(directory.root)
    assert len({(row["item_id"], row["variant"], row["sample"]) for row in rows}) == 12
    assert all(rows[number] == row for number, row in kept.items())
    assert verify_run(directory).problems == 0


def test_an_answer_is_asked_again_by_the_rules_of_its_variant(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    schema = {"type": "object", "properties": {"kind": {"enum": ["cup", "cat"], "type": "string"}}}
    schema["required"] = ["kind"]
    simulator.script(reply.text("no"), reply.text('{"kind": "cup"}'), reply.text('{"kind": "cat"}'))
    config = make_config(
        ROWS[:1],
        request=TEMPLATE,
        variants={"big": {"model": "qwen3.5-omni-plus", "system": "Be brief."}, "small": {}},
        annotation={"json_schema": schema},
        quota={"max_in_flight": 1},
    )
    rows = read_table(run_batch(config).path)
    assert {row["annotation"]["kind"] for row in rows} == {"cup", "cat"}
    (again,) = (row for row in rows if row["attempts"] == 2)
    bodies = [body for body in asked(simulator) if body["model"] == again["model"]]
    assert bodies[1]["messages"][: len(bodies[0]["messages"])] == bodies[0]["messages"]
    assert rows[0]["model"] == "qwen3.5-omni-plus"


def test_each_model_of_an_endpoint_has_limits_of_its_own(make_config: MakeConfig) -> None:
    run = run_batch(make_config(ROWS, **MATRIX, quota={"max_in_flight": 3}))
    names = [endpoint.name for endpoint in run.record.endpoints]
    assert names == ["custom/qwen3-omni-flash", "custom/qwen3.5-omni-plus"]
    assert run.record.models == ("qwen3-omni-flash", "qwen3.5-omni-plus")
    assert {endpoint.stated_requests_per_minute for endpoint in run.record.endpoints} == {1e9}


def test_logs_and_warnings_name_the_row(
    make_config: MakeConfig, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.script(reply.status(400, code="data_inspection_failed"))
    config = make_config(
        [{"item_id": "cup", "voice": "Cherry"}],
        request=TEMPLATE,
        variants={"quiet": {}, "plain": {"temperature": 0.1}},
        samples=1,
        quota={"max_in_flight": 1},
    )
    with caplog.at_level(logging.WARNING, "omni_batch"):
        run = run_batch(config)
    (record,) = (each for each in caplog.records if getattr(each, "event", "") == "item_failed")
    assert record.getMessage().startswith("cup.quiet.1: ")
    said = vars(record)
    assert (said["item_id"], said["fields"]["variant"], said["fields"]["sample"]) == (
        "cup",
        "quiet",
        1,
    )
    (group,) = doubt_groups(RunDir(run.path))
    assert (group.rule, group.item_id) == ("voice-without-speech", "cup.quiet.1")


def test_rows_go_to_endpoints_of_their_model_only(make_config: MakeConfig) -> None:
    endpoints = tuple(EndpointConfig(name="simulator", label=label) for label in ("left", "right"))
    variants = {"flash": {}, "plus": {"model": "qwen3.5-omni-plus"}}
    config = make_config(ROWS, request=TEMPLATE, variants=variants, samples=10)
    config = config.model_copy(update={"endpoint": EndpointConfig(), "endpoints": endpoints})
    run = run_batch(config)
    rows = read_table(run.path)
    assert {row["status"] for row in rows} == {"succeeded"}
    assert {row["endpoint"].partition("/")[2] == row["model"] for row in rows} == {True}
    assert {row["endpoint"] for row in rows} == {
        f"{label}/{model}"
        for label in ("left", "right")
        for model in ("qwen3-omni-flash", "qwen3.5-omni-plus")
    }


def test_an_exported_chat_is_the_one_that_the_variant_had(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    variants = {"plain": {}, "pirate": {"system": "Speak like a pirate."}}
    run = run_batch(make_config(ROWS[:1], request=TEMPLATE, variants=variants))
    run.export("messages", tmp_path / "chats.jsonl")
    plain, pirate = map(json.loads, (tmp_path / "chats.jsonl").read_text().splitlines())
    assert (plain["variant"], [turn["role"] for turn in plain["messages"]]) == (
        "plain",
        ["user", "assistant"],
    )
    assert pirate["messages"][0] == {"role": "system", "content": "Speak like a pirate."}
    assert "sample" not in pirate


def test_a_run_is_the_same_as_before_without_variants_and_samples(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    rows = read_table(run_batch(make_config(ROWS, request=TEMPLATE, variants={})).path)
    assert [(row["variant"], row["sample"], row["endpoint"]) for row in rows] == [
        (None, None, "custom")
    ] * 2
    assert all("seed" not in body for body in asked(simulator))
