"""Runs whose requests go as files, against the simulator's Batch API."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pybase64
import pytest

import omni_batch
from omni_batch.config import Config, parse_config
from omni_batch.engine.by_file import fetch, make
from omni_batch.engine.pipeline import execute
from omni_batch.engine.retry_run import reopen_failed
from omni_batch.engine.run import Run
from omni_batch.errors import ConfigError
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import change_run, prepare_run
from omni_batch.simulator import CallScript, JobScript, Simulator, SimulatorOptions, reply
from omni_batch.store import RunDir, RunRecord
from tests.conftest import KEY, KEY_ENV, prompts, read_table, write_csv
from tests.support.media_files import picture, sound

MODEL = "qwen3.5-omni-plus"
UNLIMITED = {"requests_per_minute": 1e9, "tokens_per_minute": 1e12}
Rows = list[Mapping[str, str]]
Configure = Callable[..., Config]


@pytest.fixture
def service() -> Iterator[Simulator]:
    with Simulator(SimulatorOptions(api_key=KEY)) as simulator:
        yield simulator


@pytest.fixture
def configure(service: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """A config over so many rows, whose requests go as files."""
    monkeypatch.setenv(KEY_ENV, KEY)

    def made(rows: int | Rows = 8, endpoint: dict[str, Any] | None = None, **more: Any) -> Config:
        listed = prompts(rows) if isinstance(rows, int) else rows
        place = {"base_url": service.base_url, "api_key_env": KEY_ENV}
        return parse_config(
            {
                "name": "night",
                "model": MODEL,
                "manifest": {"path": str(write_csv(tmp_path / "manifest.csv", listed))},
                "output": str(tmp_path / "runs"),
                "endpoint": {"name": "dashscope-batch", **place, **(endpoint or {})},
                "retry": {"first_wait_s": 0, "max_wait_s": 0},
                **more,
            }
        )

    return made


async def run(config: Config) -> tuple[RunRecord, dict[str, dict[str, Any]]]:
    record = (await omni_batch.run_batch(config)).record
    return record, rows_of(RunDir(Path(config.output) / record.run_id))


def rows_of(directory: RunDir) -> dict[str, dict[str, Any]]:
    return {row["item_id"]: row for row in read_table(directory.root)}


def bodies(simulator: Simulator) -> list[dict[str, Any]]:
    """Of all lines that any job was made of, in their order."""
    lines = (line for job in simulator.jobs for line in job.lines)
    return [line["body"] for line in lines]


def failures(rows: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: row["error_kind"] for name, row in rows.items() if row["error_kind"]}


async def stop_once_made(active: Run) -> None:
    """Ask a run to stop as soon as it knows of a job at the service."""
    while not any(status.id for status in active.publisher.jobs):  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


# --- all is well ---


async def test_a_run_by_file_makes_the_same_tables_at_half_the_price(
    configure: Configure, service: Simulator, tmp_path: Path
) -> None:
    record, rows = await run(configure())
    live = configure(
        endpoint={"name": "dashscope-beijing"}, output=str(tmp_path / "live"), quota=UNLIMITED
    )
    _, alone = await run(live)

    assert (record.state, record.counts.succeeded) == ("finished", 8)
    assert {row["text"] for row in rows.values()} == {row["text"] for row in alone.values()}
    assert rows.keys() == alone.keys()
    assert all(row["endpoint"] == "dashscope-batch" for row in rows.values())
    for name, row in rows.items():
        assert row["cost"] == pytest.approx(alone[name]["cost"] / 2)
        assert row["prompt_tokens"] == alone[name]["prompt_tokens"]
    attempts = read_table(Path(configure().output) / record.run_id, "attempts")
    assert [row["number"] for row in attempts] == [1] * 8
    assert {row["http_status"] for row in attempts} == {200}


async def test_each_line_is_whole_says_whether_to_think_and_asks_for_no_stream(
    configure: Configure, service: Simulator
) -> None:
    await run(configure(3, request={"temperature": 0.5}))
    (job,) = service.jobs
    assert job.ids == ["row-0", "row-1", "row-2"]
    for body in bodies(service):
        assert (body["model"], body["enable_thinking"], body["temperature"]) == (MODEL, False, 0.5)
        assert not {"stream", "stream_options", "audio"} & body.keys()


async def test_a_picture_goes_within_its_line(
    configure: Configure, service: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(picture("JPEG", 64, 48))
    _, rows = await run(configure([{"item_id": "a", "prompt": "What?", "image": "a.jpg"}]))
    assert "64 x 48" in rows["a"]["text"]
    (part, _) = bodies(service)[0]["messages"][-1]["content"]
    assert part["image_url"]["url"].startswith("data:image/jpeg;base64,")


async def test_media_are_made_to_fit_before_they_are_written_into_a_line(
    configure: Configure, service: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "a.tif").write_bytes(picture("TIFF", 320, 240))
    (tmp_path / "b.jpg").write_bytes(picture("JPEG", 64, 48))
    rows = [{"item_id": name[0], "prompt": "What?", "image": name} for name in ("a.tif", "b.jpg")]
    fit = {"fit": "fit", "transport": "inline", "max_image_tokens": 50}
    _, found = await run(configure(rows, media=fit))
    made, as_it_was = (body["messages"][-1]["content"][0] for body in bodies(service))
    assert made["image_url"]["url"].startswith("data:image/png;base64,")
    assert "320 x 240" not in found["a"]["text"]
    assert found["a"]["warnings"][0].startswith("image-fitted: ")
    assert found["a"]["sent_formats"] == ["png"]
    assert (
        pybase64.b64decode(as_it_was["image_url"]["url"].partition(",")[2])
        == (tmp_path / "b.jpg").read_bytes()
    )
    assert found["b"]["warnings"] == []


@pytest.mark.parametrize("fallback", ["fail", "live"])
async def test_a_recording_in_windows_has_no_line(
    configure: Configure, service: Simulator, tmp_path: Path, fallback: str
) -> None:
    (tmp_path / "long.wav").write_bytes(sound("WAV", 190, 8000))
    rows = [{"item_id": "long", "prompt": "What?", "audio": "long.wav"}, *prompts(1)]
    _, found = await run(
        configure(
            rows,
            model="qwen-omni-turbo",
            endpoint={"fallback": fallback},
            media={"fit": "fit", "transport": "inline"},
            quota=UNLIMITED,
        )
    )
    assert len(bodies(service)) == 1
    row = found.pop("long")
    assert next(iter(found.values()))["endpoint"] == "dashscope-batch"
    if fallback == "live":
        assert (row["status"], row["attempts"]) == ("succeeded", 2)
        assert row["warnings"][0].startswith("sound-in-windows: ")
    else:
        assert row["error_kind"] == "media_error"
        assert "set fallback: live" in row["error_message"]


async def test_openai_s_jobs_have_the_same_way(configure: Configure) -> None:
    with Simulator(SimulatorOptions(dialect="openai", api_key=KEY)) as openai:
        place = {"name": "openai-batch", "base_url": openai.base_url}
        record, _ = await run(configure(3, model="gpt-4o-audio-preview", endpoint=place))
        assert (record.counts.succeeded, len(openai.jobs)) == (3, 1)
        assert "ds_name" not in openai.jobs[0].metadata
        assert not any("enable_thinking" in line["body"] for line in openai.jobs[0].lines)


async def test_shards_and_jobs_need_not_match(configure: Configure, service: Simulator) -> None:
    service.script_jobs(JobScript(reverse=True, lines={3: "broken_down", 10: "absent"}))
    record, rows = await run(configure(12, shard_size=5))
    assert record.counts.succeeded == len(rows) == 12
    assert [len(job.ids) for job in service.jobs] == [12, 2]
    assert rows["row-3"]["attempts"] == rows["row-10"]["attempts"] == 2


async def test_a_file_ends_where_the_limits_of_the_service_do(
    configure: Configure, service: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = configure(205, model="batch-test-model", shard_size=50)
    record, _ = await run(trial)
    assert record.counts.succeeded == 205
    assert [len(job.ids) for job in service.jobs] == [100, 100, 5]
    assert {job.wish["endpoint"] for job in service.jobs} == {"/v1/chat/ds-test"}


async def test_models_and_settings_of_thinking_have_files_of_their_own(
    configure: Configure, service: Simulator
) -> None:
    variants = {"turbo": {"model": "qwen-omni-turbo"}, "plus": {"model": MODEL}}
    record, _ = await run(configure(3, variants=variants, request={"prompt": "Say {{ prompt }}"}))
    assert record.counts.succeeded == 6
    models = [{line["body"]["model"] for line in job.lines} for job in service.jobs]
    assert sorted(models, key=str) == [{"qwen-omni-turbo"}, {MODEL}]


async def test_an_answer_that_an_earlier_run_has_is_in_no_file(
    configure: Configure, service: Simulator, tmp_path: Path
) -> None:
    await run(configure(3))
    record, _ = await run(configure(5, reuse=[str(tmp_path / "runs" / "*")]))
    assert (record.counts.succeeded, record.counts.reused) == (5, 3)
    assert service.jobs[-1].ids == ["row-3", "row-4"]


async def test_typed_answers_are_read_and_not_asked_again(
    configure: Configure, service: Simulator
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    config = configure(2, annotation={"json_schema": schema})
    assert "no-reasks-by-job" in {doubt.rule for doubt in make_plan(config).doubts}
    _, rows = await run(config)
    assert failures(rows) in ({}, dict.fromkeys(rows, "annotation_error"))
    assert len(service.jobs) == 1


# --- what comes back ---


@pytest.mark.parametrize(
    ("fault", "kind", "asked_again"),
    [
        ("refused", "rejected", False),
        ("inspected", "content_refused", False),
        ("half", "answer_gone", False),
        ("broken_down", None, True),
        ("limited", None, True),
        ("page", None, True),
        ("unanswered", None, True),
        ("nothing", None, True),
        ("absent", None, True),
        ("undone", None, True),
    ],
)
async def test_a_line_without_an_answer_fails_or_goes_into_another_job(
    configure: Configure, service: Simulator, fault: str, kind: str | None, asked_again: bool
) -> None:
    service.script_jobs(JobScript(lines={2: fault}))
    record, rows = await run(configure(4))
    assert failures(rows) == ({"row-2": kind} if kind else {})
    assert [job.ids for job in service.jobs[1:]] == ([["row-2"]] if asked_again else [])
    assert record.counts.done == 4


@pytest.mark.parametrize(
    "script",
    [
        JobScript(bom=True),
        JobScript(crlf=True, bom=True),
        JobScript(reverse=True, capitals=True, empty_ids=True),
        JobScript(lines={1: "two_choices"}),
    ],
)
async def test_odd_forms_of_the_same_answers_change_nothing(
    configure: Configure, service: Simulator, script: JobScript
) -> None:
    _, plain = await run(configure(3))
    service.script_jobs(script)
    record, rows = await run(configure(3))
    assert {name: row["text"] for name, row in rows.items()} == {
        name: row["text"] for name, row in plain.items()
    }
    assert record.counts.succeeded == 3
    assert len(service.jobs) == 2


async def test_double_and_strange_lines_make_no_rows_and_are_said(
    configure: Configure, service: Simulator
) -> None:
    service.script_jobs(JobScript(lines={1: "twice"}, strange=3))
    record, rows = await run(configure(3))
    assert rows["row-1"]["text"] != "quite another answer"
    assert len(rows) == 3
    (said,) = [text for text in record.warnings if "odd-job-output" in text]
    assert "1 line for rows answered twice" in said
    assert "3 lines with ids that were never sent (nobody-0" in said


async def test_tokens_that_nobody_names_are_unknown_and_not_none(
    configure: Configure, service: Simulator
) -> None:
    service.script_jobs(JobScript(lines={0: "unbilled", 1: "empty"}))
    _, rows = await run(configure(2))
    assert (rows["row-0"]["prompt_tokens"], rows["row-0"]["cost"]) == (None, None)
    assert any("empty" in warning for warning in rows["row-1"]["warnings"])


@pytest.mark.parametrize(("ends", "how"), [("expired", "expired"), ("cancelled", "was cancelled")])
async def test_what_a_job_did_in_time_is_kept_and_the_rest_asked_again(
    configure: Configure, service: Simulator, ends: str, how: str
) -> None:
    service.script_jobs(JobScript(ends=ends, lines={2: "undone", 3: "undone"}))
    record, _ = await run(configure(4))
    assert record.counts.succeeded == 4
    assert [job.ids for job in service.jobs[1:]] == [["row-2", "row-3"]]
    assert any(how in text and "2 of 4 rows answered" in text for text in record.warnings)


async def test_a_row_goes_into_three_jobs_at_most(configure: Configure, service: Simulator) -> None:
    service.script_jobs(*[JobScript(ends="expired", all_lines="undone")] * 5)
    record, rows = await run(configure(2))
    assert failures(rows) == {"row-0": "unanswered", "row-1": "unanswered"}
    assert len(service.jobs) == 3
    assert rows["row-0"]["attempts"] == 3
    assert record.counts.cost == {}


async def test_fallback_live_sends_the_rest_one_by_one_at_the_full_price(
    configure: Configure, service: Simulator
) -> None:
    service.script_jobs(JobScript(ends="expired", lines={1: "undone"}))
    _, rows = await run(configure(2, endpoint={"fallback": "live"}, quota=UNLIMITED))
    assert {name: row["endpoint"] for name, row in rows.items()} == {
        "row-0": "dashscope-batch",
        "row-1": "dashscope-batch-live",
    }
    assert rows["row-1"]["cost"] == pytest.approx(2 * rows["row-0"]["cost"], rel=0.1)
    assert len(service.jobs) == service.counters.requests == 1


async def test_fallback_fail_asks_nobody(configure: Configure, service: Simulator) -> None:
    service.script_jobs(JobScript(lines={1: "absent"}))
    _, rows = await run(configure(2, endpoint={"fallback": "fail"}))
    assert failures(rows) == {"row-1": "unanswered"}
    assert f"job {service.jobs[0].id} has no line for this row" in rows["row-1"]["error_message"]


async def test_a_row_whose_line_is_too_long_is_not_sent(
    configure: Configure, service: Simulator
) -> None:
    rows = [{"item_id": "long", "prompt": "x" * 6_000_000}, {"item_id": "short", "prompt": "x"}]
    _, found = await run(configure(rows))
    assert failures(found) == {"long": "invalid_request"}
    assert found["long"]["error_code"] == "batch-line-too-long"
    assert service.jobs[0].ids == ["row-1"]


async def test_a_row_whose_line_is_too_long_is_sent_live_where_that_is_wanted(
    configure: Configure, service: Simulator
) -> None:
    rows = [{"item_id": "long", "prompt": "x" * 6_000_000}, {"item_id": "short", "prompt": "x"}]
    service.script(reply.text("live"))
    _, found = await run(configure(rows, endpoint={"fallback": "live"}, quota=UNLIMITED))
    sent = {name: (row["endpoint"], row["error_kind"]) for name, row in found.items()}
    assert sent["short"] == ("dashscope-batch", None)
    assert sent["long"][0] == "dashscope-batch-live"


# --- refused ---


async def test_a_file_that_is_refused_stops_the_run_in_the_service_s_words(
    configure: Configure, service: Simulator
) -> None:
    said = "The model does not exist or you do not have access to it."
    service.script_jobs(JobScript(complaints=(("model_not_found", said, 1),)))
    config = configure(4)
    record, _ = await run(config)
    assert (record.state, record.counts.done, len(service.jobs)) == ("stopped", 0, 1)
    assert said in (record.reason or "")

    directory = RunDir(Path(config.output) / record.run_id)
    resumed = await execute(directory)  # once it is mended
    assert (resumed.state, resumed.counts.succeeded) == ("finished", 4)


async def test_only_the_row_fails_that_a_file_was_refused_for(
    configure: Configure, service: Simulator
) -> None:
    service.script_jobs(JobScript(complaints=(("invalid_request", "temperature is wrong", 2),)))
    _, rows = await run(configure(3))
    assert failures(rows) == {"row-1": "rejected"}
    assert "temperature is wrong" in rows["row-1"]["error_message"]
    assert service.jobs[1].ids == ["row-0", "row-2"]


def test_what_jobs_do_not_take_is_refused_before_anything_is_paid_for(
    configure: Configure,
) -> None:
    with pytest.raises(ConfigError, match=r"turbo \(by the guide .* \(by the page of autumn"):
        make_plan(configure(model="qwen3-omni-flash"))
    with pytest.raises(ConfigError, match=r"does not speak; set request.modalities: \[text\]"):
        make_plan(configure(request={"modalities": ["text", "audio"], "voice": "Ethan"}))
    with pytest.raises(ConfigError, match="does not speak"):
        make_plan(
            configure(
                endpoint={"fallback": "live"},
                request={"modalities": ["text", "audio"], "voice": "Ethan"},
            )
        )
    with pytest.raises(
        ConfigError, match="completion_window_h = 48: openai-batch takes at most 24"
    ):
        make_plan(
            configure(endpoint={"name": "openai-batch", "completion_window_h": 48}, model="gpt-4o")
        )
    with pytest.raises(ConfigError, match="fallback is for dashscope-batch"):
        make_plan(configure(endpoint={"name": "custom", "fallback": "live"}))


def test_a_plan_says_by_which_edition_a_model_is_taken(configure: Configure) -> None:
    doubts = make_plan(configure(2)).doubts
    (said,) = [doubt for doubt in doubts if doubt.rule == "batch-model-by-edition"]
    assert "guide of December 2025 names qwen-omni-turbo" in said.message
    assert "autumn 2026 names qwen3.5-omni-plus" in said.message


# --- a service in trouble ---


async def test_calls_that_fail_are_made_again(configure: Configure, service: Simulator) -> None:
    service.script_calls("upload", CallScript(status=500), CallScript())
    service.script_calls("create", CallScript(status=429), CallScript(status=429, retry_after_s=0))
    service.script_calls("look", CallScript(status=500), CallScript(status=502, page=True))
    service.script_calls("download", CallScript(status=503), CallScript(cut=0.5), CallScript())
    record, _ = await run(configure())
    assert (record.counts.succeeded, len(service.jobs)) == (8, 1)


@pytest.mark.parametrize(
    "lost",
    [
        CallScript(is_done=True),
        CallScript(status=502, is_done=True, page=True),
        CallScript(status=500, is_done=True),
    ],
)
async def test_a_job_whose_creation_was_not_answered_is_found_and_not_made_twice(
    configure: Configure, service: Simulator, lost: CallScript
) -> None:
    service.script_calls("create", lost)
    record, _ = await run(configure())
    assert (record.counts.succeeded, len(service.jobs)) == (8, 1)


async def test_a_lost_job_that_no_list_shows_is_asked_for_and_not_paid_for_twice(
    configure: Configure, service: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "_WAITS_S", (0.0, 0.0))
    service.script_calls("create", CallScript(), CallScript())
    config = configure(2)
    record, _ = await run(config)
    directory = RunDir(Path(config.output) / record.run_id)
    assert (record.state, service.jobs) == ("stopped", [])
    assert "--set endpoint.lost_jobs=again" in (record.reason or "")

    assert (await execute(directory)).state == "stopped"  # still nobody knows
    change_run(directory, ["endpoint.lost_jobs=again"])
    resumed = await execute(directory)
    assert resumed.state == "finished"
    assert len(service.jobs) == 1


async def test_a_service_that_says_it_failed_is_asked_again_once_the_list_shows_nothing(
    configure: Configure, service: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "_WAITS_S", (0.0, 0.0))
    service.script_calls("create", CallScript(status=500))
    record, _ = await run(configure(2))
    assert (record.state, len(service.jobs)) == ("finished", 1)


async def test_a_result_file_that_is_gone_is_a_row_that_says_so(
    configure: Configure, service: Simulator
) -> None:
    service.script_jobs(JobScript(forgets=("output",)))
    record, rows = await run(configure(2))
    assert failures(rows) == dict.fromkeys(rows, "answer_gone")
    assert service.jobs[0].id in rows["row-0"]["error_message"]
    assert (record.counts.in_doubt, len(service.jobs)) == (0, 1)
    assert record.counts.estimated_cost["CNY"] > 0


async def test_a_job_that_is_forgotten_is_a_row_that_says_so(
    configure: Configure, service: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "_FORGOTTEN", timedelta(0))
    service.script_jobs(JobScript(forgets=("job",)))
    config = configure(2)
    record, rows = await run(config)
    assert failures(rows) == dict.fromkeys(rows, "answer_gone")
    assert "not known to the service" in rows["row-0"]["error_message"]

    directory = RunDir(Path(config.output) / record.run_id)
    assert reopen_failed(directory) == 2  # a person may ask again
    assert (await execute(directory)).counts.succeeded == 2


async def test_a_key_that_is_refused_stops_the_run_and_the_job_stays(
    configure: Configure, service: Simulator
) -> None:
    service.script_calls("look", CallScript(status=401))
    config = configure(2)
    record, _ = await run(config)
    assert (record.state, len(record.jobs)) == ("stopped", 1)
    resumed = await execute(RunDir(Path(config.output) / record.run_id))
    assert (resumed.state, len(service.jobs)) == ("finished", 1)


# --- the budget ---


async def test_a_job_that_passes_the_budget_is_not_made(
    configure: Configure, service: Simulator
) -> None:
    record, _ = await run(configure(8, budget={"max_tokens": 10}))
    assert (record.state, service.jobs) == ("stopped", [])
    assert "the next job" in (record.reason or "")


async def test_a_job_is_as_large_as_the_budget_and_the_run_stops_behind_it(
    configure: Configure, service: Simulator
) -> None:
    record, _ = await run(configure(8, budget={"max_tokens": 100}, shard_size=2))
    assert record.state == "stopped"
    assert 0 < record.counts.succeeded < 8
    assert record.counts.succeeded == sum(len(job.ids) for job in service.jobs)


async def test_what_has_been_paid_for_is_taken_in_before_a_run_stops(
    configure: Configure, service: Simulator
) -> None:
    refused = dict.fromkeys(range(30), "refused")
    service.script_jobs(JobScript(lines={**refused, 59: "absent"}))
    record, _ = await run(configure(60, budget={"max_failure_rate": 0.1}))
    assert (record.state, record.counts.failed, record.counts.succeeded) == ("stopped", 30, 29)
    assert "max_failure_rate" in (record.reason or "")
    assert len(service.jobs) == 1


# --- ends and beginnings ---


async def test_a_run_that_is_asked_to_stop_leaves_its_job_and_resume_finds_it(
    configure: Configure, service: Simulator
) -> None:
    service.script_jobs(JobScript(takes_s=3600))
    directory = prepare_run(make_plan(configure(4, shutdown_grace_s=0)))

    record = await execute(directory, background=stop_once_made)
    assert (record.state, record.jobs[0].settled) == ("interrupted", False)
    (job,) = service.jobs
    job.takes_s = 0.0
    resumed = await execute(directory)
    assert (resumed.state, resumed.counts.succeeded, len(service.jobs)) == ("finished", 4, 1)
    assert not directory.jobs.exists()


_WORKER = "import asyncio, sys; from pathlib import Path; from omni_batch.store import RunDir\n"
_WORKER += "from omni_batch.engine.pipeline import execute\n"
_WORKER += "asyncio.run(execute(RunDir(Path(sys.argv[1]))))"


def test_a_process_that_is_killed_while_it_waits_loses_and_repeats_nothing(
    configure: Configure, service: Simulator
) -> None:
    service.script_jobs(JobScript(takes_s=3600))
    directory = prepare_run(make_plan(configure(4)))
    process = subprocess.Popen([sys.executable, "-c", _WORKER, str(directory.root)])
    until_s = time.monotonic() + 60
    while not service.jobs and time.monotonic() < until_s and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    service.jobs[0].takes_s = 0.0
    record = asyncio.run(execute(directory))
    assert (record.state, record.counts.succeeded, len(service.jobs)) == ("finished", 4, 1)


@pytest.mark.parametrize("lines", range(1, 9))
async def test_a_book_that_ends_after_any_of_its_lines_is_gone_on_with(
    configure: Configure, service: Simulator, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a process had written down when it died, no row is lost and no job made twice."""
    monkeypatch.setattr(make, "_WAITS_S", (0.0,))
    service.script_jobs(JobScript(takes_s=3600))
    directory = prepare_run(make_plan(configure(3, endpoint={"lost_jobs": "again"})))
    await execute(directory, background=stop_once_made)
    book = directory.jobs / "book.jsonl"
    seen = book.read_bytes().splitlines(keepends=True)
    kept = min(lines, len(seen))
    book.write_bytes(b"".join(seen[:kept]) + b'{"job": 1, "wh')  # the next one was cut
    input_file = directory.jobs / "0001" / "input.jsonl"
    if msgspec.json.decode(seen[kept - 1])["what"] in ("written", "uploaded", "creating"):
        input_file.write_bytes(b"".join(service.jobs[0].file.lines()))
    service.jobs[0].takes_s = 0.0
    record = await execute(directory)
    assert (record.state, record.counts.succeeded) == ("finished", 3)
    assert len(service.jobs) == (1 if kept >= 3 else 2)  # from `creating` on it is looked for


