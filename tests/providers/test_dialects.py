"""Each dialect's requests, byte for byte where they differ; replies are in test_replies."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pybase64
import pytest

from omni_batch.catalogue.tokens import PromptEstimate
from omni_batch.errors import MediaError
from omni_batch.providers.body import Body
from omni_batch.providers.dialects import DIALECTS
from omni_batch.requests.request_options import REQUEST_OPTIONS
from omni_batch.requests.rules import options, server
from omni_batch.requests.rules.context import RuleContext
from omni_batch.requests.validate import Verdict, judge
from omni_batch.types import Frames, Media, Message, Part, Request

IMAGE = Media("image", "i", url="https://x/i.jpg", mime_type="image/jpeg", format="jpeg")
VIDEO = Media("video", "v", url="https://x/v.mp4", mime_type="video/mp4", format="mp4")


@pytest.fixture
def sound(tmp_path: Path) -> Media:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF-not-really")
    return Media("audio", "a", path=path, size_bytes=15, mime_type="audio/wav", format="wav")


def request(*parts: Part, **more: Any) -> Request:
    return Request("m", (Message("user", parts),), "text", **more)


async def sent(name: str, asked: Request) -> dict[str, Any]:
    return await tree_of(DIALECTS[name].encode(asked))


async def tree_of(body: Body) -> dict[str, Any]:
    content = b"".join([piece async for piece in body.stream()])
    assert len(content) == body.content_length
    tree: dict[str, Any] = msgspec.json.decode(content)
    return tree


BASE64 = pybase64.b64encode(b"RIFF-not-really").decode()
SOUND_PARTS = {
    "dashscope": {
        "type": "input_audio",
        "input_audio": {"data": f"data:;base64,{BASE64}", "format": "wav"},
    },
    "vllm": {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{BASE64}"}},
    "vllm-omni": {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{BASE64}"}},
    "openai": {"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}},
}
SOUND_PARTS["litellm"] = SOUND_PARTS["dashscope-batch-chat"] = SOUND_PARTS["dashscope"]


@pytest.mark.parametrize("name", SOUND_PARTS)
async def test_sound_has_a_form_for_each_server(name: str, sound: Media) -> None:
    tree = await sent(name, request(sound, "What?"))
    assert tree["messages"][0]["content"] == [SOUND_PARTS[name], {"type": "text", "text": "What?"}]


async def test_sglang_omni_takes_media_beside_the_messages(sound: Media) -> None:
    tree = await sent("sglang-omni", request(IMAGE, sound, IMAGE, VIDEO, "What?"))
    assert tree["messages"] == [{"role": "user", "content": "What?"}]
    assert tree["images"] == ["https://x/i.jpg"] * 2
    assert tree["audios"] == [f"data:audio/wav;base64,{BASE64}"]
    assert tree["videos"] == ["https://x/v.mp4"]


SPEECH = {
    "dashscope": {"modalities": ["text", "audio"], "audio": {"voice": "V", "format": "wav"}},
    "litellm": {"modalities": ["text", "audio"], "audio": {"voice": "V", "format": "wav"}},
    "vllm-omni": {"modalities": ["text", "audio"], "voice": "V"},
    "sglang-omni": {"modalities": ["text", "audio"], "audio": {"format": "wav"}},
    "openai": {"modalities": ["text", "audio"], "audio": {"voice": "V", "format": "pcm16"}},
}


@pytest.mark.parametrize("name", SPEECH)
async def test_speech_is_asked_for_in_each_servers_way(name: str) -> None:
    tree = await sent(name, request("Hi", wants_audio=True, voice="V"))
    assert {key: tree[key] for key in ("modalities", "audio", "voice") if key in tree} == SPEECH[
        name
    ]
    assert DIALECTS[name].speaks


def test_who_does_not_speak_is_never_asked_to() -> None:
    assert not DIALECTS["vllm"].speaks
    assert not DIALECTS["dashscope-batch-chat"].speaks


async def test_vllm_thinks_by_its_chat_template() -> None:
    tree = await sent("vllm", request("Hi", thinking=False))
    assert tree["chat_template_kwargs"] == {"enable_thinking": False}
    assert "modalities" not in tree
    assert "enable_thinking" not in tree


async def test_batch_chat_is_not_streamed() -> None:
    tree = await sent("dashscope-batch-chat", request("Hi", thinking=True))
    assert tree == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "enable_thinking": True,
    }
    assert not DIALECTS["dashscope-batch-chat"].streams


@pytest.mark.parametrize("name", [name for name, dialect in DIALECTS.items() if dialect.streams])
async def test_usage_is_always_asked_for_and_options_are_sent(name: str) -> None:
    tree = await sent(name, request("Hi", options={"temperature": 0.5, "seed": 0}))
    assert tree["stream"] is True
    assert tree["stream_options"] == {"include_usage": True}
    assert (tree["temperature"], tree["seed"]) == (0.5, 0)


@pytest.mark.parametrize(("thinking", "said"), [(None, False), (False, False), (True, True)])
async def test_a_line_of_a_file_says_whether_to_think_and_asks_for_no_stream(
    thinking: bool | None, said: bool
) -> None:
    tree = await sent("dashscope-batch", request("Hi", thinking=thinking))
    assert tree == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "enable_thinking": said,
    }
    assert "enable_thinking" not in await sent("openai-batch", request("Hi"))


@pytest.mark.parametrize(
    ("name", "part"),
    [("openai", VIDEO), ("openai", Frames((IMAGE, IMAGE))), ("vllm", Frames((IMAGE, IMAGE))),
     ("sglang-omni", Frames((IMAGE, IMAGE)))],
)  # fmt: skip
def test_a_part_without_a_form_is_refused(name: str, part: Part) -> None:
    with pytest.raises(MediaError, match=f"dialect {name} do not take"):
        DIALECTS[name].encode(request(part))


async def test_bare_base64_needs_the_bytes() -> None:
    heard = Media("audio", "a", url="data:audio/wav;base64,AAAA", format="wav")
    tree = await sent("openai", request(heard))
    assert tree["messages"][0]["content"][0]["input_audio"]["data"] == "AAAA"
    with pytest.raises(MediaError, match="needs its bytes"):
        DIALECTS["openai"].encode(request(Media("audio", "a", url="https://x/a.mp3", format="mp3")))


# --- Whatever is asked for is sent, refused or doubted: every option at every server ---

SERVERS = (
    *("dashscope", "dashscope-batch-chat", "litellm", "openai"),
    *("vllm", "vllm-omni", "sglang-omni"),
    *("dashscope-batch", "openai-batch"),
)
LIKE = {"dashscope-batch": "dashscope-batch-chat", "openai-batch": "openai"}
"""What goes as files is asked for as it is of the same service's live API."""
MARKS = {"s": "sent", "d": "sent and doubted", "x": "not sent and doubted", "r": "refused"}
OPTIONS: dict[str, tuple[str, Any]] = {  # a mark for each server, a value
    "temperature": ("s s s s s s s", 0.25),
    "top_p": ("s s s s s s s", 0.75),
    "top_k": ("s s s r s s s", 7),
    "presence_penalty": ("s s s s s s r", 0.125),
    "repetition_penalty": ("s s s r s s s", 1.125),
    "max_tokens": ("s s s s s s s", 77),
    "seed": ("s s s s s s s", 777),
    "stop": ("s s s s s s s", "END"),
    "thinking_budget": ("s s s r r r r", 99),
    "reasoning_effort": ("s s s s s s r", "low"),
    "enable_search": ("s s s r r r r", True),
    "vl_high_resolution_images": ("s s s r r r r", True),
    "use_multichannel": ("s s s r r r r", True),
    "enable_thinking": ("s s s r r r r", True),
    "preserve_thinking": ("s s s r r r r", True),
    "search_options": ("s s s r r r r", {"search_strategy": "agent"}),
    "tools": ("s s s s s s r", [{"type": "function"}]),
    "tool_choice": ("s s s s s s r", "required"),
    "fps": ("s s s r r r s", 3.5),
    "min_pixels": ("s s s r r r s", 5_001),
    "max_pixels": ("s s s r r r s", 5_002),
    "total_pixels": ("s s s r r r s", 5_003),
    "detail": ("d d d s d d r", "low"),
}
WISHES: dict[str, tuple[str, dict[str, Any], Any]] = {
    "thinking on": ("s s s r s s r", {"thinking": True}, True),
    "thinking off": ("s s s x s s x", {"thinking": False}, False),
    "a voice": ("s - s s - s r", {"wants_audio": True, "voice": "Ann"}, "Ann"),
    "a default voice": (
        "s - s s - x x", {"wants_audio": True, "voice": "Ann", "voice_is_default": True}, "Ann",
    ),
}  # fmt: skip


