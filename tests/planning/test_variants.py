"""What a run with variants and samples would ask, and what it is refused for, before it is sent."""

from collections.abc import Mapping
from typing import Any

import pytest

from omni_batch import run_batch
from omni_batch.errors import ConfigError, ManifestError
from omni_batch.planning.check import CheckReport, check_manifest
from omni_batch.planning.checked_items import CheckedItems
from omni_batch.planning.plan import Plan, make_plan
from tests.conftest import MakeConfig

ROWS: list[Mapping[str, str]] = [
    {"item_id": "cup", "thing": "a cup"},
    {"item_id": "cat", "thing": ""},
]
HERE = {"name": "simulator"}
TWO = {"terse": {"prompt": "{{ item_id }}?"}, "big": {"model": "qwen3.5-omni-plus"}}
TEMPLATE = {"prompt": "Describe {{ item_id }}."}


def plan_of(make_config: MakeConfig, rows: Any = ROWS, **keys: Any) -> Plan:
    config = make_config(rows, **{"endpoint": HERE, "request": TEMPLATE, **keys})
    return make_plan(config, needs_key=False)


async def check(make_config: MakeConfig, rows: Any = ROWS, **keys: Any) -> CheckReport:
    return await check_manifest(plan_of(make_config, rows, **keys))


def warnings(report: CheckReport) -> dict[str, str]:
    return {group.rule: group.message for group in report.warnings}


def test_a_row_becomes_an_item_for_each_variant_and_sample(make_config: MakeConfig) -> None:
    items = list(CheckedItems(plan_of(make_config, variants=TWO, samples=2)))
    assert [item.name for item in items] == [
        *("cup.terse.1", "cup.terse.2", "cup.big.1", "cup.big.2"),
        *("cat.terse.1", "cat.terse.2", "cat.big.1", "cat.big.2"),
    ]
    assert [item.row_number for item in items] == list(range(8))
    assert {item.item_id for item in items} == {"cup", "cat"}


def test_without_variants_and_samples_an_item_is_its_row(make_config: MakeConfig) -> None:
    items = list(CheckedItems(plan_of(make_config, variants={})))
    assert [(item.name, item.variant, item.sample) for item in items] == [
        ("cup", None, None),
        ("cat", None, None),
    ]


def test_a_limit_counts_rows_of_the_manifest(make_config: MakeConfig) -> None:
    items = CheckedItems(plan_of(make_config, variants=TWO, samples=3, limit=1))
    assert [item.item_id for item in items] == ["cup"] * 6


async def test_an_id_that_appears_twice_is_named_with_its_rows(make_config: MakeConfig) -> None:
    rows = [*ROWS, {"item_id": "cup", "thing": "another"}]
    with pytest.raises(ManifestError, match="'cup' appears in rows 1 and 3"):
        await check(make_config, rows, variants=TWO, samples=2)


async def test_each_variant_has_its_share_of_the_estimate(make_config: MakeConfig) -> None:
    report = await check(make_config, variants=TWO, samples=2)
    terse, big = report.variants
    assert (report.items, terse.items, big.items) == (8, 4, 4)
    assert (terse.model, big.model) == ("qwen3-omni-flash", "qwen3.5-omni-plus")
    assert report.prompt.total == terse.prompt_tokens + big.prompt_tokens
    assert terse.prompt_tokens < big.prompt_tokens
    assert (terse.currency, big.currency) == ("USD", "CNY")
    assert 0 < (terse.cost_low or 0) < (big.cost_low or 0)
    assert report.cost is None
    assert "two-currencies" in warnings(report)


async def test_costs_of_one_currency_add_up(make_config: MakeConfig) -> None:
    variants = {"one": {}, "hot": {"temperature": 1.5}}
    report = await check(make_config, variants=variants)
    alone = await check(make_config)
    assert report.cost == pytest.approx(2 * (alone.cost or 0))
    assert sum(each.cost_low or 0 for each in report.variants) == pytest.approx(report.cost_low)
    assert alone.variants == []


