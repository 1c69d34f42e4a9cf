"""`variants` and `samples`: what a config says of them, and what it is refused for."""

from typing import Any

import pytest

from omni_batch.config import Config, parse_config
from omni_batch.errors import ConfigError


def config(**keys: Any) -> Config:
    return parse_config({"manifest": {"path": "rows.csv"}, **keys})


def test_a_variant_is_the_request_with_its_own_keys() -> None:
    whole = config(
        request={"prompt": "Describe it.", "temperature": 0.7},
        variants={
            "terse": {"prompt": "One word."},
            "cold": {"temperature": None, "top_p": 0.5},
            "big": {"model": "qwen3.5-omni-plus"},
        },
    )
    terse, cold, big = whole.by_variant().values()
    assert (terse.request.prompt, terse.request.temperature) == ("One word.", 0.7)
    assert (cold.request.prompt, cold.request.temperature) == ("Describe it.", None)
    assert (big.model, big.request) == ("qwen3.5-omni-plus", whole.request)
    assert (terse.model, terse.variants) == (whole.model, {})


def test_what_is_kept_of_a_variant_is_what_was_written() -> None:
    variants = {"a": {"temperature": None}, "b": {"model": "m", "stop": ["x"]}, "c": {}}
    kept = config(variants=variants, samples=3).model_dump(mode="json")
    assert kept["variants"] == variants
    assert parse_config(kept) == config(variants=variants, samples=3)


def test_without_variants_a_config_is_its_own_only_one() -> None:
    whole = config()
    assert whole.by_variant() == {None: whole}
    assert config(variants={}) == whole
    assert whole.models == (whole.model,)


def test_endpoints_have_the_model_in_their_names_where_several_are_asked() -> None:
    endpoints = [{"name": "vllm", "label": "left"}, {"name": "vllm", "label": "right"}]
    assert list(config(endpoints=endpoints).targets) == ["left", "right"]
    several = config(model="m", variants={"a": {}, "b": {"model": "n"}}, endpoints=endpoints)
    assert list(several.targets) == ["left/m", "left/n", "right/m", "right/n"]
    only_other = config(model="m", variants={"b": {"model": "n"}}, endpoints=endpoints)
    assert {name: model for name, (_, model) in only_other.targets.items()} == {
        "left": "n",
        "right": "n",
    }


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"variants": {"long": {"temperature": 9}}}, "variants.long.temperature = 9"),
        (
            {"variants": {"long": {"temprature": 1}}},
            "unknown key variants.long.temprature; did you mean temperature?",
        ),
        ({"variants": {"voice": {"x": 1}}}, "unknown key variants.voice.x"),
        ({"variants": {"a.b": {}}}, "'a.b' is no name for a variant"),
        ({"variants": {"../x": {}}}, "'../x' is no name for a variant"),
        ({"variants": {"": {}}}, "'' is no name for a variant"),
        ({"variants": {"a" * 65: {}}}, "is no name for a variant"),
        ({"variants": {"long": 3}}, "variants.long = 3"),
        ({"variants": ["long"]}, "variants = ['long']"),
        (
            {
                "request": {"reasoning_effort": "low"},
                "variants": {"long": {"thinking_budget": 50}},
            },
            "variants.long, over request: thinking_budget and reasoning_effort exclude each other",
        ),
        ({"variants": {f"v{number}": {} for number in range(101)}}, "at most 100 items"),
        ({"samples": 0}, "samples = 0"),
        ({"samples": 101}, "samples = 101"),
        ({"samples": 2.5}, "samples = 2.5"),
        (
            {"samples": 3, "request": {"seed": 2**31 - 2}},
            "request.seed = 2147483646 leaves no room for a seed of each of 3 samples",
        ),
        (
            {"samples": 3, "variants": {"far": {"seed": 2**31 - 1}}},
            "variants.far.seed = 2147483647 leaves no room",
        ),
    ],
)
def test_what_is_wrong_is_named(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        config(**keys)
    assert words in str(refusal.value)