def judged(name: str, asked: Request) -> Verdict:
    context = RuleContext(asked, None, PromptEstimate(), DIALECTS[name])
    return judge(context, (*options.RULES, *server.RULES))


async def outcome(name: str, asked: Request, option: str, value: Any) -> str:
    found = judged(name, asked)
    if found.violations:
        return "refused"
    members = members_of(await sent(name, asked))
    there = (option, value) in members or (f"video_{option}", value) in members
    said = "sent" if there else "not sent"
    return f"{said} and doubted" if found.doubts else said


def members_of(tree: Any) -> list[tuple[str, Any]]:
    """Names and values at any depth."""
    if isinstance(tree, list):
        return [member for part in tree for member in members_of(part)]
    own = list(tree.items()) if isinstance(tree, dict) else []
    return own + [member for _, value in own for member in members_of(value)]


def mark_of(marks: str, name: str) -> str:
    """What becomes of a wish at a server."""
    alone = (server for server in SERVERS if server not in LIKE)
    return dict(zip(alone, marks.split(), strict=True))[LIKE.get(name, name)]


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("place", ["config", "messages"])
async def test_no_option_is_dropped(name: str, option: str, place: str) -> None:
    marks, value = OPTIONS[option]
    is_openai = name.startswith("openai")
    beside = REQUEST_OPTIONS[option].beside
    medium = IMAGE if beside == {"image"} or is_openai else VIDEO
    if place == "config":
        asked = request(medium, **{"media_options" if beside else "options": {option: value}})
    elif beside:
        asked = request(replace(medium, options=((option, value),)))
    else:
        return
    if option in ("fps", "total_pixels") and is_openai:
        return  # of videos, which it does not take
    assert await outcome(name, asked, option, value) == MARKS[mark_of(marks, name)]


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("wish", WISHES)
async def test_no_wish_is_dropped(name: str, wish: str) -> None:
    marks, wanted, value = WISHES[wish]
    mark = "-" if name in LIKE and "voice" in wish else mark_of(marks, name)
    if mark != "-":  # it does not speak at all
        member = "voice" if "voice" in wanted else "enable_thinking"
        found = await outcome(name, request("Hi", **wanted), member, value)
        assert found == MARKS[mark]
        named = DIALECTS[name].voice_of(request("Hi", **wanted))
        assert named == ("Ann" if "voice" in wish and mark == "s" else None)


