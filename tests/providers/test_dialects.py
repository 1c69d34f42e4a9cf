"""Each dialect's requests, byte for byte where they differ; replies are in test_replies."""

from pathlib import Path
from typing import Any

import msgspec
import pybase64
import pytest

from omni_batch.errors import MediaError
from omni_batch.providers.body import Body
from omni_batch.providers.dialects import DIALECTS
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
    body: Body = DIALECTS[name].encode(asked)
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
    "vllm-omni": {"modalities": ["text", "audio"]},
    "sglang-omni": {"modalities": ["text", "audio"], "audio": {"format": "wav"}},
    "openai": {"modalities": ["text", "audio"], "audio": {"voice": "V", "format": "pcm16"}},
}


@pytest.mark.parametrize("name", SPEECH)
async def test_speech_is_asked_for_in_each_servers_way(name: str) -> None:
    tree = await sent(name, request("Hi", wants_audio=True, voice="V"))
    assert {key: tree[key] for key in ("modalities", "audio") if key in tree} == SPEECH[name]
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


@pytest.mark.parametrize("name", sorted(DIALECTS.keys() - {"dashscope-batch-chat"}))
async def test_usage_is_always_asked_for_and_options_are_sent(name: str) -> None:
    tree = await sent(name, request("Hi", options={"temperature": 0.5, "seed": 0}))
    assert tree["stream"] is True
    assert tree["stream_options"] == {"include_usage": True}
    assert (tree["temperature"], tree["seed"]) == (0.5, 0)


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


async def test_pixels_and_frames_stand_beside_the_medium() -> None:
    options = {"fps": 1.0, "max_pixels": 500_000, "total_pixels": 9_000_000}
    tree = await sent("dashscope", request(IMAGE, VIDEO, "What?", media_options=options))
    image, video, text = tree["messages"][0]["content"]
    assert image == {
        "type": "image_url",
        "image_url": {"url": "https://x/i.jpg"},
        "max_pixels": 500_000,
    }
    assert {key: video[key] for key in options} == options
    assert text == {"type": "text", "text": "What?"}


def test_a_temporary_upload_is_said_in_a_header() -> None:
    stored = Media("image", "i", url="oss://bucket/i.jpg")
    assert DIALECTS["dashscope"].encode(request(stored)).headers == {
        "X-DashScope-OssResourceResolve": "enable"
    }
    assert DIALECTS["dashscope"].encode(request(IMAGE)).headers == {}