async def test_each_variant_is_estimated_by_its_own_earlier_answers(
    make_config: MakeConfig,
) -> None:
    """The simulator says again what it was told."""
    rows = [{"item_id": str(number)} for number in range(10)]
    variants = {"short": {"prompt": "{{ item_id }}"}, "long": {"prompt": "{{ item_id }} " * 200}}
    run = await run_batch(make_config(rows, endpoint=HERE, request=TEMPLATE, variants=variants))
    report = await check(make_config, rows, variants=variants)
    short, long = report.variants
    assert report.estimated_by == f"by 20 answers up to run {run.run_id}"
    assert short.completion_tokens_high < long.completion_tokens_low
    assert report.completion_tokens == pytest.approx(run.counts.completion_tokens, rel=0.01)
    changed = await check(make_config, rows, variants={**variants, "long": {"prompt": "Why?"}})
    assert changed.estimated_by.startswith("a guess")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {"variants": {"fine": {}, "loud": {"fps": 2}}},
            "variant loud: request.fps is 2.0, but qwen3-omni-flash does not take it",
        ),
        ({"variants": {"live": {"model": "qwen3-omni-flash-realtime"}}}, "-realtime"),
        (
            {"samples": 3, "request": {"prompt": "x", "temperature": 0}},
            "samples: 3 with request.temperature: 0 pays for the same answer 3 times",
        ),
        (
            {"samples": 3, "variants": {"a": {}, "b": {"top_k": 1}}},
            "variant b: samples: 3 with request.top_k: 1 pays for the same answer 3 times",
        ),
        (
            {"samples": 2, "request": {"prompt": "x", "extra": {"temperature": 0}}},
            "request.temperature: 0",
        ),
        (
            {"samples": 2, "request": {"prompt": "x", "extra": {"seed": 5}}},
            "request.extra.seed is one for all samples",
        ),
        (
            {"variants": {"a": {}, "b": {"prompt": "{{ unclosed"}}},
            "variant b: request.prompt, line 1: unexpected end of template",
        ),
        (
            {
                "annotation": {"json_schema": {"type": "string", "enum": ["a"]}},
                "variants": {"spoken": {"modalities": ["text", "audio"]}, "silent": {}},
            },
            "variant spoken: annotation asks for JSON, which nobody speaks",
        ),
    ],
)
def test_what_a_variant_breaks_refuses_the_run(
    make_config: MakeConfig, keys: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        plan_of(make_config, **keys)
    assert words in str(refusal.value)


def test_what_all_variants_break_is_said_once(make_config: MakeConfig) -> None:
    with pytest.raises(ConfigError) as refusal:
        plan_of(make_config, variants={"a": {}, "b": {"top_p": 0.5}}, request={"fps": 2})
    assert str(refusal.value).count("request.fps") == 1
    assert "variant" not in str(refusal.value)


async def test_a_prompt_is_held_against_the_columns_for_each_variant(
    make_config: MakeConfig,
) -> None:
    with pytest.raises((ConfigError, ManifestError)) as refusal:
        await check(make_config, variants={"a": {}, "b": {"prompt": "{{ colour }}"}})
    assert "variant b: " in str(refusal.value)
    assert "{{ colour }} is not a column" in str(refusal.value)


async def test_rows_that_a_variant_can_t_ask_are_named(make_config: MakeConfig) -> None:
    variants = {"fine": {}, "empty": {"prompt": "{{ thing }}"}}
    report = await check(make_config, variants=variants)
    assert (report.items, report.refused_items) == (4, 1)
    (refused,) = report.refused
    assert (refused.item_id, refused.variant, refused.name) == ("cat", "empty", "cat.empty")


async def test_a_row_s_own_prompt_beats_a_variant_s_and_that_is_said(
    make_config: MakeConfig,
) -> None:
    rows = [{"item_id": "own", "prompt": "Mine."}, {"item_id": "other", "prompt": ""}]
    report = await check(make_config, rows, variants={"a": {"prompt": "Yours."}, "b": {}})
    message = warnings(report)["variant-without-effect"]
    assert message.startswith("1 row has a prompt of its own")
    assert "the prompt of variant a" in message


async def test_variants_that_ask_the_same_are_doubted(make_config: MakeConfig) -> None:
    variants = {"a": {}, "b": {"temperature": 0.3}, "c": {"model": "qwen3-omni-flash"}}
    report = await check(make_config, variants=variants)
    assert warnings(report)["variants-alike"].startswith("variants a, c ask the very same")


@pytest.mark.parametrize(
    ("given", "seeds"), [(None, [1, 2, 3]), (0, [0, 1, 2]), (40, [40, 41, 42])]
)
def test_each_sample_has_a_seed_of_its_own(
    make_config: MakeConfig, given: int | None, seeds: list[int]
) -> None:
    plan = plan_of(make_config, request={"prompt": "x", "seed": given}, samples=3)
    assert [asked.config.request.seed for asked in plan.asks.values()] == seeds
