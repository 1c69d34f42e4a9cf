"""A run from manifest to Parquet against a real simulator: what the product promises."""

import asyncio
import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pandas as pd
import polars as pl
import pytest
import soundfile

import omni_batch
from omni_batch.config import Config, load_config
from omni_batch.endpoint_status import EndpointStatus, Learned
from omni_batch.engine.pipeline import execute
from omni_batch.engine.run import Run
from omni_batch.engine.shard import process_shard
from omni_batch.errors import ConfigError
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import change_run, prepare_run
from omni_batch.simulator import Simulator, SimulatorOptions, reply
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.read import read_tables
from omni_batch.store.record import read_record, write_record
from tests.conftest import KEY, KEY_ENV, SAMPLE, MakeConfig, prompts, read_table


async def finish(config: Config) -> tuple[RunDir, RunRecord]:
    record = (await omni_batch.run_batch(config)).record
    return RunDir(Path(config.output) / record.run_id), record


async def test_every_kind_of_input_is_answered_in_text_and_speech(make_config: MakeConfig) -> None:
    config = make_config([{"prompt": "replaced below"}])
    sample = load_config("configs/demo.yaml")
    manifest = sample.manifest.model_copy(update={"path": str(SAMPLE / "manifest.csv")})
    config = config.model_copy(update={"manifest": manifest, "request": sample.request})
    directory, record = await finish(config)
    rows = {row["item_id"]: row for row in read_table(directory.root)}

    assert (record.state, record.counts.succeeded, record.counts.failed) == ("finished", 10, 2)
    assert {row["modality"] for row in rows.values()} == {
        "text", "image", "audio", "video", "frames",
    }  # fmt: skip
    assert "512 x 341" in rows["photo-coffee"]["text"]
    assert "5.7 seconds" in rows["announcement-audio"]["text"]
    assert "with sound" in rows["video-with-sound"]["text"]
    assert "6 frames" in rows["frames-zoom"]["text"]
    assert "turn 2" in rows["multi-turn-coffee"]["text"]
    assert rows["video-with-sound"]["prompt_video_tokens"] > 0
    assert rows["voice-ethan"]["voice"] == "Ethan"
    for row in rows.values():  # two independent readings of the token rules agree on all media
        billed = row["prompt_tokens"]
        assert billed is None or abs(row["estimated_prompt_tokens"] - billed) <= 12, row["item_id"]
    for item_id, hint in (("broken-image", "cut off"), ("missing-file", "does not exist")):
        assert rows[item_id]["status"] == "failed"
        assert rows[item_id]["error_kind"] == "media_error"
        assert hint in rows[item_id]["error_message"]
        assert rows[item_id]["attempts"] == 0
        assert rows[item_id]["modality"] == "image"
        assert len(rows[item_id]["media"]) == 1


