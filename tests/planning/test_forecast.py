"""What a run will take: a range, by earlier answers where there are some, and its budget."""

from pathlib import Path
from typing import Any

import pytest

import omni_batch
from omni_batch.config import Config
from omni_batch.planning.check import CheckReport, check_manifest
from omni_batch.planning.earlier_answers import load_answers
from omni_batch.planning.plan import make_plan
from omni_batch.store.columns import RESULT_COLUMNS
from tests.conftest import MakeConfig, prompts

AT = {"name": "simulator"}
WORDS = [{"item_id": str(n), "prompt": f"Describe the number {n} in one word."} for n in range(40)]
TALES = [{"item_id": str(n), "prompt": f"Tell a tale of the number {n}."} for n in range(40)]
TEMPLATE = {"prompt": "Say {{ item_id }} in full."}


async def check(config: Config) -> CheckReport:
    return await check_manifest(make_plan(config, needs_key=False))


async def test_without_an_earlier_run_the_length_of_answers_is_a_wide_guess(
    make_config: MakeConfig,
) -> None:
    report = await check(make_config(TALES, endpoint=AT))
    assert report.completion_tokens_high > 10 * report.completion_tokens_low > 0
    assert report.completion_tokens_low < report.completion_tokens < report.completion_tokens_high
    costs = [cost or 0 for cost in (report.cost_low, report.cost, report.cost_high)]
    assert 0 < costs[0] < costs[1] < costs[2]
    assert (report.currency, report.estimated_by) == (
        "USD",
        "a guess: no earlier run of this config",
    )
    words = await check(make_config(WORDS, endpoint=AT))
    assert words.completion_tokens_high < report.completion_tokens / 5
    assert 0 < (words.cost_high or 0) < costs[1]


async def test_an_earlier_run_of_the_config_says_how_long_answers_are(
    make_config: MakeConfig,
) -> None:
    rows = prompts(1200)[1000:]
    rehearsal = make_config(rows, endpoint=AT, request=TEMPLATE, limit=20)
    run = await omni_batch.run_batch(rehearsal)
    config = make_config(rows, endpoint=AT, request=TEMPLATE)
    report = await check(config)
    assert report.estimated_by == f"by 20 answers up to run {run.run_id}"
    assert report.completion_tokens == pytest.approx(10 * run.counts.completion_tokens)
    assert report.completion_tokens_high < 2 * report.completion_tokens_low

    whole = (await omni_batch.run_batch(config)).counts
    assert report.completion_tokens_low <= whole.completion_tokens <= report.completion_tokens_high
    costs = report.cost_low or 0, report.cost_high or 0
    assert 0.9 * costs[0] <= whole.cost["USD"] <= 1.1 * costs[1]


@pytest.mark.parametrize(
    "other",
    [
        {"name": "another"},
        {"model": "qwen3.5-omni-flash"},
        {"request": {"prompt": "Say {{ item_id }} at length."}},
    ],
)
async def test_runs_that_asked_something_else_say_nothing(
    make_config: MakeConfig, other: dict[str, Any]
) -> None:
    await omni_batch.run_batch(make_config(prompts(20), endpoint=AT, request=TEMPLATE))
    config = make_config(prompts(20), endpoint=AT, **{"request": TEMPLATE, **other})
    assert load_answers(make_plan(config), Path(config.output)) is None


async def test_failures_and_reused_answers_are_no_answers(make_config: MakeConfig) -> None:
    config = make_config(prompts(20), endpoint=AT, request=TEMPLATE)
    await omni_batch.run_batch(config, run_id="paid")
    again = config.model_copy(update={"reuse": (f"{config.output}/*",)})
    await omni_batch.run_batch(again, run_id="reused")
    answers = load_answers(make_plan(config), Path(config.output))
    assert answers is not None
    assert (answers.run_id, len(answers.bills)) == ("paid", 20)


async def test_a_damaged_run_is_passed_over(make_config: MakeConfig) -> None:
    config = make_config(prompts(20), endpoint=AT, request=TEMPLATE)
    run = await omni_batch.run_batch(config)
    for part in (run.path / "results").iterdir():
        part.write_bytes(b"no table")
    assert load_answers(make_plan(config), Path(config.output)) is None
    assert (await check(config)).estimated_by.startswith("a guess")


def test_the_columns_that_are_read_exist() -> None:
    from omni_batch.planning import earlier_answers

    assert set(earlier_answers._NAMES) <= {column.name for column in RESULT_COLUMNS}


# --- held against the budget ---


async def warnings(config: Config) -> dict[str, str]:
    return {group.rule: group.message for group in (await check(config)).warnings}


async def test_an_estimate_over_the_budget_is_said_with_the_rows_that_fit(
    make_config: MakeConfig,
) -> None:
    found = await warnings(make_config(TALES, endpoint=AT, budget={"max_cost": "0.005 USD"}))
    said = found["estimate-passes-budget"]
    assert "passes budget.max_cost 0.005 USD: about 11 of 40 rows will be sent" in said
    found = await warnings(make_config(TALES, endpoint=AT, budget={"max_tokens": 5600}))
    assert "about 20 of 40 rows" in found["estimate-passes-budget"]


async def test_an_estimate_that_may_pass_the_budget_is_said_too(make_config: MakeConfig) -> None:
    found = await warnings(make_config(TALES, endpoint=AT, budget={"max_cost": "0.03 USD"}))
    assert "may pass budget.max_cost 0.03 USD" in found["estimate-may-pass-budget"]


@pytest.mark.parametrize("budget", [{}, {"max_cost": 5}, {"max_tokens": 10**6}])
async def test_a_budget_that_will_do_is_no_warning(
    make_config: MakeConfig, budget: dict[str, Any]
) -> None:
    assert not await warnings(make_config(TALES, endpoint=AT, budget=budget))
