"""What is refused before a row is looked at, and what a plan knows."""

from pathlib import Path
from typing import Any

import pytest

from omni_batch.catalogue.tokens import PromptEstimate, image_tokens
from omni_batch.config import CostLimit, parse_config
from omni_batch.errors import ConfigError
from omni_batch.planning.plan import Plan, make_plan
from omni_batch.types import Cost, Message, Request, Usage


def plan(**tree: Any) -> Plan:
    config = parse_config({"manifest": {"path": "rows.csv"}, **tree})
    return make_plan(config, needs_key=False)


SELF_HOSTED = "http://127.0.0.1:8000/v1"
SPEECH = {"modalities": ["text", "audio"], "voice": "Cherry"}
VLLM = {"name": "vllm", "base_url": SELF_HOSTED}
VLLM_OMNI = {"name": "vllm-omni", "base_url": SELF_HOSTED}
OPENAI = {"name": "openai"}
COST = {"max_cost": 1}
BEIJING, SINGAPORE = {"name": "dashscope-beijing"}, {"name": "dashscope-singapore"}
CUSTOM_SINGAPORE = {
    "name": "custom",
    "base_url": "https://ws.ap-southeast-1.maas.aliyuncs.com/compatible-mode/v1",
}
WORKSPACE = {"name": "dashscope-workspace", "workspace": "ws", "region": "us-east-1"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"endpoint": VLLM, "request": SPEECH}, "vllm.* does not speak"),
    ({"endpoint": VLLM_OMNI, "request": SPEECH, "model": "qwen3.8-omni-flash"}, "not speak: set"),
    ({"endpoint": {"name": "vllm"}}, "needs endpoint.base_url"),
    ({"endpoint": {"name": "custom", "base_url": SELF_HOSTED, "dialect": "vlm"}}, "mean vllm"),
    ({"endpoint": {"name": "dashscope-workspace", "workspace": "ws"}}, "endpoint.region"),
    ({"endpoint": {**WORKSPACE, "region": "singapore"}}, "did you mean ap-southeast-1"),
    ({"request": SPEECH, "model": "qwen3.8-omni-flash"}, "does not speak: set.*choose a model"),
    ({"request": SPEECH, "model": "qwen3.5-plus"}, "qwen3.5-plus does not speak: set"),
    ({"endpoint": SINGAPORE, "model": "qwen-omni-turbo-2025-01-19"}, "is offered in beijing; endp"),
    ({"endpoint": SINGAPORE, "model": "qwen-omni-turbo-0119"}, "use an endpoint in beijing"),
    ({"endpoint": CUSTOM_SINGAPORE, "model": "qwen-omni-turbo-0119"}, "custom is in singapore"),
    ({"endpoint": WORKSPACE, "model": "qwen-omni-turbo-0119"}, "is in us-east-1"),
    ({"endpoints": [BEIJING, SINGAPORE]}, "both read DASHSCOPE_API_KEY.*set api_key_env for one"),
    ({"endpoints": [BEIJING, CUSTOM_SINGAPORE]}, "a key is bound to one region"),
    ({"endpoints": [WORKSPACE, BEIJING], "model": "qwen3.8-omni-flash"}, "us-east-1 and beijing"),
    ({"request": {**SPEECH, "thinking": True}}, "thinking: false"),
    ({"request": {"thinking": True}, "model": "qwen-omni-turbo"}, "no thinking mode"),
    ({"request": {"fps": 1}}, "fps is 1.0, but qwen3-omni-flash does not take it"),
    ({"request": {"max_tokens": 20_000}}, "takes 16,384 at most"),
    ({"request": {"top_k": 3}, "endpoint": OPENAI}, "openai servers don't take request.top_k"),
    ({"request": {"fps": 1, "top_k": 3}, "endpoint": OPENAI}, "request.fps.*; .*request.top_k"),
    ({"media": {"transport": "upload"}, "endpoint": OPENAI}, "no temporary storage"),
    ({"catalogue": "gone.toml"}, "catalogue gone.toml"),
    ({"model": "qwen3-omni-flash-realtime"}, "WebSocket"),
    ({"endpoint": {"name": "dashscope-batch-chat"}}, "of the omni models it has qwen3.5-omni-plus"),
    ({"budget": COST, "endpoint": VLLM}, "no price of qwen3-omni-flash at endpoint vllm is known"),
    ({"budget": COST, "model": "qwen2.5-omni-7b"}, "no price.*or set budget.max_tokens"),
    ({"budget": COST, "model": "my-own"}, "no price of my-own at endpoint simulator is known"),
    ({"budget": {"max_cost": "5 EUR"}}, "max_cost is 5 EUR, but simulator is paid in USD; write"),
]


