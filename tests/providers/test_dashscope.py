"""The dialect on the wire: a request as exact JSON, files streamed into it, events read back."""

import base64
import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.errors import MediaError
from omni_batch.providers.body import Base64File, Body
from omni_batch.providers.dialects.dashscope import encode
from omni_batch.types import Chunk, Frames, Media, Message, Part, Request, Usage
from tests.support.replies import chunk_of

COMMON = {"stream": True, "stream_options": {"include_usage": True}}


def request(*parts: Part, **members: Any) -> Request:
    return Request("qwen3-omni-flash", (Message("user", parts),), "text", **members)


def url(kind: Any, name: str = "x") -> Media:
    return Media(kind, name, url=f"https://example.org/{name}", format="mp3")


def file(path: Path, data: bytes, kind: Any = "image") -> Media:
    path.write_bytes(data)
    return Media(
        kind, path.name, path=path, mime_type="image/png", format="wav", size_bytes=len(data)
    )


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def sent(body: Body) -> bytes:
    return b"".join([piece async for piece in body.stream()])


async def content(*parts: Part) -> Any:
    """What one user turn becomes."""
    return json.loads(await sent(encode(request(*parts))))["messages"][0]["content"]


# --- The whole request ---


async def test_a_request_for_text() -> None:
    assert json.loads(await sent(encode(request("Hi")))) == {
        "model": "qwen3-omni-flash",
        "messages": [{"role": "user", "content": "Hi"}],
        "modalities": ["text"],
        **COMMON,
    }


async def test_a_plain_text_model_is_asked_without_modalities() -> None:
    plain = replace(request("Hi"), model="qwen3.5-plus", omni=False)
    assert json.loads(await sent(encode(plain))) == {
        "model": "qwen3.5-plus",
        "messages": [{"role": "user", "content": "Hi"}],
        **COMMON,
    }


async def test_a_request_for_speech() -> None:
    spoken = request("Hi", wants_audio=True, voice="Cherry", options={"top_k": 3, "seed": 0})
    assert json.loads(await sent(encode(spoken))) == {
        "model": "qwen3-omni-flash",
        "messages": [{"role": "user", "content": "Hi"}],
        "modalities": ["text", "audio"],
        "audio": {"voice": "Cherry", "format": "wav"},
        "top_k": 3,
        "seed": 0,
        **COMMON,
    }


@pytest.mark.parametrize(
    ("thinking", "said"),
    [(None, {}), (True, {"enable_thinking": True}), (False, {"enable_thinking": False})],
)
async def test_thinking_is_a_top_level_member_or_left_out(
    thinking: bool | None, said: dict[str, bool]
) -> None:
    tree = json.loads(await sent(encode(request("Hi", thinking=thinking))))
    assert {key: tree[key] for key in tree if "think" in key} == said


async def test_turns_keep_their_order_and_roles() -> None:
    turns = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hi."), ("user", "Bye")]
    messages = tuple(Message(role, (text,)) for role, text in turns)  # type: ignore[arg-type]
    tree = json.loads(await sent(encode(Request("m", messages, "text"))))
    assert [(m["role"], m["content"]) for m in tree["messages"]] == turns


# --- Parts ---


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (url("image"), {"type": "image_url", "image_url": {"url": "https://example.org/x"}}),
        (
            url("audio"),
            {
                "type": "input_audio",
                "input_audio": {"data": "https://example.org/x", "format": "mp3"},
            },
        ),
        (url("video"), {"type": "video_url", "video_url": {"url": "https://example.org/x"}}),
        (
            Frames((url("image", "1"), url("image", "2"))),
            {"type": "video", "video": ["https://example.org/1", "https://example.org/2"]},
        ),
    ],
)
async def test_a_url_travels_as_it_is(part: Part, expected: object) -> None:
    assert await content(part, "Hm?") == [expected, {"type": "text", "text": "Hm?"}]


async def test_several_texts_are_lines_of_one() -> None:
    assert await content("a", "b") == "a\nb"


@pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc", bytes(range(256)) * 3000])
async def test_a_file_travels_as_a_data_uri(tmp_path: Path, data: bytes) -> None:
    image, sound, video = (
        file(tmp_path / kind, data, kind) for kind in ("image", "audio", "video")
    )
    assert await content(image, sound, video, Frames((image, image))) == [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{b64(data)}"}},
        {
            "type": "input_audio",
            "input_audio": {"data": f"data:;base64,{b64(data)}", "format": "wav"},
        },
        {"type": "video_url", "video_url": {"url": f"data:;base64,{b64(data)}"}},
        {"type": "video", "video": [f"data:image/png;base64,{b64(data)}"] * 2},
    ]


async def test_many_files_keep_their_places(tmp_path: Path) -> None:
    images = [file(tmp_path / str(n), str(n).encode()) for n in range(12)]
    (part,) = await content(Frames(tuple(images)))
    assert [base64.b64decode(uri.partition(",")[2]) for uri in part["video"]] == [
        str(n).encode() for n in range(12)
    ]