async def test_a_file_that_is_gone_before_it_was_uploaded_is_written_again(
    configure: Configure, service: Simulator
) -> None:
    service.script_calls("upload", CallScript(status=401))
    directory = prepare_run(make_plan(configure(3)))
    assert (await execute(directory)).state == "stopped"
    (directory.jobs / "0001" / "input.jsonl").unlink()
    record = await execute(directory)
    assert (record.state, "resume writes it again" in (record.reason or "")) == ("stopped", True)
    assert (await execute(directory)).counts.succeeded == 3
    assert len(service.jobs) == 1


async def test_media_that_are_gone_when_the_answer_comes_cost_no_answer(
    configure: Configure, service: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(picture("JPEG", 64, 48))
    service.script_jobs(JobScript(takes_s=3600))
    config = configure([{"item_id": "a", "prompt": "What?", "image": "a.jpg"}])
    directory = prepare_run(make_plan(config))

    await execute(directory, background=stop_once_made)
    (tmp_path / "a.jpg").unlink()
    service.jobs[0].takes_s = 0.0
    record = await execute(directory)
    (row,) = rows_of(directory).values()
    assert record.counts.succeeded == 1
    assert "64 x 48" in row["text"]
    assert row["cost"] > 0
    assert any("asked-before-a-change" in warning for warning in row["warnings"])
