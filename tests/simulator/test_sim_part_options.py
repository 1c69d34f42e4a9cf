"""Options beside a picture or a video, several replies, and what one's own servers differ in."""

import base64
from typing import Any

import pytest

from omni_batch.simulator import Simulator
from tests.simulator import sim_media as media
from tests.simulator.sim_client import SPEECH, ask, body, events, pcm, post, refusal, text
from tests.simulator.sim_dialects import RAW_AUDIO, SAID, Start, pieces, whole

PATCH = 32 * 32
IMAGE_URL = "https://example.com/1920x1080.png"
SMALL_URL = "https://example.com/100x100.png"
CLIP_URL = "https://example.com/640x360/10s.mp4"
FRAME_URLS = [f"https://example.com/640x360/{number}.jpg" for number in range(6)]


def tokens(sim: Simulator, kind: str, part: Any, model: str = "qwen3.5-omni-plus") -> int:
    details = ask(sim, [part], model=model)[-1]["usage"]["prompt_tokens_details"]
    return int(details[f"{kind}_tokens"])


@pytest.mark.parametrize("model", ["qwen3.5-omni-plus", "qwen3-omni-flash"])
@pytest.mark.parametrize(
    ("url", "options", "least", "most"),
    [
        (IMAGE_URL, {"max_pixels": 100 * PATCH}, 80, 102),
        (SMALL_URL, {"min_pixels": 200 * PATCH}, 202, 230),
        (IMAGE_URL, {"min_pixels": 30 * PATCH, "max_pixels": 60 * PATCH}, 30, 62),
    ],
)
def test_pixels_beside_an_image_bound_its_tokens(
    sim: Simulator, model: str, url: str, options: Any, least: int, most: int
) -> None:
    assert least <= tokens(sim, "image", media.image(url, **options), model) <= most


@pytest.mark.parametrize(
    ("options", "least", "most"),
    [
        ({}, 2202, 2202),
        ({"fps": 1}, 1102, 1102),
        ({"max_pixels": 100 * PATCH}, 800, 1002),
        ({"min_pixels": 400 * PATCH}, 4002, 4602),
        ({"total_pixels": 800 * PATCH, "min_pixels": 10 * PATCH}, 500, 802),
    ],
)
def test_options_beside_a_video_bound_its_tokens(
    sim: Simulator, options: Any, least: int, most: int
) -> None:
    assert least <= tokens(sim, "video", media.video(CLIP_URL, **options)) <= most


def test_options_beside_frames_bound_their_tokens(sim: Simulator) -> None:
    usual = tokens(sim, "video", media.frames(FRAME_URLS))
    small = tokens(sim, "video", {**media.frames(FRAME_URLS), "max_pixels": 100 * PATCH})
    assert small <= 302 < usual


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (media.image(IMAGE_URL, max_pixels=0), "max_pixels parameter must be a positive integer"),
        (media.image(IMAGE_URL, max_pixels=16_777_217), "up to 16777216"),
        (media.image(IMAGE_URL, min_pixels=True), "min_pixels parameter must be a positive"),
        (media.image(IMAGE_URL, min_pixels=9, max_pixels=8), "must not be greater than max_pixels"),
        (media.video(CLIP_URL, max_pixels=2_048_001), "up to 2048000"),
        (media.video(CLIP_URL, total_pixels="all"), "total_pixels parameter must be a positive"),
        (media.video(CLIP_URL, total_pixels=184_549_377), "up to 184549376"),
        (media.video(CLIP_URL, fps=0), "Range of fps should be [0.1, 10.0]"),
    ],
)
def test_options_outside_their_range_are_refused(sim: Simulator, part: Any, said: str) -> None:
    status, _, message = refusal(post(sim, body([part], model="qwen3.5-omni-plus")))
    assert (status, said in message) == (400, True), message


def test_options_are_recorded_as_they_came(start: Start) -> None:
    sim = start("dashscope", keep_requests=1)
    part = media.video(CLIP_URL, fps=1, max_pixels=65_536)
    ask(sim, [part])
    assert sim.requests[-1].body["messages"][0]["content"] == [part]  # type: ignore[index]


def test_openai_looks_at_an_image_in_low_detail(start: Start) -> None:
    def image_tokens(detail: str) -> int:
        image = {"url": "https://example.com/640x480.png", "detail": detail}
        chunks = ask(start("openai"), [{"type": "image_url", "image_url": image}])
        return int(chunks[-1]["usage"]["prompt_tokens_details"]["image_tokens"])

    assert (image_tokens("high"), image_tokens("low")) == (302, 85)
    image = {"url": IMAGE_URL, "detail": "best"}
    refused = post(start("openai"), body([{"type": "image_url", "image_url": image}]))
    assert refused.json()["error"]["param"] == "image_url.detail"