@settings(max_examples=25)
@given(text=st.text(), size=st.integers(0, 10))
async def test_the_length_on_the_wire_is_known_before_sending(
    tmp_path_factory: pytest.TempPathFactory, text: str, size: int
) -> None:
    image = file(tmp_path_factory.mktemp("f") / "f", b"x" * size)
    body = encode(request(image, text, image))
    wire = await sent(body)
    assert len(wire) == body.content_length
    assert json.loads(wire)["messages"][0]["content"][1]["text"] == text


async def test_a_body_can_be_sent_again(tmp_path: Path) -> None:
    body = encode(request(file(tmp_path / "f", b"abc")))
    assert await sent(body) == await sent(body)


async def test_a_body_without_files_is_one_piece() -> None:
    body = encode(request("Hi"))
    assert body.content() == await sent(body)


# --- Files that change ---


@pytest.mark.parametrize("size", [0, 1, 999, 1001, 2000])
async def test_a_file_that_changed_its_size_is_refused(tmp_path: Path, size: int) -> None:
    body = encode(request(file(tmp_path / "f", b"x" * 1000)))
    (tmp_path / "f").write_bytes(b"x" * size)
    with pytest.raises(MediaError, match="changed its size"):
        await sent(body)


async def test_a_file_that_grew_sends_no_byte_too_many(tmp_path: Path) -> None:
    body = Body((Base64File(tmp_path / "f", 3),))
    (tmp_path / "f").write_bytes(b"abcdef")
    stream = body.stream()
    assert await anext(stream) == b"YWJj"
    with pytest.raises(MediaError):
        await anext(stream)


async def test_a_file_that_vanished_is_refused(tmp_path: Path) -> None:
    body = encode(request(file(tmp_path / "f", b"x")))
    (tmp_path / "f").unlink()
    with pytest.raises(MediaError, match="can't be read any more: No such file"):
        await sent(body)


@pytest.mark.parametrize("known", [{}, {"path": Path("i")}, {"size_bytes": 3}])
def test_a_medium_that_was_never_loaded_is_refused(known: dict[str, Any]) -> None:
    with pytest.raises(MediaError, match="not a local file"):
        encode(request(Media("image", "i", **known)))


# --- Placeholders ---


@pytest.fixture
def marks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All placeholders that were drawn."""
    drawn, draw = list[str](), secrets.token_hex

    def token_hex(size: int) -> str:
        drawn.append(draw(size))
        return drawn[-1]

    monkeypatch.setattr(secrets, "token_hex", token_hex)
    return drawn


async def test_a_prompt_that_looks_like_a_placeholder_does_no_harm(
    tmp_path: Path, marks: list[str]
) -> None:
    image = file(tmp_path / "f", b"abc")
    await content(image)
    (mark,) = marks
    parts = await content(f"{mark} 0. -0.", image, mark)
    assert [part.get("text") for part in parts] == [f"{mark} 0. -0.", None, mark]
    assert parts[1]["image_url"]["url"] == "data:image/png;base64,YWJj"


def test_no_two_requests_share_a_placeholder(tmp_path: Path, marks: list[str]) -> None:
    image = file(tmp_path / "f", b"abc")
    for _ in range(100):
        encode(request(image, image))
    assert len(set(marks)) == 100
    assert all(len(mark) >= 32 for mark in marks)


# --- Events ---


@pytest.mark.parametrize(
    ("payload", "chunk"),
    [
        ("[DONE]", Chunk(done=True)),
        ('{"choices":[{"delta":{"content":"x"}}]}', Chunk(text="x")),
        ('{"choices":[{"delta":{"reasoning_content":"x"}}]}', Chunk(reasoning="x")),
        ('{"choices":[{"delta":{"audio":{"data":"AAAA"}}}]}', Chunk(audio_base64="AAAA")),
        ('{"choices":[{"delta":{"audio":{"transcript":"x"}}}]}', Chunk(transcript="x")),
        (
            '{"choices":[{"delta":{"content":"x","audio":{"data":"AAAA","id":"audio_1"}}}]}',
            Chunk(text="x", audio_base64="AAAA"),
        ),
        ('{"choices":[{"finish_reason":"stop","delta":null}]}', Chunk(finish_reason="stop")),
        ('{"choices":[{"finish_reason":"stop"}]}', Chunk(finish_reason="stop")),
        (
            '{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}',
            Chunk(usage=Usage(1, 2, 3)),
        ),
        ('{"choices":[],"id":"chatcmpl-1"}', Chunk(response_id="chatcmpl-1")),
        ('{"choices":[],"id":7}', Chunk()),
        ('{"choices":[],"code":"x","message":"y"}', Chunk()),  # a chunk with odd members
        ("{}", Chunk()),
    ],
)
def test_an_event_becomes_a_chunk(payload: str, chunk: Chunk) -> None:
    assert chunk_of(payload) == chunk
