"""What an earlier run has answered is not sent again."""

import hashlib
import os
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Group

import omni_batch
from omni_batch.cli.render.run import summary
from omni_batch.config import Config
from omni_batch.engine.pipeline import execute
from omni_batch.engine.retry_run import reopen_failed
from omni_batch.planning.check import check_manifest
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import change_run, prepare_run
from omni_batch.simulator import Simulator, reply
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.record import read_record
from omni_batch.store.reuse_index import Places, ReuseIndex, records_of
from omni_batch.types import Usage
from tests.conftest import SAMPLE, MakeConfig, prompts, read_table

SPEECH = {"modalities": ["text", "audio"], "voice": "Cherry"}


async def finish(config: Config, run_id: str | None = None) -> tuple[RunDir, RunRecord]:
    record = (await omni_batch.run_batch(config, run_id=run_id)).record
    return RunDir(Path(config.output) / record.run_id), record


def with_reuse(config: Config, *patterns: str) -> Config:
    return config.model_copy(update={"reuse": patterns or (f"{config.output}/*",)})


ANSWER = [
    *("text", "reasoning", "finish_reason", "warnings", "fingerprint", "prompt", "model"),
    *("audio_s", "audio_sha256", "audio_sample_rate_hz", *Usage.__dataclass_fields__),
]


def answers(rows: list[dict[str, Any]]) -> list[list[Any]]:
    return [[row[name] for name in ANSWER] for row in rows]


