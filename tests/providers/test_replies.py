"""Each dialect's replies, recorded in tests/streams/dialects with invented values: same answer."""

import struct
from pathlib import Path

import pytest

from omni_batch.errors import OmniBatchError, SpeechMissing, StreamError
from omni_batch.providers.dialects import DIALECTS
from omni_batch.stream.assemble import Assembler
from omni_batch.stream.chunks import decode
from omni_batch.stream.sse import SseDecoder
from omni_batch.types import Chunk, Response

RECORDED = Path(__file__).parents[1] / "streams" / "dialects"
SOUND = b"".join(struct.pack("<h", (n * 37) % 2000 - 1000) for n in range(480))
SPEAKING = ["dashscope", "vllm-omni", "sglang-omni", "openai", "litellm"]
THINKING = ["vllm", "dashscope-batch-chat"]


def chunks(name: str, data: bytes, size: int) -> list[Chunk]:
    if not DIALECTS[name].streams:
        return [decode(data), Chunk(done=True)]
    decoder = SseDecoder()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return [decode(payload) for piece in pieces for payload in decoder.feed(piece)]


def read(name: str, data: bytes, size: int = 10**6, **wants: bool) -> tuple[Response, bytes]:
    assembler = Assembler(wants_audio=wants.get("wants_audio", False))
    sound = b"".join([assembler.feed(chunk) for chunk in chunks(name, data, size)])
    response, last = assembler.finish()
    return response, sound + last


def recorded(name: str) -> bytes:
    (path,) = RECORDED.glob(f"{name}.*")
    return path.read_bytes()


def test_every_dialect_has_a_recorded_reply() -> None:
    assert {path.stem for path in RECORDED.iterdir()} == DIALECTS.keys()


@pytest.mark.parametrize("name", sorted(DIALECTS))
@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_all_say_the_same(name: str, size: int) -> None:
    response, sound = read(name, recorded(name), size, wants_audio=name in SPEAKING)
    assert response.text == "Two cats."
    assert response.finish_reason == "stop"
    assert response.usage is not None
    assert (response.usage.prompt_tokens, response.usage.total_tokens) == (20, 32)
    assert sound == (SOUND if name in SPEAKING else b"")
    assert response.reasoning == ("Hm. So." if name in THINKING else None)


@pytest.mark.parametrize("name", sorted(DIALECTS.keys() - {"dashscope-batch-chat"}))
def test_a_reply_that_breaks_off_anywhere_is_no_success(name: str) -> None:
    data = recorded(name)
    for end in range(len(data) - len("[DONE]\n\n")):
        with pytest.raises(StreamError):
            read(name, data[:end])


def test_a_whole_reply_that_breaks_off_is_no_success() -> None:
    data = recorded("dashscope-batch-chat")
    for end in range(len(data)):
        with pytest.raises(OmniBatchError):
            read("dashscope-batch-chat", data[:end])


@pytest.mark.parametrize("name", ["vllm-omni", "sglang-omni", "openai"])
def test_a_server_that_stays_silent_fails_the_item(name: str) -> None:
    silent = b"\n\n".join(
        event
        for event in recorded(name).split(b"\n\n")
        if b'"data"' not in event and b'"content":"UklG' not in event
    )
    with pytest.raises(SpeechMissing):
        read(name, silent, wants_audio=True)