async def test_speech_is_one_whole_wav_for_each_answer(make_config: MakeConfig) -> None:
    config = make_config(prompts(3), request={"modalities": ["text", "audio"], "voice": "Cherry"})
    directory, _ = await finish(config)
    for row in read_table(directory.root):
        path = directory.root / row["audio_path"]
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (24_000, 1, "PCM_16")
        assert row["audio_s"] == pytest.approx(info.duration)
        assert row["audio_s"] == pytest.approx(row["completion_audio_tokens"] / 12.5, abs=0.1)
        assert row["audio_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(list((directory.root / "audio").iterdir())) == 3


async def test_the_table_opens_with_pandas_duckdb_and_polars(make_config: MakeConfig) -> None:
    directory, _ = await finish(make_config(prompts(2)))
    results = directory.root / "results"
    assert list(pd.read_parquet(results)["status"]) == ["succeeded"] * 2
    assert pl.read_parquet(results / "*.parquet")["total_tokens"].sum() > 0
    query = f"select count(*) from '{results}/*.parquet' where cost is null"
    assert duckdb.execute(query).fetchall() == [(2,)]  # a custom endpoint has no price list
    assert omni_batch.read_results(directory.root)["prompt_tokens"].dtype == "Int64"


async def test_results_stand_in_manifest_order_over_all_shards(make_config: MakeConfig) -> None:
    directory, record = await finish(make_config(prompts(23), shard_size=5))
    assert len(record.shards) == len(list((directory.root / "results").iterdir())) == 5
    assert [row["row_number"] for row in read_table(directory.root)] == list(range(23))
    assert len(read_table(directory.root, "attempts")) == 23
    assert not (directory.root / "journal").exists()


@pytest.mark.parametrize(
    "kind", ["cut", "cut_clean", "cut_line", "empty", "done_only", "reset", "html_502", "error_500"]
)
async def test_a_broken_answer_is_asked_for_again(
    simulator: Simulator, make_config: MakeConfig, kind: str
) -> None:
    simulator.script(reply.fault(kind), reply.text("hello"))
    directory, _ = await finish(make_config(prompts(1)))
    (row,) = read_table(directory.root)
    first, second = read_table(directory.root, "attempts")
    assert (row["text"], row["attempts"]) == ("hello", 2)
    assert first["error_kind"] in ("stream_error", "unavailable")
    assert (first["number"], second["number"], second["error_kind"]) == (1, 2, None)


async def test_a_wait_for_quota_uses_up_no_attempt(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    throttled = [reply.status(429, code="limit_requests", retry_after_s=0) for _ in range(4)]
    simulator.script(*throttled, reply.text("hello"))
    config = make_config(prompts(1), retry={"max_attempts": 1, "first_wait_s": 0})
    directory, record = await finish(config)
    (row,) = read_table(directory.root)
    assert (row["status"], row["attempts"]) == ("succeeded", 5)
    assert record.counts.rate_limited == 4


async def test_attempts_run_out(simulator: Simulator, make_config: MakeConfig) -> None:
    simulator.script(*[reply.status(503)] * 3)
    directory, record = await finish(make_config(prompts(1), retry={"max_attempts": 3}))
    (row,) = read_table(directory.root)
    assert (row["error_kind"], row["attempts"], row["http_status"]) == ("unavailable", 3, 503)
    assert record.exit_code == 1


async def test_a_failed_item_does_not_stop_the_run(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    simulator.script(reply.status(400, code="invalid_parameter_error"))
    directory, record = await finish(make_config(prompts(20)))
    statuses = [row["status"] for row in read_table(directory.root)]
    assert (statuses.count("failed"), statuses.count("succeeded")) == (1, 19)
    assert (record.state, record.exit_code) == ("finished", 1)


async def test_what_can_not_succeed_is_sent_once(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    config = make_config([{"item_id": "bad", "prompt": "forbidden-input"}])
    directory, _ = await finish(config)
    (row,) = read_table(directory.root)
    assert (row["error_kind"], row["error_code"]) == ("content_refused", "data_inspection_failed")
    assert row["attempts"] == 1


async def test_silence_is_noticed_and_asked_again(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    simulator.script(reply.fault("stall"), reply.fault("stall_first"), reply.text("hello"))
    timeouts = {"first_byte_timeout_s": 0.2, "idle_timeout_s": 0.2, "first_wait_s": 0}
    directory, _ = await finish(make_config(prompts(1), retry=timeouts))
    first, second, third = read_table(directory.root, "attempts")
    assert "sent nothing for" in first["error_message"]
    assert first["text_chars"] > 0
    assert "no answer within" in second["error_message"]
    assert third["error_kind"] is None


async def test_a_refused_key_stops_the_run_and_it_can_be_resumed(
    simulator: Simulator, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(prompts(30), quota={"max_in_flight": 2})
    monkeypatch.setenv(KEY_ENV, "sk-revoked")
    directory, record = await finish(config)
    assert (record.state, record.exit_code, record.counts.done) == ("stopped", 3, 0)
    assert record.reason is not None
    assert "API key" in record.reason
    assert len(simulator.requests) <= 2

    monkeypatch.setenv(KEY_ENV, KEY)
    record = await execute(directory)
    assert (record.state, record.counts.succeeded, record.reason) == ("finished", 30, None)


async def test_the_budget_stops_the_run_by_what_was_in_flight(make_config: MakeConfig) -> None:
    one = await finish(make_config(prompts(1)))
    tokens = one[1].counts.prompt_tokens + one[1].counts.completion_tokens
    limits = {"budget": {"max_tokens": 5 * tokens}, "quota": {"max_in_flight": 2}}
    directory, record = await finish(make_config(prompts(50), **limits))
    assert record.state == "stopped"
    assert 5 <= record.counts.done <= 5 + 2

    assert (await execute(directory)).counts.done == record.counts.done  # nothing more is sent
    change_run(directory, ["budget.max_tokens=null"])
    assert (await execute(directory)).counts.succeeded == 50


async def test_resume_may_not_change_what_decides_the_answers(make_config: MakeConfig) -> None:
    directory = prepare_run(make_plan(make_config(prompts(2))))
    with pytest.raises(ConfigError, match=r"--set model"):
        change_run(directory, ["model=qwen-omni-turbo"])
    assert read_record(directory.record).config["model"] == "qwen3-omni-flash"


async def test_a_number_that_is_stated_anew_stands_over_what_was_learned(
    make_config: MakeConfig,
) -> None:
    directory = prepare_run(make_plan(make_config(prompts(2))))
    learned = Learned(requests_per_minute=700.0, tokens_per_minute=8e4)
    known = msgspec.structs.replace(
        read_record(directory.record), endpoints=(EndpointStatus("custom", learned=learned),)
    )
    write_record(directory.record, known)
    change_run(directory, ["quota.requests_per_minute=60", "quota.max_in_flight=2"])
    kept = read_record(directory.record).endpoints[0].learned
    assert (kept.requests_per_minute, kept.tokens_per_minute) == (None, 8e4)


@pytest.mark.parametrize("at", [1, 20, 33, 59])
async def test_a_run_that_was_broken_off_sends_only_what_was_in_flight_again(
    simulator: Simulator, make_config: MakeConfig, at: int
) -> None:
    config = make_config(prompts(60), shard_size=20, quota={"max_in_flight": 4})
    directory = prepare_run(make_plan(config))

    async def break_off(run: Run) -> None:
        while run.ledger.counts.done < at:  # noqa: ASYNC110  a moment, not an event
            await asyncio.sleep(0)
        work.cancel()

    work = asyncio.create_task(execute(directory, background=break_off))
    with pytest.raises(asyncio.CancelledError):
        await work
    assert read_record(directory.record).state == "interrupted"
    kept = {row["row_number"]: row for row in written_so_far(directory)}
    assert at <= len(kept) <= 60

    record = await execute(directory)
    rows = read_table(directory.root)
    assert [row["row_number"] for row in rows] == list(range(60))
    assert all(rows[number] == row for number, row in kept.items())
    assert len(simulator.requests) <= 60 + 4
    assert record.counts.succeeded == 60


def written_so_far(directory: RunDir) -> list[dict[str, Any]]:
    record = read_record(directory.record)
    return [row for results, _ in read_tables(directory, record) for row in results.to_pylist()]


def test_kill_9_loses_nothing_that_was_journaled(make_config: MakeConfig, tmp_path: Path) -> None:
    with Simulator(SimulatorOptions(api_key=KEY, chunk_interval_s=0.05)) as slow:
        config = make_config(prompts(80), quota={"max_in_flight": 4})
        endpoint = config.endpoint.model_copy(update={"base_url": slow.base_url})
        directory = prepare_run(make_plan(config.model_copy(update={"endpoint": endpoint})))
        command = [sys.executable, "-m", "omni_batch.cli.main", "resume", "--no-prefect"]
        journal = directory.journal(0)
        with subprocess.Popen([*command, str(directory.root)], stderr=subprocess.PIPE) as process:
            while not journal.exists() or journal.read_bytes().count(b'"status":') < 10:
                assert process.poll() is None, process.stderr and process.stderr.read()
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
        slow.change(chunk_interval_s=0)
        before = journal.read_bytes().rpartition(b"\n")[0]
        sent = len(slow.requests)

        done = subprocess.run([*command, str(directory.root)], check=True, capture_output=True)
        assert done.stdout.decode().splitlines()[-1] == str(directory.root)
        assert len(slow.requests) <= 80 + 4
        assert sent < 80
    rows = {row["row_number"]: row["request_id"] for row in read_table(directory.root)}
    for line in before.splitlines():
        if entry := msgspec.json.decode(line)["result"]:
            assert rows[entry["row_number"]] == entry["request_id"]
    assert len(rows) == 80


async def test_a_finished_run_is_left_alone(make_config: MakeConfig) -> None:
    directory, _ = await finish(make_config(prompts(2)))
    with pytest.raises(ConfigError, match="exists"):
        prepare_run(make_plan(make_config(prompts(2))), directory.run_id)


async def test_the_key_is_in_nothing_that_a_run_leaves(
    simulator: Simulator, make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    simulator.script(reply.status(401), reply.fault("cut"), reply.fault("reset"))
    directory, record = await finish(make_config(prompts(3)))
    assert record.state == "stopped"
    files = [path for path in directory.root.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in caplog.text
    assert simulator.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_the_embedded_simulator_needs_neither_key_nor_url(
    make_config: MakeConfig,
) -> None:
    config = make_config(prompts(2), endpoint={"name": "simulator"})
    _, record = await finish(config)
    assert (record.counts.succeeded, list(record.counts.cost)) == (2, ["USD"])


# --- What is known alone is also used ---


async def test_the_quota_is_told_what_was_billed(make_config: MakeConfig) -> None:
    """The last minute is all of a run this short: its tokens are those of the bills."""
    _, record = await finish(make_config(prompts(3)))
    (endpoint,) = record.endpoints
    assert endpoint.requests_last_minute == 3
    assert endpoint.tokens_last_minute == record.counts.prompt_tokens + (
        record.counts.completion_tokens
    )


async def test_a_run_whose_items_fail_too_often_stops(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    """One of three fails: too few for a run that buys nothing, more than the budget allows."""
    refused = reply.status(400, code="InvalidParameter", message="no")
    for _ in range(40):
        simulator.script(reply.text("hi"), reply.text("hi"), refused)
    config = make_config(
        prompts(120),
        budget={"max_failure_rate": 0.2},
        quota={"max_in_flight": 1, "adaptive": False},
    )
    _, record = await finish(config)
    assert (record.state, record.exit_code) == ("stopped", 3)
    assert "more than budget.max_failure_rate 0.2 allows" in str(record.reason)
    assert 50 <= record.counts.done <= 55


async def test_a_run_that_goes_on_clears_what_a_dead_process_left(make_config: MakeConfig) -> None:
    directory = prepare_run(make_plan(make_config(prompts(2))))
    left = directory.unfinished_speech("row-of-another-life")
    left.write_bytes(b"half")
    there = []

    async def run_shard(run: Run, number: int) -> None:
        there.append(left.exists())
        await process_shard(run, number)

    await execute(directory, run_shard)
    assert there == [False]
