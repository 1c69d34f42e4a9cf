"""What was sent leaves a trace, whatever became of it: the bill can be explained."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import omni_batch
from omni_batch.catalogue import Price
from omni_batch.catalogue.prices import Pricing, with_cost
from omni_batch.catalogue.tokens import PromptEstimate
from omni_batch.cli.render.run import progress_line
from omni_batch.config import Config
from omni_batch.engine.pipeline import execute
from omni_batch.engine.run import Run
from omni_batch.errors import (
    Interrupted,
    NoResponse,
    OmniBatchError,
    Rejected,
    StreamError,
    Unavailable,
)
from omni_batch.format import money
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import change_run, prepare_run
from omni_batch.simulator import Simulator, SimulatorOptions, reply
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.read import read_tables
from omni_batch.store.record import read_record
from omni_batch.types import Attempt, Usage
from tests.conftest import KEY, KEY_ENV, MakeConfig, prompts, read_table

SPEECH = {"modalities": ["text", "audio"], "voice": "Cherry"}
WHEN = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def make_priced(simulator: Simulator, make_config: MakeConfig) -> MakeConfig:
    """The same configs with a price list."""
    endpoint = {"name": "dashscope-singapore", "base_url": simulator.base_url}

    def make(rows: list[Any], **changes: Any) -> Config:
        return make_config(rows, endpoint={**endpoint, "api_key_env": KEY_ENV}, **changes)

    return make


async def finish(config: Config) -> tuple[RunDir, RunRecord]:
    record = (await omni_batch.run_batch(config)).record
    return RunDir(Path(config.output) / record.run_id), record


async def test_a_cut_answer_leaves_its_text_its_sound_and_an_estimate(
    simulator: Simulator, make_priced: MakeConfig
) -> None:
    simulator.script(reply.fault("cut"))
    directory, record = await finish(make_priced(prompts(1), request=SPEECH))
    (result,) = read_table(directory.root)
    cut, whole = read_table(directory.root, "attempts")
    assert cut["error_kind"] == "stream_error"
    assert cut["text"]
    assert len(cut["text"]) == cut["text_chars"]
    assert result["text"].startswith(cut["text"][:20])
    assert cut["audio_s"] > 0
    assert result["estimated_prompt_tokens"] < cut["estimated_tokens"] < result["total_tokens"]
    assert 0 < cut["estimated_cost"] < result["cost"]
    assert (cut["cost"], cut["currency"], cut["prompt_tokens"]) == (None, "USD", None)

    assert (whole["text"], whole["estimated_cost"]) == (None, None)
    assert (whole["cost"], whole["currency"]) == (result["cost"], "USD")
    counts = record.counts
    assert counts.cost == pytest.approx({"USD": result["cost"]})
    assert counts.estimated_cost == pytest.approx({"USD": cut["estimated_cost"]})
    assert counts.estimated_tokens == cut["estimated_tokens"]
    assert f"(without a bill: {money(counts.estimated_cost)})" in progress_line(record)


async def test_what_was_refused_costs_nothing(
    simulator: Simulator, make_priced: MakeConfig
) -> None:
    simulator.script(
        reply.status(429, code="limit_requests", retry_after_s=0),
        reply.fault("html_502"),
        reply.status(503),
        reply.fault("reset"),
        reply.status(400, code="invalid_parameter_error"),
    )
    directory, record = await finish(make_priced(prompts(1)))
    rows = read_table(directory.root, "attempts")
    assert len(rows) == 5
    for row in rows:
        assert [row[name] for name in ("text", "cost", "estimated_cost", "currency")] == [None] * 4
    assert (record.counts.cost, record.counts.estimated_cost) == ({}, {})


async def test_an_answer_that_never_began_may_be_on_the_bill_with_its_prompt(
    simulator: Simulator, make_priced: MakeConfig
) -> None:
    simulator.script(reply.fault("stall_first"))
    directory, _ = await finish(make_priced(prompts(1), retry={"first_byte_timeout_s": 0.2}))
    (result,) = read_table(directory.root)
    silent, _ = read_table(directory.root, "attempts")
    assert silent["estimated_tokens"] == result["estimated_prompt_tokens"]
    assert silent["estimated_cost"] > 0


async def test_a_failed_attempt_with_usage_is_billed(
    simulator: Simulator, make_priced: MakeConfig
) -> None:
    """The answer is whole and paid for, but its speech is missing."""
    simulator.script(reply.frames(spoken_by_nobody()))
    directory, record = await finish(make_priced(prompts(1), request=SPEECH))
    (result,), (attempt,) = read_table(directory.root), read_table(directory.root, "attempts")
    assert (result["error_kind"], result["cost"]) == ("speech_missing", None)
    assert (attempt["text"], attempt["total_tokens"]) == ("all text", 1500)
    assert attempt["cost"] > 0
    assert attempt["estimated_cost"] is None
    assert record.counts.cost == pytest.approx({"USD": attempt["cost"]})
    assert (record.counts.prompt_tokens, record.counts.completion_tokens) == (1000, 500)


def spoken_by_nobody() -> list[bytes]:
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
    chunks = [
        {"choices": [{"delta": {"content": "all text"}, "index": 0}]},
        {"choices": [{"delta": {}, "finish_reason": "stop", "index": 0}]},
        {"choices": [], "usage": usage},
    ]
    events = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    return [*events, b"data: [DONE]\n\n"]


async def test_the_text_of_a_cut_answer_is_kept_within_reason(
    simulator: Simulator, make_priced: MakeConfig
) -> None:
    chunk = {"choices": [{"delta": {"content": "word " * 10_000}, "index": 0}]}
    simulator.script(
        reply.frames([b"data: " + json.dumps(chunk).encode() + b"\n\n"], end="cut"),
        reply.status(400, code="invalid_parameter_error"),
    )
    directory, _ = await finish(make_priced(prompts(1)))
    cut, _ = read_table(directory.root, "attempts")
    assert (len(cut["text"]), cut["text_chars"]) == (20_000, 50_000)
    assert 12_500 < cut["estimated_tokens"] < 12_600  # of all that had arrived


async def test_the_budget_counts_what_was_cut(
    simulator: Simulator, make_priced: MakeConfig
) -> None:
    simulator.script(*[reply.fault("cut")] * 200)
    config = make_priced(
        prompts(50),
        request=SPEECH,
        retry={"max_attempts": 100},
        quota={"max_in_flight": 2},
        budget={"max_tokens": 500},
    )
    directory, record = await finish(config)
    assert (record.state, record.counts.done) == ("stopped", 0)
    attempts = attempts_so_far(directory)
    spent = sum(row["estimated_tokens"] for row in attempts)
    dearest = max(row["estimated_tokens"] for row in attempts)
    assert 500 - dearest <= spent <= 500 + dearest
    assert "budget.max_tokens 500" in str(record.reason)
    assert record.counts.estimated_tokens == spent
    assert len(simulator.requests) == len(attempts)


def attempts_so_far(directory: RunDir) -> list[dict[str, Any]]:
    record = read_record(directory.record)
    return [row for _, attempts in read_tables(directory, record) for row in attempts.to_pylist()]


def no_grace(run: Run) -> None:
    run.stop(Interrupted("asked to"))


def refused(run: Run) -> None:
    run.stop(Rejected("a reason of any kind"))


@pytest.mark.parametrize("end", [no_grace, refused])
async def test_items_in_flight_when_the_run_stops_leave_their_attempts(
    make_priced: MakeConfig, end: Callable[[Run], None]
) -> None:
    with Simulator(SimulatorOptions(api_key=KEY)) as slow:
        slow.script(*[reply.fault("stall")] * 3)
        config = make_priced(prompts(6), quota={"max_in_flight": 3, "adaptive": False})
        config = config.model_copy(update={"shutdown_grace_s": 0})
        endpoint = config.endpoint.model_copy(update={"base_url": slow.base_url})
        directory = prepare_run(make_plan(config.model_copy(update={"endpoint": endpoint})))

        async def stop(run: Run) -> None:
            while run.router.in_flight < 3:  # noqa: ASYNC110  a moment, not an event
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)  # for what comes before the stall
            end(run)

        record = await execute(directory, background=stop)
        assert record.counts.done < 6
        cut = [row for row in attempts_so_far(directory) if row["error_kind"]]
        assert len(cut) + record.counts.done == len(slow.requests)
        assert {row["error_kind"] for row in cut} == {"interrupted"}
        assert all(row["text"] and row["estimated_cost"] for row in cut)
        assert record.counts.estimated_tokens == sum(row["estimated_tokens"] for row in cut)

        change_run(directory, ["shutdown_grace_s=30"])
        record = await execute(directory)
        sent = len(slow.requests)
    assert record.counts.succeeded == 6
    attempts = read_table(directory.root, "attempts")
    assert len(attempts) == sent == record.counts.requests
    for result in read_table(directory.root):
        numbers = [row["number"] for row in attempts if row["item_id"] == result["item_id"]]
        assert numbers == list(range(1, result["attempts"] + 1))
    assert {row["attempts"] for row in read_table(directory.root)} <= {1, 2}
    assert [row for row in attempts if row["error_kind"]] == cut  # they stand as they were


async def test_a_refused_key_leaves_the_attempt_that_met_it(
    simulator: Simulator, make_priced: MakeConfig
) -> None:
    simulator.script(reply.fault("cut"), reply.status(401))
    config = make_priced(prompts(1))
    directory, record = await finish(config)
    assert (record.state, record.counts.done) == ("stopped", 0)
    await execute(directory)
    (result,), attempts = read_table(directory.root), read_table(directory.root, "attempts")
    assert [(row["number"], row["error_kind"]) for row in attempts] == [
        (1, "stream_error"),
        (2, "account_error"),
        (3, None),
    ]
    assert (result["attempts"], result["status"]) == (3, "succeeded")


async def test_a_run_that_was_moved_goes_on_under_its_own_name(
    simulator: Simulator,
    make_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "own.toml").write_text('date = "2026-11"\n')
    monkeypatch.chdir(tmp_path)
    config = make_config(
        prompts(8),
        quota={"max_in_flight": 1},
        request=SPEECH,
        shard_size=3,
        catalogue="own.toml",
        reuse="runs/none-*",
    )
    budget = config.budget.model_copy(update={"max_tokens": 100})
    directory, record = await finish(config.model_copy(update={"budget": budget}))
    assert 0 < record.counts.done < 8
    moved = RunDir(tmp_path / "else" / "where")
    moved.root.parent.mkdir()
    directory.root.rename(moved.root)
    monkeypatch.chdir("/")
    change_run(moved, ["budget.max_tokens=null"])
    record = await execute(moved)
    rows = read_table(moved.root)
    assert (record.state, len(simulator.requests)) == ("finished", 8)
    assert {row["run_id"] for row in rows} == {directory.run_id} == {record.run_id}
    assert all((moved.root / row["audio_path"]).is_file() for row in rows)
    assert not directory.root.exists()


# --- the estimate by itself ---

PRICE = Price(
    region="singapore", currency="USD", text_in=1.0, text_out=2.0, audio_out=10.0, audio_in=3.0
)
PROMPT = PromptEstimate(text=100, audio=50)


def bill(
    error: Exception | None, pricing: Pricing | None = None, **known: Any
) -> tuple[Any, int | None, Any]:
    attempt = Attempt(1, WHEN, 1.0, error=error, **known)
    found = with_cost(attempt, PROMPT, pricing or Pricing(PRICE, wants_audio=False))
    return found.cost, found.estimated_tokens, found.estimated_cost


def test_sound_is_estimated_by_the_rate_of_the_model() -> None:
    spoken = Pricing(PRICE, wants_audio=True, audio_tokens_per_s=12.5)
    cost, tokens, estimated = bill(
        StreamError("cut"), spoken, http_status=200, audio_s=4.0, text="abcdefgh", text_chars=8
    )
    assert (cost, tokens) == (None, 150 + 50 + 2)
    assert estimated.amount == pytest.approx((100 * 1 + 50 * 3 + 50 * 10) / 1e6)


def test_text_that_was_not_kept_counts_as_four_characters_a_token() -> None:
    _, tokens, _ = bill(StreamError("cut"), http_status=200, text_chars=300)
    assert tokens == 150 + 75


def test_a_bill_outweighs_an_estimate() -> None:
    cost, tokens, estimated = bill(
        StreamError("cut after its usage"), http_status=200, usage=Usage(100, 10, 110)
    )
    assert cost.amount == pytest.approx(120 / 1e6)
    assert (tokens, estimated) == (None, None)


def test_without_a_price_the_tokens_are_estimated_all_the_same() -> None:
    unknown = Pricing(None, wants_audio=False)
    assert bill(StreamError("cut"), unknown, http_status=200) == (None, 150, None)


def unanswered() -> OmniBatchError:
    return NoResponse("no answer within 120 s")


@pytest.mark.parametrize(
    ("error", "status", "worked"),
    [
        (StreamError("cut"), 200, True),
        (Unavailable("said so within the stream"), 200, True),
        (None, 200, True),  # a success whose server sends no usage
        (Interrupted("cut off"), None, True),
        (unanswered(), None, True),
        (Unavailable("no connection"), None, False),
        (Unavailable("down"), 503, False),
        (Rejected("no"), 400, False),
        (ValueError("a bug"), None, False),
    ],
)
def test_only_what_the_service_worked_on_is_estimated(
    error: Exception | None, status: int | None, worked: bool
) -> None:
    _, tokens, estimated = bill(error, http_status=status)
    assert (tokens is not None) is (estimated is not None) is worked