@pytest.mark.parametrize(("tree", "hint"), REFUSED, ids=[hint for _, hint in REFUSED])
def test_what_an_endpoint_or_model_can_not_do_is_refused(tree: dict[str, Any], hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        plan(**tree)


def test_every_endpoint_makes_a_plan() -> None:
    for name in ("simulator", "dashscope-beijing", "dashscope-batch-chat", "openai"):
        assert (
            plan(endpoint={"name": name}, model="qwen3.5-omni-plus").endpoints[0].profile.name
            == name
        )
    for name in ("vllm", "vllm-omni", "sglang-omni", "litellm", "custom"):
        assert plan(endpoint={"name": name, "base_url": SELF_HOSTED}).endpoints[0].dialect


def test_a_workspace_has_a_host_of_its_own() -> None:
    endpoint = {"name": "dashscope-workspace", "workspace": "ws-1", "region": "ap-southeast-1"}
    found = plan(endpoint=endpoint)
    assert found.endpoints[0].profile.base_url == (
        "https://ws-1.ap-southeast-1.maas.aliyuncs.com/compatible-mode/v1"
    )
    assert found.endpoints[0].price is not None
    assert found.endpoints[0].price.region == "singapore"


@pytest.mark.parametrize(
    ("quota", "in_flight"),
    [
        ({}, 60),
        ({"requests_per_minute": 900}, 512),
        ({"requests_per_minute": 200}, 200),
        ({"requests_per_minute": 5}, 16),
        ({"requests_per_minute": 900, "max_in_flight": 7}, 7),
    ],
)
def test_as_many_are_in_flight_as_the_rate_needs_for_answers_of_a_minute(
    quota: dict[str, float], in_flight: int
) -> None:
    found = plan(endpoint={"name": "dashscope-beijing"}, model="qwen3.5-omni-plus", quota=quota)
    assert found.endpoints[0].quota.max_in_flight == in_flight


def test_numbers_that_the_config_leaves_open_are_known_as_the_catalogue_s() -> None:
    quota = {"tokens_per_minute": 5000}
    found = plan(endpoint={"name": "dashscope-beijing"}, model="qwen3.5-omni-plus", quota=quota)
    assert found.endpoints[0].default_limits == ("requests_per_minute", "max_in_flight")


def test_batch_chat_is_half_the_price_and_has_limits_of_its_own() -> None:
    live = plan(endpoint={"name": "dashscope-beijing"}, model="qwen3.5-omni-plus")
    cheap = plan(endpoint={"name": "dashscope-batch-chat"}, model="qwen3.5-omni-plus")
    assert live.endpoints[0].price is not None
    assert cheap.endpoints[0].price is not None
    assert cheap.endpoints[0].price.text_in == pytest.approx(live.endpoints[0].price.text_in / 2)  # type: ignore[operator]
    assert live.endpoints[0].quota.requests_per_minute == 60
    limits = cheap.endpoints[0].quota
    assert (limits.requests_per_minute, limits.tokens_per_minute) == (60_000, None)
    assert (limits.max_in_flight, live.endpoints[0].quota.max_in_flight) == (1_000, 60)
    assert cheap.endpoints[0].dialect.first_byte_timeout_s > 3600
    assert (
        cheap.endpoints[0].profile.storage_url == live.endpoints[0].profile.base_url
    )  # the queue's host stores nothing


def test_files_and_key_never_leave_a_base_url_of_your_own() -> None:
    endpoint = {"name": "dashscope-batch-chat", "base_url": "http://127.0.0.1:1/v1"}
    assert (
        plan(endpoint=endpoint, model="qwen3.5-omni-plus").endpoints[0].profile.storage_url is None
    )


def test_an_answer_that_is_thought_out_may_take_longer_to_begin() -> None:
    assert plan().endpoints[0].first_byte_timeout_s == 120
    assert plan(request={"thinking": True}).endpoints[0].first_byte_timeout_s == 300
    assert plan(retry={"first_byte_timeout_s": 7}).endpoints[0].first_byte_timeout_s == 7


def test_options_change_the_estimate() -> None:
    """Golden of the vendor's formula: 3000 x 4000 pixels in high resolution."""
    sharp = plan(model="qwen3.5-omni-plus", request={"vl_high_resolution_images": True}).rules
    assert image_tokens(3000, 4000, sharp) == 11_752
    assert image_tokens(1080, 1920, sharp) == 2_042
    small = plan(model="qwen3.5-omni-plus", request={"max_pixels": 102_400, "fps": 1}).rules
    assert image_tokens(3000, 4000, small) <= 102
    assert small.video_sample_fps == 1


def test_limits_of_the_vendor_do_not_bind_a_server_of_your_own() -> None:
    own = plan(endpoint={"name": "vllm", "base_url": SELF_HOSTED}, model="qwen3-omni-flash")
    assert (own.endpoints[0].limits, own.endpoints[0].quota.requests_per_minute) == (None, None)
    assert plan(endpoint={"name": "dashscope-beijing"}).endpoints[0].limits is not None


def test_an_overlay_changes_the_catalogue(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.toml"
    overlay.write_text("[models.qwen3-omni-flash.quota]\nrequests_per_minute = 600\n")
    found = plan(catalogue=str(overlay), endpoint={"name": "dashscope-beijing"})
    assert found.endpoints[0].quota.requests_per_minute == 600


def test_a_voice_that_is_not_listed_is_a_warning_with_the_nearest() -> None:
    (doubt,) = plan(request={**SPEECH, "voice": "cherri"}).doubts
    assert "did you mean Cherry?" in doubt.message
    (doubt,) = plan(request={"voice": "cherri"}).doubts
    assert doubt.rule == "voice-without-speech"


def test_a_silent_endpoint_of_a_spoken_run_misses_no_voice() -> None:
    both = [
        {"name": "dashscope-beijing", "rows": "spoken"},
        {"name": "dashscope-beijing", "label": "quiet", "rows": "silent"},
    ]
    asked = {**SPEECH, "voice": "Cherry", "spoken_rows": "with_voice"}
    assert "voice-without-speech" not in {
        d.rule for d in plan(endpoints=both, request=asked).doubts
    }


def rules(found: Plan) -> list[str]:
    return [doubt.rule for doubt in found.doubts]


def test_a_voice_that_only_one_edition_has_is_doubted_with_the_snapshot_that_has_it() -> None:
    (doubt,) = plan(request={**SPEECH, "voice": "Ono Anna"}).doubts
    assert doubt.rule == "voice-of-one-edition"
    assert "set model: qwen3-omni-flash-2025-12-01" in doubt.message
    assert "such as Cherry" in doubt.message


@pytest.mark.parametrize(
    ("model", "voice", "expected"),
    [
        ("qwen3-omni-flash", "Cherry", []),
        ("qwen3-omni-flash", "Kiki", []),
        ("qwen3-omni-flash", "Nobody", ["voice-not-listed"]),
        ("qwen3-omni-flash-2025-12-01", "Ono Anna", []),
        ("qwen3-omni-flash-2025-09-15", "Ono Anna", ["voice-not-listed"]),
        ("qwen3-omni-flash-0915", "Kiki", []),
        ("qwen2.5-omni-7b", "Ethan", []),
        ("qwen2.5-omni-7b", "Cherry", ["voice-of-one-edition"]),
        ("qwen2.5-omni-7b", "Serena", ["voice-not-listed"]),
        ("qwen-omni-turbo-0326", "Serena", []),
    ],
)
def test_voices_by_model_and_edition(model: str, voice: str, expected: list[str]) -> None:
    assert rules(plan(model=model, request={**SPEECH, "voice": voice})) == expected


def test_a_voice_that_no_row_speaks_with_is_not_doubted() -> None:
    request = {**SPEECH, "voice": "Nobody", "spoken_rows": "with_voice"}
    assert plan(request=request).doubts == ()


def test_a_region_that_the_catalogue_does_not_know_is_a_warning() -> None:
    (doubt,) = plan(endpoint=WORKSPACE).doubts
    assert doubt.rule == "region-not-listed"
    assert "beijing and singapore" in doubt.message
    assert "us-east-1" in doubt.message
    assert plan(endpoint=WORKSPACE, model="qwen3.8-omni-flash").doubts == ()


def test_a_region_of_your_own_model_is_kept_to(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.toml"
    overlay.write_text(
        "[models.mine]\nlike = 'qwen3-omni-flash'\nregions = ['singapore']\nunverified = []\n"
    )
    with pytest.raises(ConfigError, match="mine is offered in singapore"):
        plan(catalogue=str(overlay), model="mine", endpoint=BEIJING)
    assert plan(catalogue=str(overlay), model="mine", endpoint=SINGAPORE).doubts == ()


def test_two_regions_with_a_key_each_make_a_plan() -> None:
    found = plan(endpoints=[BEIJING, {**SINGAPORE, "api_key_env": "SINGAPORE_KEY"}])
    assert [endpoint.profile.key_region for endpoint in found.endpoints] == ["beijing", "singapore"]


def test_two_variables_with_the_same_key_are_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-marker-0123456789")
    monkeypatch.setenv("SINGAPORE_KEY", "sk-marker-0123456789")
    endpoints = [BEIJING, {**SINGAPORE, "api_key_env": "SINGAPORE_KEY"}]
    config = parse_config({"manifest": {"path": "rows.csv"}, "endpoints": endpoints})
    with pytest.raises(ConfigError, match=r"have the same key.*set SINGAPORE_KEY") as refused:
        make_plan(config)
    assert "marker" not in str(refused.value)
    monkeypatch.setenv("SINGAPORE_KEY", "sk-another-0123456789")
    assert len(make_plan(config).endpoints) == 2


def test_one_key_serves_one_region_and_servers_of_your_own() -> None:
    cheap = {"name": "dashscope-batch-chat", "rows": "silent"}
    own = {**SINGAPORE, "base_url": SELF_HOSTED}
    assert len(plan(endpoints=[cheap, BEIJING], model="qwen3.5-omni-plus").endpoints) == 2
    assert len(plan(endpoints=[BEIJING, own]).endpoints) == 2


def test_a_rehearsal_takes_a_model_of_any_region() -> None:
    assert plan(endpoint={"name": "simulator"}, model="qwen-omni-turbo-0119").endpoints


def test_a_model_that_ends_is_a_warning_at_the_vendors_own_service() -> None:
    (doubt,) = plan(endpoint=BEIJING, model="qwen-omni-turbo").doubts
    assert doubt.rule == "model-ends"
    assert "2026-10-10" in doubt.message
    assert "use qwen3.5-omni-plus" in doubt.message
    assert plan(model="qwen-omni-turbo").doubts == ()
    assert plan(endpoint=BEIJING).doubts == ()


def test_prices_of_third_parties_are_a_warning() -> None:
    assert rules(plan(endpoint=SINGAPORE, model="qwen3.5-plus")) == ["prices-unverified"]
    assert rules(plan(endpoint=VLLM, model="qwen3.5-plus")) == []


def test_a_prompt_beyond_the_known_price_is_a_warning() -> None:
    endpoint = plan(endpoint=SINGAPORE, model="qwen3.5-plus").endpoints[0]
    request = Request("qwen3.5-plus", (Message("user", ("Hi",)),), "text")
    assert endpoint.judge(request, PromptEstimate(text=256_000)).doubts == ()
    (doubt,) = endpoint.judge(request, PromptEstimate(text=256_001)).doubts
    assert doubt.rule == "price-of-longer-prompt"
    assert "256,001" in doubt.message


def test_a_custom_endpoint_at_a_host_of_the_vendor_has_its_prices() -> None:
    price = plan(endpoint=CUSTOM_SINGAPORE).endpoints[0].price
    assert price is not None
    assert (price.region, price.currency) == ("singapore", "USD")
    elsewhere = {"name": "custom", "base_url": SELF_HOSTED}
    for model in ("qwen3-omni-flash", "qwen3.8-omni-flash"):  # the latter has international prices
        assert plan(endpoint=elsewhere, model=model).endpoints[0].price is None


def test_what_the_catalogue_is_not_sure_of_is_a_warning() -> None:
    (doubt,) = plan(model="qwen3.5-omni-plus", request={"max_tokens": 65_537}).doubts
    assert "65,536" in doubt.message
    assert "not sure of this limit" in doubt.message


def test_an_unknown_model_is_a_warning_with_the_nearest_name() -> None:
    (doubt,) = plan(model="qwen3-omni-flsh").doubts
    assert "did you mean qwen3-omni-flash?" in doubt.message


# --- what a budget is counted in ---


@pytest.mark.parametrize(
    ("endpoint", "model", "currency"),
    [
        ("dashscope-beijing", "qwen3-omni-flash", "CNY"),
        ("dashscope-singapore", "qwen3-omni-flash", "USD"),
        ("dashscope-singapore", "qwen3.5-omni-plus", "CNY"),
    ],
)
def test_a_bare_amount_is_in_what_the_endpoint_is_paid_in(
    endpoint: str, model: str, currency: str
) -> None:
    known = plan(endpoint={"name": endpoint}, model=model, budget={"max_cost": 2})
    assert known.config.budget.max_cost == CostLimit(2, currency)
    with pytest.raises(ConfigError, match=f"is paid in {currency}; write it in {currency}"):
        plan(endpoint={"name": endpoint}, model=model, budget={"max_cost": "2 XYZ"})


def test_endpoints_of_two_currencies_have_no_budget_of_either() -> None:
    endpoints = [{"name": "dashscope-beijing"}, {"name": "dashscope-singapore"}]
    for limit in (1, "1 CNY", "1 USD"):
        with pytest.raises(ConfigError, match="one currency, not CNY and USD"):
            plan(endpoints=endpoints, budget={"max_cost": limit})


def test_one_endpoint_without_a_price_is_enough_to_refuse() -> None:
    with pytest.raises(ConfigError, match="at endpoint vllm is known"):
        plan(endpoints=[{"name": "dashscope-beijing"}, VLLM], budget=COST)
    assert plan(endpoints=[{"name": "dashscope-beijing"}, VLLM], budget={"max_tokens": 9})


OWN_PRICES = """
[models.qwen3-omni-flash.prices]
vllm.EUR = { text_in = 1.0, text_out = 2.0 }
"""


def test_prices_of_ones_own_may_stand_under_the_name_of_an_endpoint(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(OWN_PRICES, encoding="utf-8")
    known = plan(endpoint=VLLM, catalogue=str(mine), budget={"max_cost": "5 EUR"})
    assert known.pricing("vllm", spoken=False).cost(Usage(1_000_000, 1_000_000, 2_000_000)) == (
        Cost(3.0, "EUR")
    )
    assert plan(endpoint={"name": "dashscope-beijing"}, catalogue=str(mine)).currencies == ("CNY",)
    pictures = PromptEstimate(text=20, image=100)
    asked = Request("qwen3-omni-flash", (Message("user", ("Hi",)),), "text")
    bounded = known.endpoint("vllm").judge(asked, pictures)
    assert [broken.rule for broken in bounded.violations] == ["price-unknown"]
    free = plan(endpoint=VLLM, catalogue=str(mine)).endpoint("vllm").judge(asked, pictures)
    assert (free.violations, [doubt.rule for doubt in free.doubts]) == ((), ["price-unknown"])
    assert "no price for images and video" in free.doubts[0].message
    named = {**VLLM_OMNI, "label": "vllm"}
    with pytest.raises(ConfigError, match="no price for the speech of qwen3-omni-flash"):
        plan(endpoint=named, catalogue=str(mine), request=SPEECH, budget=COST)


@pytest.mark.parametrize("host", ["203.0.113.5", "server", "[2001:db8::1]:8000", "0.0.0.0"])
def test_a_key_goes_to_another_machine_in_clear_text_only_where_that_is_said(host: str) -> None:
    endpoint = {"name": "custom", "base_url": f"http://{host}/v1", "api_key_env": "MY_KEY"}
    with pytest.raises(ConfigError, match=r"MY_KEY would travel in clear .*insecure: true"):
        plan(endpoint=endpoint)
    (doubt,) = plan(endpoint={**endpoint, "insecure": True}).doubts
    assert doubt.rule == "key-in-clear"


@pytest.mark.parametrize(
    "endpoint",
    [
        {"name": "custom", "base_url": "http://127.0.0.2/v1"},
        {"name": "custom", "base_url": "http://[::1]/v1"},
        {"name": "custom", "base_url": "http://localhost:8000/v1"},
        {"name": "vllm", "base_url": "http://203.0.113.5/v1"},
        {"name": "custom", "base_url": "https://203.0.113.5/v1", "api_key_env": "MY_KEY"},
    ],
)
def test_what_nobody_can_read_on_the_way_is_not_doubted(endpoint: dict[str, Any]) -> None:
    assert plan(endpoint=endpoint).doubts == ()


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (
            {"name": "dashscope-singapore"},
            "DASHSCOPE_API_KEY goes to h.test, not to dashscope-intl",
        ),
        ({"name": "custom"}, "DASHSCOPE_API_KEY goes to h.test"),
    ],
)
def test_a_key_that_goes_to_another_host_than_its_own_is_told(
    endpoint: dict[str, Any], words: str
) -> None:
    doubts = plan(endpoint={**endpoint, "base_url": "https://h.test/v1"}).doubts
    assert [doubt.rule for doubt in doubts] == ["key-goes-elsewhere"]
    assert words in doubts[0].message
