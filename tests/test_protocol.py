"""The service's documented facts, row by row: what it says, takes, limits, counts and charges.

Numbers of sections are those of the protocol notes; rows that other tests name are not repeated.
The longer tables are in tests/streams/protocol; texts in them are the API's own.
"""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from omni_batch.catalogue import Model, catalogue
from omni_batch.catalogue.tokens import (
    audio_tokens,
    estimate_prompt,
    image_tokens,
    video_tokens,
)
from omni_batch.config import RequestConfig, RetryConfig, parse_config
from omni_batch.errors import AccountError, ConfigError, EndpointError, RateLimited
from omni_batch.planning.plan import Plan, make_plan
from omni_batch.providers.api_key import ApiKey
from omni_batch.providers.client import EndpointClient
from omni_batch.providers.dialects import DIALECTS
from omni_batch.providers.profiles import PROFILES
from omni_batch.requests.build import build_request
from omni_batch.requests.rules.context import RuleContext
from omni_batch.requests.validate import judge
from omni_batch.simulator import Simulator, SimulatorOptions, reply
from omni_batch.stream.service_errors import classify, request_id_of
from omni_batch.stream.usage import read_usage
from omni_batch.types import Frames, Item, Media, Message, Part, Request, Usage
from tests.conftest import KEY
from tests.support.replies import chunk_of

FLASH, FLASH_0915 = "qwen3-omni-flash", "qwen3-omni-flash-2025-09-15"
TURBO, OPEN, NEWEST = "qwen-omni-turbo", "qwen2.5-omni-7b", "qwen3.8-omni-flash"
PLUS, PLUS_FLASH = "qwen3.5-omni-plus", "qwen3.5-omni-flash"
CAPTIONER = "qwen3-omni-30b-a3b-captioner"
OLD, MIXING = (TURBO, OPEN, FLASH, FLASH_0915), (PLUS, PLUS_FLASH, NEWEST)
MIB = 2**20
TABLES = Path(__file__).with_name("streams") / "protocol"

IMAGE = Media("image", "i.jpg", url="https://h/i.jpg", format="jpeg")
AUDIO = Media("audio", "a.mp3", url="https://h/a.mp3", format="mp3")
VIDEO = Media("video", "v.mp4", url="https://h/v.mp4", format="mp4")
FRAMES = Frames((IMAGE,) * 4)


def table(name: str) -> list[list[str]]:
    """Rows of a table in tests/streams/protocol, the heading left out."""
    lines = (TABLES / f"{name}.tsv").read_text("utf-8").splitlines()[1:]
    return [line.split("\t") for line in lines]


def ids(rows: list[list[str]], columns: int = 1) -> list[str]:
    return [" ".join(row[:columns]) for row in rows]


def known(name: str) -> Model:
    model = catalogue().model(name)
    assert model is not None
    return model


def plan(**tree: Any) -> Plan:
    return make_plan(parse_config({"manifest": {"path": "rows.csv"}, **tree}), needs_key=False)


def broken(model: str, *parts: Part, thinking: bool = False, **asked: Any) -> set[str]:
    request = Request(model, (Message("user", parts),), "text", **asked)
    estimate = estimate_prompt(request, known(model).tokens)
    server = DIALECTS["dashscope"]
    speaks = known(model).audio_out
    context = RuleContext(request, known(model), estimate, server, thinking, speaks)
    return {violation.rule for violation in judge(context).violations}


def posted(sim: Simulator, parts: Any, **changes: Any) -> httpx.Response:
    messages = [{"role": "user", "content": parts}]
    body = {"model": FLASH, "stream": True, "messages": messages, **changes}
    url, headers = f"{sim.base_url}/chat/completions", {"authorization": f"Bearer {KEY}"}
    return httpx.post(url, json=body, headers=headers, timeout=60, trust_env=False)