# --- several replies ---


def by_index(chunks: list[dict[str, Any]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        words = choice["delta"].get("content") or ""
        found[choice["index"]] = found.get(choice["index"], "") + words
    return found


def test_an_omni_model_gives_one_reply(sim: Simulator) -> None:
    assert "Range of n should be [1, 1]" in refusal(post(sim, body(n=2)))[2]
    assert text(ask(sim, n=1)) == SAID


@pytest.mark.parametrize("dialect", ["dashscope", "vllm", "openai"])
def test_several_replies_take_turns(start: Start, dialect: str) -> None:
    chunks = ask(start(dialect), model="qwen-plus", n=2)
    assert by_index(chunks) == {0: SAID, 1: f"In other words (1): {SAID}"}
    turns = [chunk["choices"][0]["index"] for chunk in chunks if chunk["choices"]]
    assert turns[:4] == [0, 1, 0, 1]
    single = ask(start(dialect), model="qwen-plus")[-1]["usage"]["completion_tokens"]
    assert chunks[-1]["usage"]["completion_tokens"] > 2 * single


@pytest.mark.parametrize("dialect", ["dashscope", "vllm", "openai"])
def test_several_replies_come_in_one_answer(start: Start, dialect: str) -> None:
    answer = whole(start(dialect), model="qwen-plus", n=3)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in answer["choices"]}) == 3


# --- voices and downloads of one's own servers ---


def first_piece(sim: Simulator, **changes: Any) -> bytes:
    return next(
        base64.b64decode(delta["content"])
        for chunk in ask(sim, modalities=["text", "audio"], **changes)
        if chunk.get("modality") == "audio"
        for delta in [chunk["choices"][0]["delta"]]
        if delta.get("content")
    )


def test_vllm_omni_takes_a_voice_beside_the_messages(start: Start) -> None:
    sim = start("vllm-omni")
    usual, chelsie = first_piece(sim), first_piece(sim, voice="Chelsie")
    assert usual != chelsie
    assert chelsie == first_piece(sim, voice=" chelsie ") == first_piece(sim, speaker="CHELSIE")
    assert usual == first_piece(sim, audio={"voice": "Chelsie", "format": "wav"})


@pytest.mark.parametrize("modalities", [["text"], ["text", "audio"]])
def test_vllm_omni_knows_its_speakers(start: Start, modalities: list[str]) -> None:
    refused = post(start("vllm-omni"), body(voice="Cherry", modalities=modalities))
    message = refused.json()["error"]["message"]
    assert refused.status_code == 400
    assert message == "Invalid speaker 'Cherry'. Supported: aiden, chelsie, ethan"


def test_sglang_omni_speaks_as_it_always_does(start: Start) -> None:
    def speech(**changes: Any) -> list[bytes]:
        return pieces(ask(start("sglang-omni"), modalities=["text", "audio"], **changes))

    asked = {"voice": "Chelsie", "audio": {"voice": "Chelsie", "format": "wav"}}
    assert speech() == speech(**asked) != []


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("unreachable/a.png", 500, "Cannot connect to host media.example.com:443"),
        ("503/a.png", 500, "503, message='Service Unavailable', url='https://media.example.com/5"),
        ("timeout/a.png", 500, "Timeout on reading data"),
        ("404/a.png", 422, "404, message='Not Found'"),
    ],
)
@pytest.mark.parametrize("dialect", ["vllm", "vllm-omni"])
def test_vllm_fails_where_it_cannot_download(
    start: Start, dialect: str, path: str, status: int, said: str
) -> None:
    part = media.image(f"https://media.example.com/{path}")
    response = post(start(dialect), body([part]))
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, status)
    assert error["message"].startswith(said)


def test_the_hosted_service_names_a_download_that_failed(sim: Simulator) -> None:
    for path in ("unreachable", "503"):
        part = media.image(f"https://media.example.com/{path}/a.png")
        assert "Failed to download multimodal content" in refusal(post(sim, body([part])))[2]


def test_speech_is_one_reply_only(start: Start) -> None:
    audio = {**SPEECH, "audio": {"voice": "alloy", "format": "pcm16"}}
    chunks = events(post(start("openai"), body([RAW_AUDIO], n=2, **audio)).text)
    assert {choice["index"] for chunk in chunks for choice in chunk["choices"]} == {0}
    assert pcm(chunks)