async def test_a_nightly_increment_sends_new_and_changed_rows_only(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    rows = prompts(20)
    monday, _ = await finish(make_config(rows, request=SPEECH, shard_size=7), "monday")
    rows[5] = {**rows[5], "prompt": "Say something else."}
    rows.insert(2, {"item_id": "new", "prompt": "Say 20."})
    tuesday, record = await finish(
        with_reuse(make_config(rows, request=SPEECH, shard_size=4)), "tuesday"
    )
    assert len(simulator.requests) == 20 + 2
    earlier = {row["item_id"]: row for row in read_table(monday.root)}
    found = {row["item_id"]: row for row in read_table(tuesday.root)}
    assert list(found) == [row["item_id"] for row in rows]
    asked = [name for name, row in found.items() if row["reused_from"] is None]
    assert asked == ["new", "row-5"]
    for name in found.keys() - {*asked}:
        row = found[name]
        assert answers([row]) == answers([earlier[name]])
        assert (row["run_id"], row["reused_from"], row["attempts"]) == ("tuesday", "monday", 0)
        wav = tuesday.root / row["audio_path"]
        assert wav.samefile(monday.root / earlier[name]["audio_path"])
        assert row["audio_sha256"] == hashlib.sha256(wav.read_bytes()).hexdigest()
    assert len(read_table(tuesday.root, "attempts")) == 2
    counts = record.counts
    assert (counts.succeeded, counts.reused, counts.requests) == (21, 19, 2)
    tokens = sum(row["total_tokens"] for name, row in found.items() if name in asked)
    assert counts.prompt_tokens + counts.completion_tokens == tokens
    assert counts.audio_s == pytest.approx(sum(found[name]["audio_s"] for name in asked), abs=0.01)
    shown = summary(tuesday, read_record(tuesday.record))
    assert isinstance(shown, Group)
    assert "21 succeeded (19 reused)" in "".join(str(line) for line in shown.renderables)


async def test_the_third_night_names_the_run_that_paid(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    config = with_reuse(make_config(prompts(3), endpoint={"name": "simulator"}))
    await finish(config, "monday")
    for night in ("tuesday", "wednesday"):
        directory, record = await finish(config, night)
        rows = read_table(directory.root)
        assert [row["reused_from"] for row in rows] == ["monday"] * 3
        assert [(row["cost"], row["currency"]) for row in rows] == [(0.0, "USD")] * 3
        assert (record.counts.cost, record.counts.requests, record.exit_code) == (
            {"USD": 0.0},
            0,
            0,
        )
        assert record.text_factor == 1.0  # nothing is learned from what was learned before
    shutil.rmtree(Path(config.output) / "monday")
    _, record = await finish(config, "thursday")
    assert record.counts.reused == 3


async def test_media_are_the_same_by_content(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    photo = SAMPLE / "photos" / "coffee.jpg"
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(photo, tmp_path / name)
    rows = [{"item_id": name, "image": name, "prompt": "What?"} for name in ("a.jpg", "b.jpg")]
    await finish(make_config(rows[:1]))
    _, record = await finish(with_reuse(make_config(rows[1:])))
    assert record.counts.reused == 1
    (tmp_path / "b.jpg").write_bytes(photo.read_bytes() + b"behind the end mark")
    _, record = await finish(with_reuse(make_config(rows[1:])))
    assert record.counts.reused == 0


async def test_failures_and_other_questions_are_not_reused(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    simulator.script(reply.status(400, code="invalid_parameter_error"))
    await finish(make_config(prompts(4), quota={"max_in_flight": 1}))
    config = make_config(prompts(4))
    _, record = await finish(with_reuse(config))
    assert (record.counts.succeeded, record.counts.reused) == (4, 3)
    for change in ({"request": {"temperature": 0.5}}, {"model": "qwen-omni-turbo"}):
        _, record = await finish(with_reuse(make_config(prompts(4), **change)))
        assert record.counts.reused == 0


async def test_speech_that_is_gone_or_changed_is_asked_for_again(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    config = make_config(prompts(3), request=SPEECH)
    monday, _ = await finish(config, "monday")
    (monday.root / "audio" / "row-0.wav").unlink()
    with (monday.root / "audio" / "row-1.wav").open("r+b") as wav:
        wav.seek(-2, os.SEEK_END)
        wav.write(b"\x01\x02")
    tuesday, record = await finish(with_reuse(config), "tuesday")
    origins = [row["reused_from"] for row in read_table(tuesday.root)]
    assert origins == [None, None, "monday"]
    assert record.counts.succeeded == 3


async def test_speech_is_copied_where_it_can_not_be_linked(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(prompts(1), request=SPEECH)
    monday, _ = await finish(config, "monday")

    def refused(*_: object) -> None:
        raise OSError(18, "InvalidRequest cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    tuesday, record = await finish(with_reuse(config), "tuesday")
    here, there = (run.root / "audio" / "row-0.wav" for run in (tuesday, monday))
    assert (record.counts.reused, here.read_bytes()) == (1, there.read_bytes())
    assert not here.samefile(there)


async def test_a_run_of_an_earlier_version_is_reused_and_tried_again(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    """Its tables lack the columns that came later."""
    simulator.script(reply.status(400, code="invalid_parameter_error"))
    config = make_config(prompts(2), quota={"max_in_flight": 1})
    monday, _ = await finish(config, "monday")
    for path, later in (
        (monday.results(0), ["reused_from", "cache_creation_tokens"]),
        (monday.attempts(0), ["text", "cost", "estimated_tokens", "estimated_cost", "currency"]),
    ):
        pq.write_table(pq.read_table(path).drop_columns(later), path)
    _, record = await finish(with_reuse(config), "tuesday")
    assert (record.counts.reused, record.counts.succeeded) == (1, 2)
    assert reopen_failed(monday) == 1
    record = await execute(monday)
    assert (record.counts.succeeded, record.counts.requests) == (2, 3)


async def test_a_path_that_leaves_its_run_is_not_followed(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(prompts(1), request=SPEECH)
    monday, _ = await finish(config, "monday")
    table = pq.read_table(monday.results(0))
    (monday.root / "audio" / "row-0.wav").rename(tmp_path / "outside.wav")
    column = table.column_names.index("audio_path")
    moved = table.set_column(column, table.schema.field(column), [["../../outside.wav"]])
    pq.write_table(moved, monday.results(0))
    _, record = await finish(with_reuse(config), "tuesday")
    assert record.counts.reused == 0


async def test_a_run_that_was_broken_off_gives_what_it_has(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    config = make_config(prompts(12), shard_size=5, quota={"max_in_flight": 1})
    limited = config.model_copy(
        update={"budget": config.budget.model_copy(update={"max_tokens": 150})}
    )
    monday, record = await finish(limited, "monday")
    done = record.counts.succeeded
    assert 0 < done < 12
    assert monday.journals.exists()
    _, record = await finish(with_reuse(config), "tuesday")
    assert (record.counts.reused, len(simulator.requests)) == (done, 12)

    change_run(monday, ["budget.max_tokens=null", f"reuse={config.output}/*"])
    record = await execute(monday)  # and the other way round; its own answers are no earlier ones
    assert (record.counts.succeeded, record.counts.reused) == (12, 12 - done)
    assert len(simulator.requests) == 12


async def test_a_run_that_can_not_be_read_is_said_where_there_is_no_other(
    make_config: MakeConfig,
) -> None:
    config = make_config(prompts(1))
    monday, _ = await finish(config, "monday")
    monday.results(0).write_bytes(b"PAR1 broken PAR1")
    checked = await check_manifest(make_plan(with_reuse(config)))
    _, record = await finish(with_reuse(config), "tuesday")
    for texts in ([group.message for group in checked.warnings], record.warnings):
        assert any("/monday can't be read" in text for text in texts)


async def test_runs_that_can_not_be_read_are_said_and_passed_over(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    config = make_config(prompts(2))
    await finish(config, "monday")
    tuesday, _ = await finish(config, "tuesday")
    tuesday.results(0).write_bytes(b"PAR1 broken PAR1")
    (Path(config.output) / "notes").mkdir()
    sunday = Path(config.output) / "sunday"
    sunday.mkdir()
    (sunday / "run.json").write_text("{")
    _, record = await finish(with_reuse(config), "wednesday")
    assert record.counts.reused == 2
    assert len(record.warnings) == 2
    for name in ("tuesday", "sunday"):
        assert any(f"/{name} can't be read" in warning for warning in record.warnings)


async def test_an_earlier_run_that_vanishes_costs_nothing_but_the_request(
    make_config: MakeConfig,
) -> None:
    config = make_config(prompts(2))
    monday, _ = await finish(config, "monday")
    earlier = ReuseIndex([f"{config.output}/*"], config.models)
    (row, _) = read_table(monday.root)
    assert row["fingerprint"] in earlier
    shutil.rmtree(monday.root)
    assert await earlier.row(row["fingerprint"]) is None


async def test_globs_stand_for_the_folder_that_the_run_was_begun_in(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(prompts(1))
    await finish(config, "monday")
    odd = tmp_path / "a[b]"
    odd.mkdir()
    monkeypatch.chdir(odd)
    directory = prepare_run(make_plan(with_reuse(config, "../runs/*")), "tuesday")
    monkeypatch.chdir("/")
    assert (await execute(directory)).counts.reused == 1


async def test_check_counts_what_would_be_reused_and_leaves_it_out(
    make_config: MakeConfig,
) -> None:
    plain = make_config(prompts(10), endpoint={"name": "dashscope-singapore"})
    plan = make_plan(plain, needs_key=False)
    all_of_it = await check_manifest(plan)
    rehearsal = make_config(prompts(10)[:6], endpoint={"name": "simulator"})
    await finish(rehearsal)
    config = with_reuse(make_config(prompts(10), endpoint={"name": "simulator"}))
    report = await check_manifest(make_plan(config))
    assert (report.items, report.reused_items) == (10, 6)
    assert report.prompt.total < all_of_it.prompt.total / 2
    assert report.completion_tokens < all_of_it.completion_tokens / 2
    assert (await check_manifest(make_plan(with_reuse(plain), needs_key=False))).reused_items == 0


async def test_one_glob_may_stand_alone(make_config: MakeConfig) -> None:
    assert make_config(prompts(1), reuse="data/runs/*").reuse == ("data/runs/*",)


async def test_dead_before_the_row_the_link_is_made_again(make_config: MakeConfig) -> None:
    """A WAV without a row, a draft that is a second name of it: what a kill leaves."""
    config = make_config(prompts(1), request=SPEECH)
    monday, _ = await finish(config, "monday")
    directory = prepare_run(make_plan(with_reuse(config)), "tuesday")
    wav = monday.root / "audio" / "row-0.wav"
    directory.speech("row-0").hardlink_to(wav)
    directory.unfinished_speech("row-0").hardlink_to(wav)
    record = await execute(directory)
    assert (record.counts.reused, directory.journals.exists()) == (1, False)
    assert directory.speech("row-0").samefile(wav)


HEX = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(st.lists(st.sets(HEX | HEX.map(lambda h: "00" * 8 + h[16:]), max_size=8), max_size=4), HEX)
@settings(max_examples=50)
def test_the_index_knows_all_of_them_and_the_newest_counts(
    nights: list[set[str]], other: str
) -> None:
    places = Places()
    newest: dict[str, int] = {}
    for night, marks in enumerate(nights):
        numbers = np.full(len(marks), night, np.uint64)
        places.take_in(places.unknown(records_of(sorted(marks), numbers)))
        newest |= {mark[:32]: night for mark in marks if mark[:32] not in newest}
    assert len(places) == len(newest)
    assert all(places.find(mark + "0" * 32) == night for mark, night in newest.items())
    assert (places.find(other) is not None) == (other[:32] in newest)


def test_of_equal_requests_of_a_run_the_first_row_counts() -> None:
    marks = ["ab" * 32, "00" * 32, "ab" * 32, "ff" * 32, "ff" * 32]
    places = Places()
    places.take_in(records_of(marks, np.array([7, 0, 3, 2**63, 9], np.uint64)))
    assert [places.find(mark) for mark in ("ab" * 32, "00" * 32, "ff" * 32)] == [3, 0, 9]
    assert len(places.unknown(records_of(["ab" * 32, "cd" * 32], np.zeros(2, np.uint64)))) == 1


def test_an_index_takes_24_bytes_for_each_request() -> None:
    """While it is made as well, beside what is given to it."""
    count = 50_000
    marks = [f"{number * 2654435761 % 2**64:016x}" * 4 for number in range(count)]
    records = records_of(marks, np.arange(count, dtype=np.uint64))
    tracemalloc.start()
    try:
        places = Places()
        places.take_in(records)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < 12 * count
    assert [places.find(marks[number]) for number in (0, 1, count - 1)] == [0, 1, count - 1]
