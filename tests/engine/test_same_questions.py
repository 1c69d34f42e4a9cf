"""Rows of one run that ask the very same: one of them is sent, all have its answer."""

import asyncio
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import omni_batch
from omni_batch.analytics.verify import verify_run
from omni_batch.config import Config
from omni_batch.engine.pipeline import execute
from omni_batch.engine.retry_run import reopen_failed
from omni_batch.engine.run import Run
from omni_batch.engine.shard import process_shard
from omni_batch.errors import Interrupted
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.simulator import Recorded, Simulator, reply
from omni_batch.store import RunDir, RunRecord
from omni_batch.types import Usage
from tests.conftest import SAMPLE, MakeConfig, read_table

SPEECH = {"modalities": ["text", "audio"], "voice": "Cherry"}
REFUSED = reply.status(400, code="invalid_parameter_error")
COPIED = ("text", "voice", "audio_s", "audio_sha256", "fingerprint", *Usage.__dataclass_fields__)


def asking(questions: str) -> list[dict[str, str]]:
    """A row for each letter; the same letter is the same question."""
    return [
        {"item_id": f"row-{number}", "prompt": f"Say {letter}."}
        for number, letter in enumerate(questions)
    ]


async def finish(config: Config) -> tuple[RunDir, RunRecord]:
    record = (await omni_batch.run_batch(config)).record
    return RunDir(Path(config.output) / record.run_id), record


def origins(directory: RunDir) -> list[int | None]:
    """By row: the row whose answer it has; None where it was sent."""
    rows = read_table(directory.root)
    for row in rows:
        paid_by = None if row["reused_row"] is None else directory.run_id
        assert row["reused_from"] == paid_by
    return [row["reused_row"] for row in rows]


