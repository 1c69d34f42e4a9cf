"""A run stops before it spends more than it may, and when what it buys is worth nothing."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

import omni_batch
from omni_batch.catalogue.prices import Pricing
from omni_batch.catalogue.tokens import PromptEstimate
from omni_batch.config import BudgetConfig, Config
from omni_batch.counts import Counts
from omni_batch.engine.pipeline import execute
from omni_batch.engine.retry_run import reopen_failed
from omni_batch.engine.sending.budget_gate import BudgetGate
from omni_batch.engine.stop import StopSwitch
from omni_batch.errors import BudgetReached, ConfigError
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import change_run, prepare_run
from omni_batch.progress.ledger import Ledger
from omni_batch.progress.spending.buys_nothing import FIRST_ITEMS
from omni_batch.progress.spending.estimates import AnswerBill, TokenEstimates
from omni_batch.progress.spending.reservations import Reservations
from omni_batch.progress.spending.workload import Range, Workload
from omni_batch.simulator import Simulator, SimulatorOptions, reply
from omni_batch.store import RunDir, RunRecord
from omni_batch.types import Usage
from tests.conftest import KEY, KEY_ENV, SAMPLE, MakeConfig, prompts, read_table
from tests.support import virtual_time

SPEECH = {"modalities": ["text", "audio"], "voice": "Cherry"}
IN_FLIGHT = 16


async def finish(config: Config) -> tuple[RunDir, RunRecord]:
    record = (await omni_batch.run_batch(config)).record
    return RunDir(Path(config.output) / record.run_id), record


@pytest.fixture
def make_priced(simulator: Simulator, make_config: MakeConfig) -> MakeConfig:
    """The same configs with a price list; answers take a while, so that many are in flight."""
    simulator.change(chunk_interval_s=0.003)
    endpoint = {"name": "dashscope-singapore", "base_url": simulator.base_url}

    def make(rows: list[Any], **changes: Any) -> Config:
        return make_config(rows, endpoint={**endpoint, "api_key_env": KEY_ENV}, **changes)

    return make


# --- the budget ---


@pytest.mark.parametrize(
    ("request_", "max_cost"), [({}, 0.0005), ({}, 0.003), (SPEECH, 0.002), (SPEECH, 0.01)]
)
async def test_a_run_spends_its_budget_and_no_more(
    make_priced: MakeConfig, max_cost: float, request_: dict[str, Any]
) -> None:
    budget = {"max_cost": f"{max_cost} USD"}
    config = make_priced(prompts(500), request=request_, budget=budget, quota={"max_in_flight": 16})
    directory, record = await finish(config)
    spent = record.counts.cost["USD"]
    dearest = max(costs_of(directory))
    assert (record.state, record.exit_code) == ("stopped", 3)
    assert max_cost - 2 * dearest < spent <= max_cost + 0.1 * dearest
    assert f"budget.max_cost {max_cost} USD" in str(record.reason)


def costs_of(directory: RunDir) -> list[float]:
    """Of all attempts so far; the journal of a shard that was not finished is read too."""
    return list(omni_batch.read_run(directory.root).sql("select cost from attempts")["cost"])


async def test_a_higher_budget_lets_the_run_go_on(make_priced: MakeConfig) -> None:
    config = make_priced(prompts(60), budget={"max_cost": "0.0005 USD"})
    directory, record = await finish(config)
    assert (record.state, record.config["budget"]["max_cost"]) == ("stopped", "0.0005 USD")
    done = record.counts.done
    assert (await execute(directory)).counts.done == done  # nothing more is sent
    change_run(directory, ["budget.max_cost=5 USD"])
    record = await execute(directory)
    assert (record.state, record.counts.succeeded) == ("finished", 60)


@pytest.mark.parametrize("override", ["budget.max_cost=5 EUR", "budget.max_cost=much"])
def test_a_budget_that_can_not_be_kept_changes_no_run(
    make_priced: MakeConfig, override: str
) -> None:
    directory = prepare_run(make_plan(make_priced(prompts(2))))
    before = directory.record.read_bytes()
    with pytest.raises(ConfigError, match=r"budget.max_cost"):
        change_run(directory, [override])
    assert directory.record.read_bytes() == before


async def test_cut_answers_are_reserved_and_counted_like_any_other(
    simulator: Simulator, make_priced: MakeConfig
) -> None:
    for _ in range(300):
        simulator.script(reply.text("Hello there."), reply.fault("cut"))
    config = make_priced(prompts(300), budget={"max_tokens": 2000}, quota={"max_in_flight": 16})
    _, record = await finish(config)
    counts = record.counts
    assert record.state == "stopped"
    assert counts.estimated_tokens > 0
    spent = counts.prompt_tokens + counts.completion_tokens + counts.estimated_tokens
    assert 1900 <= spent <= 2050


async def test_reused_answers_need_no_budget(make_priced: MakeConfig) -> None:
    await finish(make_priced(prompts(20)))
    config = make_priced(prompts(20), budget={"max_tokens": 1})
    reused = config.model_copy(update={"reuse": (f"{config.output}/*",)})
    _, record = await finish(reused)
    assert (record.state, record.counts.reused) == ("finished", 20)


@pytest.mark.parametrize("seed", range(5))
def test_with_answers_of_any_length_the_overshoot_is_at_most_one_answer(seed: int) -> None:
    """64 lanes, lengths that differ a hundredfold, attempts that fail unbilled."""
    chance, limit, guess = random.Random(seed), 200_000, Range(10, 250, 1500)
    stopping, estimates = StopSwitch(), TokenEstimates()
    budget = BudgetConfig(max_tokens=limit)
    ledger = Ledger(
        Counts(), budget, (), stopping.stop, items=10**6, in_flight=64, estimates=estimates
    )
    gate = BudgetGate(
        Reservations(budget, estimates, lambda _, spoken: Pricing(None, spoken)), ledger, stopping
    )
    longest = 0

    async def lane() -> None:
        nonlocal longest
        while not stopping.is_on:
            async with gate.reserved(("a", False), Workload(1, PromptEstimate(50), guess)):
                await asyncio.sleep(chance.uniform(0.5, 20))
                if chance.random() < 0.2:
                    continue  # a refusal costs nothing
                answer = round(min(chance.expovariate(1 / 300), 1500)) + 10
                longest = max(longest, answer)
                usage = Usage(50, answer, 50 + answer)
                ledger.counts += Counts(prompt_tokens=50, completion_tokens=answer)
                estimates.learn(50, usage, spoken=False)

    async def run() -> None:
        results = await asyncio.gather(*(lane() for _ in range(64)), return_exceptions=True)
        assert all(result is None or isinstance(result, BudgetReached) for result in results)

    virtual_time.run(run())
    spent = ledger.counts.prompt_tokens + ledger.counts.completion_tokens
    assert limit - 2 * longest < spent <= limit + longest
    assert isinstance(stopping.reason, BudgetReached)


def test_who_waits_for_room_and_is_cancelled_holds_up_nobody() -> None:
    stopping, estimates = StopSwitch(), TokenEstimates([AnswerBill(50)] * 50)
    budget = BudgetConfig(max_tokens=250)
    ledger = Ledger(Counts(), budget, (), stopping.stop, items=9, in_flight=9, estimates=estimates)
    gate = BudgetGate(
        Reservations(budget, estimates, lambda _, spoken: Pricing(None, spoken)), ledger, stopping
    )
    passed: list[int] = []

    async def item(number: int) -> None:
        async with gate.reserved(("a", False), Workload(1, PromptEstimate(50), Range(0, 50, 50))):
            passed.append(number)
            await asyncio.sleep(10)

    async def run() -> None:
        items = [asyncio.create_task(item(number)) for number in range(5)]
        await asyncio.sleep(1)
        assert passed == [0, 1]  # 100 tokens each
        items[2].cancel()  # waits
        items[0].cancel()  # is in flight; its room is free again
        await asyncio.sleep(1)
        assert passed == [0, 1, 3]
        await asyncio.wait(items)
        assert passed == [0, 1, 3, 4]

    virtual_time.run(run())
    assert not stopping.is_on


# --- a run that buys nothing ---


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (reply.status(404, code="model_not_found"), "Check model and endpoint.base_url"),
        (reply.status(400, code="invalid_parameter_error"), "failed in one way"),
        (
            reply.fault("cut_clean"),
            "answers in a row were paid for and can't be used and none could",
        ),
        (reply.fault("cut"), "answers in a row were paid for and can't be used and none could"),
    ],
)
async def test_a_run_that_buys_nothing_stops_after_twenty(
    simulator: Simulator, make_config: MakeConfig, what: Any, said: str
) -> None:
    simulator.script(*[what] * 1000)
    directory, record = await finish(make_config(prompts(400), quota={"max_in_flight": 16}))
    assert (record.state, record.exit_code, record.counts.succeeded) == ("stopped", 3, 0)
    assert said in str(record.reason)
    assert FIRST_ITEMS <= len(simulator.requests) < FIRST_ITEMS + IN_FLIGHT

    simulator.script(*[reply.status(404, code="model_not_found")] * 1000)
    before = len(simulator.requests)
    assert (await execute(directory)).state == "stopped"  # it counts anew
    assert FIRST_ITEMS <= len(simulator.requests) - before < FIRST_ITEMS + IN_FLIGHT


@pytest.mark.parametrize("what", [reply.fault("cut"), reply.status(400, code="invalid_parameter")])
async def test_failures_that_come_before_the_first_success_stop_no_run(
    simulator: Simulator, make_config: MakeConfig, what: Any
) -> None:
    """Answers take a while, and half of all fail at once: the first twenty ends are failures."""
    simulator.change(chunk_interval_s=0.05)
    for number in range(200):
        simulator.script(*([what] if number % 2 else [reply.text("word " * 30)]))
    config = make_config(prompts(200), quota={"max_in_flight": 40}, retry={"max_attempts": 9})
    _, record = await finish(config)
    assert (record.state, record.counts.done) == ("finished", 200)


async def test_after_it_is_mended_resume_finishes_the_run(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    simulator.script(*[reply.fault("cut_clean")] * FIRST_ITEMS)
    config = make_config(prompts(60), quota={"max_in_flight": 1})
    directory, record = await finish(config)
    assert (record.state, record.counts.done) == ("stopped", 4)  # five attempts each
    record = await execute(directory)
    assert (record.state, record.counts.succeeded) == ("finished", 56)


async def test_a_run_of_empty_answers_stops(simulator: Simulator, make_config: MakeConfig) -> None:
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 0}}
    events = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in (end, usage)]
    simulator.script(*[reply.frames([*events, b"data: [DONE]\n\n"])] * 1000)
    _, record = await finish(make_config(prompts(400), quota={"max_in_flight": 16}))
    assert (record.state, record.counts.failed) == ("stopped", 0)
    assert "empty answer" in str(record.reason)
    assert FIRST_ITEMS <= record.counts.succeeded < FIRST_ITEMS + IN_FLIGHT


async def test_a_retry_that_buys_nothing_stops_as_well(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    no_picture = reply.status(400, code="invalid_parameter_error")
    simulator.script(reply.text("Hello."), *[no_picture] * 79)
    config = make_config(prompts(80), quota={"max_in_flight": 1})
    directory, record = await finish(config)
    assert (record.state, record.counts.failed) == ("finished", 79)
    assert reopen_failed(directory) == 79
    simulator.script(*[no_picture] * 79)
    record = await execute(directory)
    assert (record.state, record.counts.failed) == ("stopped", FIRST_ITEMS)


async def test_a_short_manifest_simply_fails(simulator: Simulator, make_config: MakeConfig) -> None:
    simulator.script(*[reply.status(404, code="model_not_found")] * 10)
    _, record = await finish(make_config(prompts(10)))
    assert (record.state, record.exit_code, record.counts.failed) == ("finished", 1, 10)


# --- media that are not read ---


@pytest.fixture
def plain_vllm() -> Any:
    """A server that skips what it does not know, as most do: here media of another dialect."""
    with Simulator(SimulatorOptions(api_key=KEY, dialect="vllm")) as server:
        yield server


MEDIA = [
    {"image": "photos/coffee.jpg", "prompt": "What is it?"},
    {"audio": "audio/announcement.mp3", "prompt": "What is said?"},
]


@pytest.mark.parametrize("row", MEDIA, ids=["image", "audio"])
async def test_a_service_that_ignores_the_media_stops_the_run(
    plain_vllm: Simulator, make_config: MakeConfig, row: dict[str, str]
) -> None:
    config = media_config(make_config, plain_vllm, row, "sglang-omni")
    directory, record = await finish(config)
    assert (record.state, record.exit_code) == ("stopped", 3)
    assert "endpoint sglang-omni billed no tokens for the media of 5 rows" in str(record.reason)
    assert record.counts.done <= 5 + 4

    change_run(directory, ["budget.unbilled_media=warn"])
    assert (await execute(directory)).state == "finished"
    for answered in read_table(directory.root):
        (warning,) = answered["warnings"]
        assert warning.startswith("media-not-billed: ")


@pytest.mark.parametrize("row", MEDIA, ids=["image", "audio"])
async def test_in_its_own_dialect_it_reads_them(
    plain_vllm: Simulator, make_config: MakeConfig, row: dict[str, str]
) -> None:
    directory, record = await finish(media_config(make_config, plain_vllm, row, "vllm"))
    assert (record.state, record.counts.succeeded) == ("finished", 30)
    assert [answered["warnings"] for answered in read_table(directory.root)] == [[]] * 30


def media_config(
    make_config: MakeConfig, server: Simulator, row: dict[str, str], endpoint: str
) -> Config:
    media = {name: str(SAMPLE / value) for name, value in row.items() if name != "prompt"}
    rows = [{**row, **media, "item_id": str(number)} for number in range(30)]
    return make_config(
        rows,
        endpoint={"name": endpoint, "base_url": server.base_url, "api_key_env": KEY_ENV},
        media={"roots": [str(SAMPLE)]},
        quota={"max_in_flight": 4},
        same_question="send",
    )


def test_a_run_that_is_prepared_knows_its_currency(make_priced: MakeConfig) -> None:
    plan = make_plan(make_priced(prompts(2), budget={"max_cost": 3}))
    assert str(plan.config.budget.max_cost) == "3 USD"
    handle = omni_batch.read_run(prepare_run(plan).root)
    assert handle.record.config["budget"]["max_cost"] == "3 USD"
