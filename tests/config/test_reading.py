"""A configuration loads whole or is refused with key, value and reason. It holds no secret."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from omni_batch.config import Config, CostLimit, load_config, parse_config
from omni_batch.errors import ConfigError
from tests.config.support import MINIMAL, nested, refusal

SECRET = "sk-marker-0123456789"
EVERY_KEY = """
name: caption-images
manifest: {path: data/sample/manifest.csv, id_column: item_id}
output: data/runs
model: qwen3-omni-flash
endpoint: {name: dashscope-beijing, base_url: null, api_key_env: DASHSCOPE_API_KEY}
request: {system: null, prompt: "Describe {{ subject }} in one sentence.", modalities: [text,
  audio], voice: Cherry, thinking: false, temperature: null, max_tokens: null, seed: null}
media: {transport: auto, roots: ["."], fit: refuse}
quota: {requests_per_minute: 60, tokens_per_minute: 100000, max_in_flight: 16, adaptive: true}
retry: {max_attempts: 5, first_wait_s: 2, max_wait_s: 60, first_byte_timeout_s: 120,
  idle_timeout_s: 90}
budget: {max_cost: null, max_tokens: null, max_failure_rate: null, unbilled_media: stop}
shard_size: auto
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def all_keys(
    model: type[BaseModel] = Config, above: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*above, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from all_keys(field.annotation, (*above, name))


# --- what is accepted ---


def test_the_sample_of_the_contract_loads(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, EVERY_KEY))
    assert (config.name, config.model) == ("caption-images", "qwen3-omni-flash")
    assert config.manifest.path == "data/sample/manifest.csv"
    assert (config.request.modalities, config.request.wants_audio) == (("text", "audio"), True)
    assert (config.quota.tokens_per_minute, config.quota.adaptive) == (100_000, True)
    assert (config.retry.max_attempts, config.retry.idle_timeout_s) == (5, 90)


def test_a_manifest_is_all_that_must_be_said() -> None:
    config = parse_config(MINIMAL)
    assert (config.output, config.shard_size, config.limit) == ("data/runs", "auto", None)


def test_a_configuration_comes_back_from_its_own_dump() -> None:
    config = parse_config(yaml.safe_load(EVERY_KEY))
    assert parse_config(config.model_dump(mode="json")) == config


def test_a_configuration_does_not_change() -> None:
    config = parse_config(MINIMAL)
    with pytest.raises(ValidationError, match="frozen"):
        config.quota.max_in_flight = 1


# --- what is refused ---


@pytest.mark.parametrize("key", tuple(all_keys()), ids=".".join)
def test_every_misspelt_key_is_refused_with_the_nearest_known_one(key: tuple[str, ...]) -> None:
    *parents, leaf = key
    wrong = (*parents, leaf + leaf[-1])
    assert f"unknown key {'.'.join(wrong)}; did you mean {leaf}?" in refusal(nested(wrong, 1))


def test_a_key_like_no_other_is_refused_with_all_known_ones() -> None:
    message = refusal({**MINIMAL, "budget": {"xyzzy": 1}})
    assert (
        "budget.xyzzy; known keys: max_cost, max_tokens, max_failure_rate, unbilled_media"
        in message
    )