@pytest.fixture(scope="module")
def service() -> Iterator[Simulator]:
    with Simulator(SimulatorOptions(api_key=KEY)) as sim:
        yield sim


@pytest.fixture
async def line(service: Simulator) -> AsyncIterator[EndpointClient]:
    client = EndpointClient(service.base_url, ApiKey(KEY), DIALECTS["dashscope"], RetryConfig(), 1)
    yield client
    await client.aclose()


async def asked(client: EndpointClient) -> None:
    body = DIALECTS["dashscope"].encode(Request(FLASH, (Message("user", ("Hi",)),), "text"))
    async with client.exchange(body) as exchange:
        async for chunks in exchange:
            for error in (chunk.error for chunk in chunks if chunk.error):
                raise error


# --- §1 Endpoints, keys, headers ---

HOSTS = [
    ("dashscope-beijing", "dashscope.aliyuncs.com", "beijing"),
    ("dashscope-singapore", "dashscope-intl.aliyuncs.com", "singapore"),
    ("dashscope-batch-chat", "batch.dashscope.aliyuncs.com", "beijing"),
]


@pytest.mark.parametrize(("name", "host", "region"), HOSTS, ids=[f"1 {row[0]}" for row in HOSTS])
def test_each_region_has_its_base_url(name: str, host: str, region: str) -> None:
    profile = PROFILES[name]
    assert profile.base_url == f"https://{host}/compatible-mode/v1"
    assert (profile.region, profile.api_key_env) == (region, "DASHSCOPE_API_KEY")


@pytest.mark.parametrize(
    "region",
    ["cn-beijing", "ap-southeast-1", "us-east-1", "eu-central-1", "ap-northeast-1", "cn-hongkong"],
)
def test_each_workspace_region_has_its_host_and_a_price_for_the_newest_model(region: str) -> None:
    """§1 Per workspace, §6 qwen3.8-omni-flash."""
    endpoint = {"name": "dashscope-workspace", "workspace": "ws", "region": region}
    found = plan(endpoint=endpoint, model=NEWEST)
    assert (
        found.endpoints[0].profile.base_url
        == f"https://ws.{region}.maas.aliyuncs.com/compatible-mode/v1"
    )
    assert found.endpoints[0].price is not None
    assert found.endpoints[0].price.currency == ("CNY" if region == "cn-beijing" else "USD")


async def test_only_headers_of_the_compatible_mode_are_sent(
    service: Simulator, line: EndpointClient
) -> None:
    """§1 Authorization, Content-Type; X-DashScope-SSE and -Async belong to the native protocol."""
    await asked(line)
    headers = service.requests[-1].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["content-type"] == "application/json"
    assert [name for name in headers if name.startswith("x-dashscope")] == []


# --- §2 Request ---

OPTIONS: list[tuple[str, Any, tuple[str, ...]]] = [
    ("enable_thinking", True, (FLASH, FLASH_0915, NEWEST)),
    ("thinking_budget", 1, (FLASH, FLASH_0915, NEWEST)),
    ("reasoning_effort", "max", (NEWEST,)),
    ("tools", [{}], (NEWEST,)),
    ("tool_choice", "auto", (NEWEST,)),
    ("use_multichannel", True, (NEWEST,)),
    ("preserve_thinking", True, (NEWEST,)),
    ("enable_search", True, MIXING),
    ("vl_high_resolution_images", True, MIXING),
]
BESIDE = ("fps", "min_pixels", "max_pixels", "total_pixels")


@pytest.mark.parametrize(("name", "value", "takers"), OPTIONS, ids=[f"2.4 {o[0]}" for o in OPTIONS])
def test_an_option_is_for_the_models_that_document_it(
    name: str, value: Any, takers: tuple[str, ...]
) -> None:
    for model in OLD + MIXING:
        refused = broken(model, "Hi", options={name: value}) == {"option-not-taken"}
        assert refused is (model not in takers), model


