"""Each dialect's replies, recorded in tests/streams/dialects with invented values: same answer."""

import struct
from pathlib import Path
from typing import Any

import pytest

from omni_batch.errors import OmniBatchError, SpeechMissing, StreamError
from omni_batch.jobs.output import read_line
from omni_batch.jobs.reply import Replies
from omni_batch.providers.api_key import KeyRedactor
from omni_batch.providers.dialects import DIALECTS
from omni_batch.stream.assemble import Ending
from omni_batch.types import Response
from tests.support.replies import read_reply

RECORDED = Path(__file__).parents[1] / "streams" / "dialects"
SOUND = b"".join(struct.pack("<h", (n * 37) % 2000 - 1000) for n in range(480))
SPEAKING = ["dashscope", "vllm-omni", "sglang-omni", "openai", "litellm"]
THINKING = ["vllm", "dashscope-batch-chat"]
BY_FILE = {name for name, dialect in DIALECTS.items() if dialect.files}
STREAMING = sorted(name for name, dialect in DIALECTS.items() if dialect.streams)


def read(name: str, data: bytes, size: int = 10**6, **how: Any) -> tuple[Response, bytes]:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    proves = DIALECTS[name].bill_proves_end
    return read_reply(*pieces, bill_proves_end=proves, **how)


def recorded(name: str) -> bytes:
    (path,) = RECORDED.glob(f"{name}.*")
    return path.read_bytes()


def test_every_dialect_has_a_recorded_reply() -> None:
    assert {path.stem for path in RECORDED.iterdir()} == DIALECTS.keys()


@pytest.mark.parametrize("name", sorted(DIALECTS.keys() - BY_FILE))
@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_all_say_the_same(name: str, size: int) -> None:
    response, sound = read(name, recorded(name), size, wants_audio=name in SPEAKING)
    assert response.text == "Two cats."
    assert response.finish_reason == "stop"
    assert response.usage is not None
    assert (response.usage.prompt_tokens, response.usage.total_tokens) == (20, 32)
    assert sound == (SOUND if name in SPEAKING else b"")
    assert response.reasoning == ("Hm. So." if name in THINKING else None)


@pytest.mark.parametrize("name", STREAMING)
@pytest.mark.parametrize("ending", ["orderly", "broken"])
def test_a_reply_that_breaks_off_before_its_reason_is_no_success(name: str, ending: Ending) -> None:
    data = recorded(name)
    reason = data.index(b'finish_reason":"')
    for end in range(data.index(b"}", reason)):
        with pytest.raises(StreamError):
            read(name, data[:end], ending=ending, wants_audio=name in SPEAKING)


@pytest.mark.parametrize("name", STREAMING)
def test_a_reply_that_breaks_off_behind_its_bill_is_whole(name: str) -> None:
    data = recorded(name)
    billed = data.index(b'usage":{"')
    bill_ends = data.index(b"\n", billed)
    for end in range(bill_ends, len(data)):
        cut = read(name, data[:end], ending="broken", wants_audio=name in SPEAKING)
        assert cut == read(name, data, wants_audio=name in SPEAKING)


@pytest.mark.parametrize("name", sorted(BY_FILE))
def test_a_line_of_a_file_says_the_same(name: str) -> None:
    line = read_line(recorded(name))
    assert line is not None
    replies = Replies(KeyRedactor(), quota_is_transient=DIALECTS[name].quota_is_transient)
    response = replies.response(line, thinking=None)
    assert (response.text, response.finish_reason) == ("Two cats.", "stop")
    assert response.usage is not None
    assert (response.usage.prompt_tokens, response.usage.total_tokens) == (20, 32)


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