def test_every_option_and_every_server_is_in_the_table() -> None:
    assert OPTIONS.keys() == REQUEST_OPTIONS.keys()
    assert set(SERVERS) == DIALECTS.keys()
    for dialect in DIALECTS.values():
        named = (dialect.parameters or frozenset()) | dialect.doubted_parameters
        assert named | dialect.instead.keys() <= REQUEST_OPTIONS.keys()


async def test_what_extra_holds_besides_goes_out_as_it_is() -> None:
    for name in SERVERS:
        asked = request("Hi", options={"min_p": 0.0625})
        assert await outcome(name, asked, "min_p", 0.0625) == "sent"


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("own", [{}, {"response_format": {"type": "text"}}])
async def test_a_schema_goes_to_who_holds_answers_to_it(name: str, own: dict[str, Any]) -> None:
    asked = request("Hi", options=own, response_format=None if own else {"type": "json_schema"})
    tree = await tree_of(DIALECTS[name].body(asked))
    held = {"type": "json_schema"} if DIALECTS[name].holds_to_schema else None
    assert tree.get("response_format") == (own.get("response_format") or held)


async def test_options_of_one_medium_stand_beside_it_alone() -> None:
    asked = request(
        replace(IMAGE, options=(("detail", "low"), ("max_pixels", 9_000))),
        IMAGE,
        media_options={"max_pixels": 500_000},
    )
    first, second = (await sent("dashscope", asked))["messages"][0]["content"]
    assert first["image_url"] == {"url": "https://x/i.jpg", "detail": "low"}
    assert (first["max_pixels"], second["max_pixels"]) == (9_000, 500_000)
    assert second["image_url"] == {"url": "https://x/i.jpg"}


async def test_sglang_omni_has_members_of_its_request_for_videos() -> None:
    tree = await sent("sglang-omni", request(replace(VIDEO, options=(("fps", 1.5),))))
    assert tree["video_fps"] == 1.5


async def test_the_format_that_a_row_gives_goes_with_a_url() -> None:
    heard = Media("audio", "a", options=(("format", "wav"),), url="https://x/a", format="mp3")
    part = (await sent("dashscope", request(heard)))["messages"][0]["content"][0]
    assert part["input_audio"] == {"data": "https://x/a", "format": "wav"}


async def test_pixels_and_frames_stand_beside_the_medium() -> None:
    beside = {"fps": 1.0, "max_pixels": 500_000, "total_pixels": 9_000_000}
    tree = await sent("dashscope", request(IMAGE, VIDEO, "What?", media_options=beside))
    image, video, text = tree["messages"][0]["content"]
    assert image == {
        "type": "image_url",
        "image_url": {"url": "https://x/i.jpg"},
        "max_pixels": 500_000,
    }
    assert {key: video[key] for key in beside} == beside
    assert text == {"type": "text", "text": "What?"}


def test_a_temporary_upload_is_said_in_a_header() -> None:
    stored = Media("image", "i", url="oss://bucket/i.jpg")
    assert DIALECTS["dashscope"].encode(request(stored)).headers == {
        "X-DashScope-OssResourceResolve": "enable"
    }
    assert DIALECTS["dashscope"].encode(request(IMAGE)).headers == {}