@pytest.mark.parametrize("name", BESIDE, ids=[f"2.2 {name}" for name in BESIDE])
def test_options_beside_media_are_for_the_newer_generations(name: str) -> None:
    for model in OLD + MIXING:
        found = broken(model, VIDEO, media_options={name: 9})
        assert found == (set() if model in MIXING else {"option-not-taken"}), model


RANGES: list[tuple[str, list[Any], list[Any]]] = [
    ("temperature", [0, 1.99], [-0.01, 2]),
    ("top_p", [0.001, 1], [0, 1.001]),
    ("top_k", [0, 1, 101], [-1, 1.5]),
    ("presence_penalty", [-2, 2], [-2.01, 2.01]),
    ("repetition_penalty", [0.01, 5], [0, -1]),
    ("seed", [0, 2**31 - 1], [-1, 2**31]),
    ("max_tokens", [1, 16_384], [0, -1]),
    ("thinking_budget", [1, 32_768], [0, -1]),
    ("fps", [0.1, 10], [0.09, 10.1]),
    ("reasoning_effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"], ["huge"]),
    ("modalities", [["text"], ["text", "audio"]], [["audio"], []]),
    ("stop", [["a"], ["a", "b"]], [[1, 2]]),
]


@pytest.mark.parametrize(("name", "good", "bad"), RANGES, ids=[f"2.4 {row[0]}" for row in RANGES])
def test_a_parameter_has_its_range(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        parse_config({"manifest": {"path": "r.csv"}, "request": {name: value}})
    for value in bad:
        with pytest.raises(ConfigError, match=f"request.{name}"):
            parse_config({"manifest": {"path": "r.csv"}, "request": {name: value}})


def test_a_thinking_budget_and_an_effort_exclude_each_other() -> None:
    """§2.4 thinking_budget."""
    with pytest.raises(ConfigError, match="exclude each other"):
        plan(model=NEWEST, request={"thinking_budget": 9, "reasoning_effort": "low"})


@pytest.mark.parametrize("name", ["stream", "stream_options", "modalities", "audio"])
def test_what_every_omni_model_needs_can_not_be_taken_away(name: str) -> None:
    """§2.4 stream must be true, include_usage is always on."""
    with pytest.raises(ConfigError, match=f"extra can't contain {name}"):
        plan(request={"extra": {name: None}})


@pytest.mark.parametrize("model", OLD + MIXING, ids=lambda name: f"2.3 {name}")
def test_a_turn_holds_one_kind_of_media_or_any_mix_by_the_generation(model: str) -> None:
    wanted = set() if model in MIXING else {"one-media-kind"}
    assert broken(model, "What?", IMAGE) == broken(model, IMAGE, IMAGE, "What?") == set()
    for second in (AUDIO, VIDEO, FRAMES):
        assert broken(model, IMAGE, second) == wanted
    several = set() if model in MIXING else {"audio-files"}
    assert broken(model, AUDIO, AUDIO) == several


@pytest.mark.parametrize("model", [*OLD, PLUS, PLUS_FLASH], ids=lambda name: f"2.3 {name}")
def test_the_role_is_primed_where_speech_ignores_the_system_message(model: str) -> None:
    config = RequestConfig(system="You cook.", modalities=("text", "audio"))
    turns = (Message("user", ("Hi",)),)
    request = build_request(Item("1", 0), turns, config, model, known(model))
    primed = model in (TURBO, OPEN)
    expected = ["user", "assistant", "user"] if primed else ["system", "user"]
    assert [message.role for message in request.messages] == expected


@pytest.mark.parametrize("first", ["text", "media"])
@pytest.mark.parametrize("more", [{}, {"format": "mp3"}], ids=["no format", "format"])
def test_parts_come_in_any_order_and_the_format_may_be_missing(
    service: Simulator, first: str, more: dict[str, str]
) -> None:
    """§2.2 Facts that break naive clients."""
    sound = {"type": "input_audio", "input_audio": {"data": "https://h/3s.mp3", **more}}
    parts = [{"type": "text", "text": "What?"}, sound]
    response = posted(service, parts if first == "text" else parts[::-1])
    assert (response.status_code, "3.0 seconds" in response.text) == (200, True)


# --- §3 Response stream ---


@pytest.mark.parametrize("name", ["x-request-id", "x-dashscope-request-id"])
def test_the_id_of_an_exchange_has_two_names(name: str) -> None:
    """§3.1 Request id."""
    assert request_id_of(httpx.Headers({name: "r"})) == "r"


@pytest.mark.parametrize(("_", "wire", "expected"), table("usage"), ids=ids(table("usage")))
def test_the_usage_of_the_published_samples_is_read(_: str, wire: str, expected: str) -> None:
    usage = json.loads(wire)
    totals = (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"])
    assert read_usage(usage)[0] == Usage(*totals, **json.loads(expected))


# --- §4 Errors: as the service words them, over the wire ---


@pytest.mark.parametrize("said", table("failures"), ids=ids(table("failures"), 4))
async def test_what_the_service_says_arrives_as_its_class(
    service: Simulator, line: EndpointClient, said: list[str]
) -> None:
    _, status, code, message, name = said
    service.script(reply.status(int(status), code=code, message=message))
    with pytest.raises(EndpointError) as caught:
        await asked(line)
    error = caught.value
    assert (type(error).__name__, error.http_status, error.code) == (name, int(status), code)
    assert message in str(error)
    assert error.request_id


def test_an_empty_purse_is_permanent_at_openai_alone() -> None:
    """§4.2 insufficient_quota, §10 quota_is_transient."""
    body = b'{"error":{"code":"insufficient_quota","message":"You exceeded your current quota"}}'
    for name, dialect in DIALECTS.items():
        error = classify(429, body, quota_is_transient=dialect.quota_is_transient)
        assert type(error) is (AccountError if name.startswith("openai") else RateLimited), name


def test_waits_are_those_of_the_notes() -> None:
    """§4.2 backoff, §3.7 idle timeout: 2 s doubling to 60 s; silence of 60 to 120 s."""
    policy = RetryConfig()
    assert (policy.first_wait_s, policy.max_wait_s) == (2, 60)
    assert 3 <= policy.max_attempts <= 5
    assert 60 <= policy.idle_timeout_s <= 120
    assert min(dialect.first_byte_timeout_s for dialect in DIALECTS.values()) == 120


# --- §5 Rate limits, §8 Models ---

NAMES = {
    FLASH: (FLASH, "qwen3-omni-flash-2025-12-01", FLASH_0915),
    TURBO: (TURBO, f"{TURBO}-latest", f"{TURBO}-2025-03-26", f"{TURBO}-2025-01-19", OPEN),
    PLUS: (PLUS, PLUS_FLASH, f"{PLUS}-2026-03-15", f"{PLUS_FLASH}-2026-03-15"),
    NEWEST: (NEWEST,),
    CAPTIONER: (CAPTIONER,),
}
SPOKEN = {name: family for family, names in NAMES.items() for name in names}
EACH_NAME = pytest.mark.parametrize("name", SPOKEN)


@EACH_NAME
def test_each_name_has_its_rate(name: str) -> None:
    """§5 60 requests and 100,000 tokens a minute; unverified for the newest."""
    found = plan(model=name, endpoint={"name": "dashscope-beijing"}).endpoints[0].quota
    expected = (None, None) if name == NEWEST else (60, 100_000)
    assert (found.requests_per_minute, found.tokens_per_minute) == expected


TOKENS = {  # context, input, input thinking, chain of thought, output, thinking, speech
    FLASH: (65_536, 49_152, 16_384, 32_768, 16_384, "off", True),
    TURBO: (32_768, 30_720, None, None, 2_048, "no", True),
    PLUS: (262_144, None, None, None, 65_536, "no", True),
    NEWEST: (1_000_000, 991_808, 983_616, None, 131_072, "on", False),
    CAPTIONER: (65_536, None, None, None, None, "no", False),
}
MEDIA = {  # audio bytes, s, files; video bytes, s, files; frames
    FLASH: (100 * MIB, 1200, 1, 256 * MIB, 150, 1, 2, 128),
    TURBO: (10 * MIB, 180, 1, 150 * MIB, 40, 1, 4, 80),
    PLUS: (2048 * MIB, 10_800, 2048, 2048 * MIB, 3600, 512, 2, 2048),
}
MEDIA[NEWEST] = MEDIA[PLUS]


@EACH_NAME
def test_each_name_has_its_token_limits(name: str) -> None:
    """§8.1; None is undocumented."""
    model, expected = known(name), TOKENS[SPOKEN[name]]
    fields = ("context_tokens", "max_input_tokens", "max_input_tokens_thinking",
              "max_thinking_tokens", "max_output_tokens", "thinking", "audio_out")  # fmt: skip
    for field, value in zip(fields, expected, strict=True):
        assert value is None or getattr(model, field) == value, field


@EACH_NAME
def test_each_name_has_its_media_limits(name: str) -> None:
    """§2.5, §8.2."""
    limits = known(name).limits
    common = (limits.data_uri_max_bytes, limits.image_max_bytes, limits.image_min_px)
    assert (*common, limits.image_max_ratio, limits.video_min_s) == (10 * MIB, 10 * MIB, 11, 200, 2)
    assert limits.audio_containers == ("amr", "wav", "3gp", "3gpp", "aac", "mp3")
    assert limits.video_containers == ("mp4", "avi", "mkv", "mov", "flv", "wmv")
    if SPOKEN[name] in MEDIA:
        found = (limits.audio_max_bytes, limits.audio_max_s, limits.audio_files_max,
                 limits.video_max_bytes, limits.video_max_s, limits.video_files_max,
                 limits.frames_min, limits.frames_max)  # fmt: skip
        assert found == MEDIA[SPOKEN[name]]
    assert limits.base64_files_max == (250 if SPOKEN[name] in (PLUS, NEWEST) else None)


@pytest.mark.parametrize(("model", "voices"), table("voices"), ids=ids(table("voices")))
def test_each_generation_has_its_voices_on_both_sides(
    service: Simulator, model: str, voices: str
) -> None:
    """§8.3."""
    ids = voices.split(", ")
    assert sorted(known(model).voices) == sorted(ids)
    for voice in (*ids[:2], ids[-1]):
        audio = {"modalities": ["text", "audio"], "audio": {"voice": voice, "format": "wav"}}
        assert posted(service, "Hi", model=model, **audio).status_code == 200
    audio["audio"] = {"voice": "Tina" if model != PLUS else "Cherry", "format": "wav"}
    assert posted(service, "Hi", model=model, **audio).status_code == 400
    assert broken(model, "Hi", wants_audio=True, voice="Nobody") == set()  # lists drift


def test_dialect_voices_and_spoken_languages() -> None:
    """§8.3 Dialect voices, audio-output languages."""
    assert catalogue().dialects == {
        "Jada": "Shanghai", "Dylan": "Beijing", "Sunny": "Sichuan", "Eric": "Sichuan",
        "Li": "Nanjing", "Marcus": "Shaanxi", "Roy": "Minnan", "Peter": "Tianjin",
        "Rocky": "Cantonese", "Kiki": "Cantonese",
    }  # fmt: skip
    assert {*known(TURBO).speech_languages} == {*known(OPEN).speech_languages} == {"zh", "en"}
    listed = "zh en fr de ru it es pt ja ko th"
    assert known(FLASH).speech_languages == tuple(listed.split())
    assert [known(name).cloned_voices for name in (PLUS, FLASH)] == [True, False]


# --- §6 Prices, §7.2 Batch Chat ---


@pytest.mark.parametrize("row", table("prices"), ids=ids(table("prices"), 3))
def test_a_million_tokens_cost_what_the_list_says(row: list[str]) -> None:
    """§6."""
    model, region, currency, *listed = row
    price = known(model).price(region, currency)
    assert price is not None
    found = (price.text_in, price.audio_in, price.image_in, price.text_out, price.text_out_media)
    assert [*found, price.audio_out] == [float(rate) if rate else None for rate in listed]
    cached = 0.016 if (model, currency) == (NEWEST, "USD") else None
    assert (price.cached_in, price.currency) == (cached, currency)


def test_batch_chat_is_cheap_mute_whole_and_slow() -> None:
    """§7.2 how, omni models, wait, limits, price."""
    found = plan(endpoint={"name": "dashscope-batch-chat"}, model=PLUS)
    assert (
        found.endpoints[0].profile.price_factor,
        found.endpoints[0].dialect.speaks,
        found.endpoints[0].dialect.streams,
    ) == (0.5, False, False)
    assert found.endpoints[0].dialect.first_byte_timeout_s > 3600
    quota = found.endpoints[0].quota
    assert (quota.requests_per_minute, quota.tokens_per_minute) == (60_000, None)
    assert SimulatorOptions().batch_most_waiting == 10_000
    with pytest.raises(ConfigError, match="does not speak"):
        plan(endpoint={"name": "dashscope-batch-chat"}, model=PLUS,
             request={"modalities": ["text", "audio"]})  # fmt: skip


# --- §9 Tokens ---


@pytest.mark.parametrize(
    ("family", "name"), [(TURBO, OPEN), (PLUS, PLUS_FLASH), (PLUS, NEWEST), (FLASH, FLASH_0915)],
    ids=["9.1 2.5-7b", "9 3.5-flash", "9.2 3.8", "9 0915"],
)  # fmt: skip
def test_relatives_count_alike(family: str, name: str) -> None:
    ours, theirs = known(name).tokens, known(family).tokens
    assert image_tokens(480, 640, ours) == image_tokens(480, 640, theirs)
    assert video_tokens(720, 1280, 10, 30, ours) == video_tokens(720, 1280, 10, 30, theirs)
    assert audio_tokens(10, ours) == audio_tokens(10, theirs)


# --- §10 Equivalent servers ---


@pytest.mark.parametrize("row", table("servers"), ids=ids(table("servers")))
def test_each_server_says_no_in_its_own_shape(row: list[str]) -> None:
    """§10 errors."""
    _, status, body, expected, message = row
    inside = chunk_of(body).error if status == "200" else None
    error = inside or classify(int(status), body.encode())
    assert (type(error).__name__, message in str(error)) == (expected, True)


FLAGS = [  # name, forms, speaks, uploads, transient quota, media URLs
    ("dashscope", "image audio video frames", True, True, True, "image audio video"),
    ("dashscope-batch-chat", "image audio video frames", False, True, True, "image audio video"),
    ("vllm", "image audio video", False, False, True, "image audio video"),
    ("vllm-omni", "image audio video", True, False, True, "image audio video"),
    ("sglang-omni", "image audio video", True, False, True, "image audio video"),
    ("openai", "image audio", True, False, False, "image"),
    ("litellm", "image audio video", True, False, True, "image audio video"),
]


@pytest.mark.parametrize("flags", FLAGS, ids=[f"10 {row[0]}" for row in FLAGS])
def test_a_dialect_for_each_server(flags: Any) -> None:
    name, forms, speaks, uploads, transient, fetched = flags
    found = DIALECTS[name]
    assert found.takes == {"text", *forms.split()}
    assert (found.speaks, found.uploads, found.quota_is_transient) == (speaks, uploads, transient)
    assert found.fetches == {*fetched.split()}