def test_all_problems_are_told_at_once() -> None:
    message = refusal({"outptu": "x", "quota": {"max_in_flight": 0}})
    assert "did you mean output?" in message
    assert "quota.max_in_flight = 0" in message
    assert "manifest is missing; add it" in message


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("name", "../up", "pattern"),
        ("name", 5, "string"),
        ("manifest.path", "", "at least 1 character"),
        ("endpoint.base_url", "ftp://host", "http:// or https://"),
        ("endpoint.base_url", "https://me:word@host/v1", "a user or password"),
        ("endpoint.api_key_env", "MY KEY", "name of an environment variable"),
        ("request.modalities", ["audio"], "[text] or [text, audio]"),
        ("request.modalities", ["text", "text"], "[text] or [text, audio]"),
        ("request.modalities", ["smell"], "'text' or 'audio'"),
        ("request.temperature", 2, "less than 2"),
        ("request.temperature", float("nan"), "finite"),
        ("request.top_p", 0, "greater than 0"),
        ("request.seed", 2**31, "less than"),
        ("request.max_tokens", 0, "greater than or equal to 1"),
        ("media.transport", "pigeon", "'auto'"),
        ("quota.max_in_flight", 0, "greater than or equal to 1"),
        ("quota.requests_per_minute", 0, "greater than or equal to 0.01"),
        ("quota.requests_per_minute", -1, "greater than or equal to 0.01"),
        ("quota.requests_per_minute", 1e12, "less than or equal to 1000000000"),
        ("quota.tokens_per_minute", 0, "greater than or equal to 1"),
        ("quota.requests_per_minute", float("inf"), "finite"),
        ("retry.max_attempts", "many", "integer"),
        ("retry.idle_timeout_s", 0, "greater than 0"),
        ("budget.max_failure_rate", 1.5, "less than or equal to 1"),
        ("budget.max_cost", 0, "such as 5 USD"),
        ("budget.max_cost", -1, "such as 5 USD"),
        ("budget.max_cost", True, "such as 5 USD"),
        ("budget.max_cost", float("inf"), "such as 5 USD"),
        ("budget.max_cost", "5 dollars", "such as 5 USD"),
        ("budget.max_cost", "USD 5", "such as 5 USD"),
        ("budget.max_cost", "1,000 USD", "such as 5 USD"),
        ("shard_size", 0, "auto or between 1 and 100000"),
        ("limit", 0, "greater than or equal to 1"),
        ("quota", 5, "group of keys"),
        ("variants", [{"prompt": "Why?"}], "group of keys"),
    ],
)
def test_a_wrong_value_is_refused_with_key_value_and_reason(
    key: str, value: Any, reason: str
) -> None:
    path = tuple(key.split("."))
    message = refusal(
        {**MINIMAL, **nested(path, value)} if path[0] != "manifest" else nested(path, value)
    )
    hidden = key.startswith("endpoint.")
    where = ".".join([*path, "0"]) if value == ["smell"] else key
    shown = "…" if hidden else repr(value[0] if value == ["smell"] else value)
    assert message.startswith(f"config: {where}")
    assert f" = {shown}: " in message
    assert reason in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "contains NoneType"),
        ("- 1", "contains list"),
        ("a: [", "can't be read as YAML"),
        ("? [1]\n: 2", "can't be read as YAML"),
        ("a: !!python/object/apply:os.getcwd []", "can't be read as YAML"),
    ],
)
def test_a_file_that_is_no_tree_of_keys_is_refused_by_name(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=reason) as refused:
        load_config(path)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_or_no_text_is_refused_by_name(tmp_path: Path) -> None:
    binary = tmp_path / "config.bin"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, reason in [
        (tmp_path / "gone.yaml", "does not exist"),
        (tmp_path, "can't be read"),
        (binary, "can't be read"),
    ]:
        with pytest.raises(ConfigError, match=reason) as refused:
            load_config(path)
        assert str(path) in str(refused.value)


# --- overrides ---


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("quota.max_in_flight=4", "quota.max_in_flight", 4),
        ("request.modalities=[text]", "request.modalities", ("text",)),
        ("request.prompt=a = b", "request.prompt", "a = b"),
        ("request.voice=", "request.voice", None),
        ("retry.first_wait_s=0.5", "retry.first_wait_s", 0.5),
        ("shard_size=10", "shard_size", 10),
        (" limit =3", "limit", 3),
        ("budget={max_cost: 2 cny}", "budget.max_cost", CostLimit(2, "CNY")),
    ],
)
def test_an_override_stands_over_the_file(
    tmp_path: Path, override: str, key: str, value: Any
) -> None:
    config: Any = load_config(written(tmp_path, EVERY_KEY), [override])
    for name in key.split("."):
        config = getattr(config, name)
    assert config == value


def test_the_last_override_stands(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, EVERY_KEY), ["limit=1", "limit=2"])
    assert config.limit == 2


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("quota.max_in_flite=4", "did you mean max_in_flight?"),
        ("limit", "write it as a.b=value"),
        ("=4", "write it as a.b=value"),
        ("model.name=x", "model is a value, not a group of keys"),
        ("limit=]", "the value is not YAML: line 1: "),
        ("request.prompt={{ a }}", "put it in quotes: request.prompt='…'"),
        ("limit=none", "limit = 'none'"),
    ],
)
def test_a_wrong_override_is_refused_with_the_reason(
    tmp_path: Path, override: str, reason: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(written(tmp_path, EVERY_KEY), [override])
    assert reason in str(refused.value)


# --- secrets ---


@pytest.mark.parametrize(
    "override",
    [
        f"endpoint.api_key={SECRET}",
        f"api_key={SECRET}",
        f"endpoint.api_key_env={SECRET}",
        f"endpoint.base_url={SECRET}",
        f"endpoint.base_url=https://{SECRET}@host/v1",
        f"endpoint.base_url=https://user:{SECRET}@host/v1",
    ],
)
def test_a_key_in_the_configuration_is_refused_and_never_repeated(
    tmp_path: Path, override: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(written(tmp_path, EVERY_KEY), [override])
    assert SECRET not in str(refused.value)
    assert SECRET not in repr(refused.value)
    assert refused.value.__cause__ is None


def test_a_configuration_never_looks_at_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", SECRET)
    config = load_config(written(tmp_path, EVERY_KEY))
    assert SECRET not in repr(config) + config.model_dump_json()