async def test_one_row_is_sent_and_the_others_have_its_answer_and_its_speech(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    config = make_config(asking("ABABCA"), request=SPEECH, endpoint={"name": "simulator"})
    directory, record = await finish(config)
    sources = origins(directory)
    assert (sources[4], sources.count(None)) == (None, 3)
    rows = read_table(directory.root)
    for row, source in zip(rows, sources, strict=True):
        paid = rows[row["row_number"] if source is None else source]
        assert [row[name] for name in COPIED] == [paid[name] for name in COPIED]
        if source is not None:
            assert (row["cost"], row["currency"], row["attempts"]) == (0.0, "USD", 0)
            wav = directory.root / row["audio_path"]
            assert wav != directory.root / paid["audio_path"]
            assert wav.samefile(directory.root / paid["audio_path"])
    paid_for = [row for row in rows if row["reused_row"] is None]
    counts = record.counts
    assert (counts.succeeded, counts.reused, counts.requests, counts.answers) == (6, 3, 3, 3)
    assert counts.cost == {"USD": pytest.approx(sum(row["cost"] for row in paid_for))}
    assert counts.audio_s == pytest.approx(sum(row["audio_s"] for row in paid_for), abs=0.01)
    assert verify_run(directory).problems == 0


async def test_rows_wait_for_the_one_that_asks(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    """Forty begin at the same moment, and one of them asks."""
    directory, record = await finish(make_config(asking(40 * "A"), quota={"max_in_flight": 20}))
    assert len(simulator.requests) == 1
    assert sorted(Counter(origins(directory)).values()) == [1, 39]
    assert (record.counts.succeeded, record.exit_code) == (40, 0)


async def test_media_are_the_same_by_content(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        shutil.copy(SAMPLE / "photos" / "coffee.jpg", tmp_path / name)
    (tmp_path / "c.jpg").write_bytes((tmp_path / "a.jpg").read_bytes() + b"behind the end mark")
    rows = [{"image": f"{name}.jpg", "prompt": "What?"} for name in "abc"]
    directory, _ = await finish(make_config(rows, quota={"max_in_flight": 1}))
    assert origins(directory) in ([None, 0, None], [1, None, None])
    assert len(simulator.requests) == 2


async def test_who_waits_takes_no_place_of_others_and_asks_nothing_when_the_run_stops(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    """Two may be in flight: a row that waits would keep B from being asked."""
    simulator.script(reply.fault("stall"), reply.fault("stall"))
    config = make_config(asking("AAAB"), quota={"max_in_flight": 2}, shutdown_grace_s=0)
    directory = prepare_run(make_plan(config))

    async def stop_at_two(run: Run) -> None:
        while len(simulator.requests) < 2:  # noqa: ASYNC110  a moment, not an event
            await asyncio.sleep(0.01)
        run.stop(Interrupted("somebody asked"))

    async with asyncio.timeout(60):
        stopped = await execute(directory, background=stop_at_two)
    assert (stopped.state, stopped.counts.done) == ("interrupted", 0)
    assert {asked(request) for request in simulator.requests} == {"Say A.", "Say B."}
    assert (await execute(directory)).counts.reused == 2
    assert len(simulator.requests) == 2 + 2
    assert origins(directory).count(None) == 2


def asked(request: Recorded) -> str:
    body: Any = request.body
    return str(body["messages"][-1]["content"])


async def test_what_is_asked_in_vain_is_asked_by_the_next_one(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    simulator.script(REFUSED)
    directory, record = await finish(make_config(asking("AAAA")))
    assert len(simulator.requests) == 2
    assert (record.counts.failed, record.counts.reused) == (1, 2)
    failed = next(row for row in read_table(directory.root) if row["status"] == "failed")
    assert (failed["attempts"], failed["reused_row"]) == (1, None)


async def test_after_two_failures_the_others_wait_no_longer(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    """Else a question that times out would hold them up one after the other."""
    simulator.script(REFUSED, REFUSED)
    _, record = await finish(make_config(asking(6 * "A"), quota={"max_in_flight": 6}))
    assert (record.counts.failed, record.counts.succeeded, record.counts.requests) == (2, 4, 6)


async def test_retry_takes_what_another_row_was_answered_and_leaves_that_one_alone(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    simulator.script(REFUSED)
    directory, _ = await finish(make_config(asking("AA"), request=SPEECH))
    first, second = read_table(directory.root)
    if first["status"] == "succeeded":
        first, second = second, first
    assert reopen_failed(directory) == 1
    record = await execute(directory)
    assert (record.state, record.counts.succeeded, record.counts.requests) == ("finished", 2, 2)
    rows = read_table(directory.root)
    assert rows[second["row_number"]] == second
    assert rows[first["row_number"]]["reused_row"] == second["row_number"]
    assert (await asyncio.to_thread(verify_run, directory)).problems == 0


@pytest.mark.parametrize("shards", [1, 3], ids=["in the journal", "in parts"])
async def test_a_resumed_process_knows_what_the_first_one_has_answered(
    simulator: Simulator, make_config: MakeConfig, shards: int
) -> None:
    config = make_config(asking("ABABAB"), shard_size=6 // shards, quota={"max_in_flight": 1})
    directory = prepare_run(make_plan(config))

    async def stop_at_two(run: Run, number: int) -> None:
        take_in = run.ledger.item_ended

        def item_ended(result: Any) -> None:
            take_in(result)
            if run.ledger.counts.done == 2:
                run.stop(Interrupted("somebody asked"))

        run.ledger.item_ended = item_ended  # type: ignore[method-assign]
        await process_shard(run, number)

    assert 2 <= (await execute(directory, stop_at_two)).counts.done < 6
    record = await execute(directory)
    assert (record.counts.succeeded, record.counts.requests) == (6, 2)
    assert len(simulator.requests) == 2


@pytest.mark.parametrize("gone", [0, 1], ids=["of the row that was sent", "of the other one"])
async def test_speech_that_is_gone_is_taken_from_a_row_that_has_it(
    simulator: Simulator, make_config: MakeConfig, gone: int
) -> None:
    config = make_config(asking("AA"), request=SPEECH, quota={"max_in_flight": 1})
    directory, _ = await finish(config)
    directory.speech(f"row-{gone}").unlink()
    record = await execute(directory)
    assert (record.state, len(simulator.requests)) == ("finished", 1)
    assert verify_run(directory).problems == 0


async def test_speech_that_is_gone_while_the_run_works_is_asked_for_again(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    config = make_config(asking("AA"), request=SPEECH, shard_size=1, quota={"max_in_flight": 1})
    directory = prepare_run(make_plan(config))

    async def one_by_one(run: Run, number: int) -> None:
        if number == 0:
            await process_shard(run, 0)
            directory.speech("row-0").unlink()
            await process_shard(run, 1)

    record = await execute(directory, one_by_one)
    assert (record.state, len(simulator.requests)) == ("stopped", 2)
    assert (await execute(directory)).state == "finished"
    assert len(simulator.requests) == 2
    assert origins(directory) == [1, None]


async def test_typed_answers_are_read_again(simulator: Simulator, make_config: MakeConfig) -> None:
    schema = {"type": "object", "properties": {"label": {"enum": ["cat", "dog"]}}}
    simulator.script(reply.text('{"label": "lion"}'), reply.text('{"label": "cat"}'))
    config = make_config(asking("AAA"), annotation={"json_schema": schema, "max_reasks": 1})
    directory, record = await finish(config)
    assert [row["annotation"] for row in read_table(directory.root)] == [{"label": "cat"}] * 3
    assert (record.counts.requests, record.counts.reused) == (2, 2)


async def test_samples_and_variants_are_questions_of_their_own(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    variants: dict[str, Any] = {"cool": {"temperature": 0.1}, "warm": {"temperature": 1.2}}
    config = make_config(asking("A"), samples=3, variants=variants)
    directory, _ = await finish(config)
    assert (origins(directory), len(simulator.requests)) == ([None] * 6, 6)


async def test_each_row_is_sent_where_that_is_wanted(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    directory, record = await finish(make_config(asking("AAA"), same_question="send"))
    assert (origins(directory), len(simulator.requests)) == ([None] * 3, 3)
    assert warned(record) == []


async def test_it_is_said_where_the_answers_would_have_differed(make_config: MakeConfig) -> None:
    _, record = await finish(make_config(asking("AABB")))
    (text,) = warned(record)
    assert text.endswith("for an answer of its own for each set samples, or same_question: send")
    for request in ({"temperature": 0}, {"seed": 7}, {"top_k": 1}):
        assert warned((await finish(make_config(asking("AA"), request=request)))[1]) == []
    assert warned((await finish(make_config(asking("AB"))))[1]) == []


def warned(record: RunRecord) -> list[str]:
    return [text for text in record.warnings if text.startswith("same-question-reused")]


async def test_the_budget_is_charged_once(simulator: Simulator, make_config: MakeConfig) -> None:
    """Two answers may be paid for: it is enough for all rows, and none is kept from its answer."""
    config = make_config(asking(10 * "AB"), endpoint={"name": "simulator"})
    _, record = await finish(config)
    most = sum(record.counts.cost.values()) * 5
    budget = {"max_cost": f"{most:.9f} USD"}
    config = make_config(asking(10 * "AB"), endpoint={"name": "simulator"}, budget=budget)
    _, record = await finish(config)
    assert (record.state, record.counts.succeeded, record.counts.requests) == ("finished", 20, 2)
