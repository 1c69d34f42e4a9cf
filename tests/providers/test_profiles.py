"""Endpoints have names; keys come from the environment and are never shown."""

import asyncio

import pytest

from omni_batch import run_batch
from omni_batch.config import EndpointConfig
from omni_batch.errors import ConfigError
from omni_batch.providers.api_key import ApiKey
from omni_batch.providers.profiles import PROFILES, read_api_key, region_of, resolve_profile
from omni_batch.simulator import Simulator, SimulatorOptions
from tests.conftest import MakeConfig, prompts

SECRET = "sk-marker-0123456789"


def test_every_profile_has_its_own_name() -> None:
    assert {"simulator", "dashscope-beijing", "vllm-omni", "custom"} <= PROFILES.keys()
    assert all(profile.name == name for name, profile in PROFILES.items())


def test_keys_only_ever_travel_encrypted() -> None:
    urls = [profile.base_url for profile in PROFILES.values() if profile.base_url]
    assert urls
    assert all(url.startswith("https://") for url in urls)


def test_what_the_config_says_stands_over_the_profile() -> None:
    config = EndpointConfig(
        name="dashscope-beijing", base_url="http://localhost:9/v1/", api_key_env="OTHER_KEY"
    )
    profile = resolve_profile(config)
    assert (profile.base_url, profile.api_key_env) == ("http://localhost:9/v1", "OTHER_KEY")
    assert profile.region == "beijing"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("dashscope-bejing", "did you mean dashscope-beijing?"),
        ("simulater", "did you mean simulator?"),
        ("zzz", "known: simulator, dashscope-beijing"),
    ],
)
def test_an_unknown_endpoint_is_refused_with_the_nearest(name: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve_profile(EndpointConfig(name=name))
    assert repr(name) in str(refused.value)
    assert reason in str(refused.value)


def test_a_custom_endpoint_must_say_where_it_is() -> None:
    with pytest.raises(ConfigError, match=r"custom needs endpoint\.base_url"):
        resolve_profile(EndpointConfig(name="custom"))


@pytest.mark.parametrize(
    ("base_url", "region"),
    [
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "beijing"),
        ("https://batch.dashscope.aliyuncs.com/compatible-mode/v1", "beijing"),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "singapore"),
        ("https://DashScope-Intl.aliyuncs.com:443/compatible-mode/v1", "singapore"),
        ("https://ws-1.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", "beijing"),
        ("https://ws-1.ap-southeast-1.maas.aliyuncs.com/compatible-mode/v1", "singapore"),
        ("https://ws-1.eu-central-1.maas.aliyuncs.com/compatible-mode/v1", "eu-central-1"),
        ("https://cn-hongkong.dashscope.aliyuncs.com/compatible-mode/v1", "cn-hongkong"),
        ("https://dashscope.aliyuncs.com.example.org/v1", None),
        ("https://notdashscope.aliyuncs.com/v1", None),
        ("http://127.0.0.1:8765/v1", None),
    ],
)
def test_the_region_of_an_address(base_url: str, region: str | None) -> None:
    assert region_of(base_url) == region


def test_an_address_of_the_vendor_says_the_region_of_an_endpoint() -> None:
    abroad = "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"
    assert resolve_profile(EndpointConfig(name="custom", base_url=abroad)).region == "singapore"
    moved = resolve_profile(EndpointConfig(name="dashscope-beijing", base_url=abroad))
    assert (moved.region, moved.key_region) == ("singapore", "singapore")
    proxy = resolve_profile(EndpointConfig(name="litellm", base_url=abroad))
    assert proxy.region is None


def test_the_simulator_needs_neither_address_nor_key() -> None:
    profile = resolve_profile(EndpointConfig(name="simulator"))
    assert (profile.embedded, profile.base_url) == (True, None)


def test_a_simulator_of_another_process_is_asked_with_the_key_that_opens_it(
    make_config: MakeConfig,
) -> None:
    with Simulator(SimulatorOptions()) as elsewhere:
        endpoint = {"name": "simulator", "base_url": elsewhere.base_url}
        record = asyncio.run(run_batch(make_config(prompts(2), endpoint=endpoint))).record
    assert (record.exit_code, list(record.counts.cost)) == (0, ["USD"])


def test_the_key_is_read_from_the_named_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", f" {SECRET}\n")
    profile = resolve_profile(EndpointConfig(name="dashscope-beijing", api_key_env="OTHER_KEY"))
    assert read_api_key(profile) == ApiKey(SECRET)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.setenv("OTHER_KEY", SECRET)
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("DASHSCOPE_API_KEY", value)
    with pytest.raises(ConfigError, match="export DASHSCOPE_API_KEY=") as refused:
        read_api_key(PROFILES["dashscope-beijing"])
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "spoilt", [f"{SECRET}\nX-Evil: 1", f"{SECRET} x", f"{SECRET}é", f"{SECRET}\x7f"]
)
def test_a_key_that_is_no_header_value_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, spoilt: str
) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", spoilt)
    with pytest.raises(ConfigError, match="DASHSCOPE_API_KEY") as refused:
        read_api_key(PROFILES["dashscope-beijing"])
    assert SECRET not in str(refused.value)
