"""Frames in the documented shape are read the short way, and none of any other shape."""

import json
from typing import Any

import pytest

from omni_batch.stream.chunks import decode_frame
from omni_batch.stream.forgiving import decode_any
from omni_batch.stream.service_errors import classify
from omni_batch.stream.sse import Event
from omni_batch.types import Chunk, Usage

BILL = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}


def frame(choice: dict[str, Any] | None = None, **members: Any) -> bytes:
    choices = [] if choice is None else [{"index": 0, "finish_reason": None, **choice}]
    return json.dumps({"id": "chatcmpl-1", "choices": choices, "usage": None, **members}).encode()


DOCUMENTED = [
    (frame({"delta": {"role": "assistant", "content": ""}}), Chunk()),
    (frame({"delta": {"content": "Hi", "audio": None}}), Chunk(text="Hi")),
    (frame({"delta": {"reasoning_content": "Hm"}}), Chunk(reasoning="Hm")),
    (frame({"delta": {"reasoning": "Hm", "content": "Hi"}}), Chunk(text="Hi", reasoning="Hm")),
    (frame({"delta": {"audio": {"transcript": "Hi"}}}), Chunk(transcript="Hi")),
    (frame({"delta": {"audio": {"data": "AAAA"}}}), Chunk(audio_base64="AAAA")),
    (frame({"delta": {"content": "AAAA"}}, modality="audio"), Chunk(audio_base64="AAAA")),
    (frame({"delta": {"content": "Hi"}}, modality="text"), Chunk(text="Hi")),
    (frame({"delta": {"refusal": "I can't."}}), Chunk(refusal="I can't.")),
    (frame({"delta": {}, "finish_reason": "stop"}), Chunk(finish_reason="stop")),
    (frame({"index": None, "delta": None}), Chunk()),
    (frame(usage=BILL), Chunk(usage=Usage(9, 2, 11))),
]


@pytest.mark.parametrize(("payload", "chunk"), DOCUMENTED, ids=range(len(DOCUMENTED)))
def test_a_documented_frame_is_read_the_short_way(payload: bytes, chunk: Chunk) -> None:
    assert decode_frame(payload) == chunk._replace(response_id="chatcmpl-1")


@pytest.mark.parametrize(("payload", "chunk"), DOCUMENTED, ids=range(len(DOCUMENTED)))
def test_the_long_way_reads_the_same(payload: bytes, chunk: Chunk) -> None:
    assert decode_any(Event(payload), lambda body: classify(200, body), bytes) == [
        chunk._replace(response_id="chatcmpl-1")
    ]


HELLO = {"delta": {"content": "Hello"}}


@pytest.mark.parametrize(
    "payload",
    [
        frame(choices=[{"index": 0, **HELLO}, {"index": 1, **HELLO}]),
        frame({"index": 1, **HELLO}),
        frame({"message": {"content": "Hello"}}),
        frame({"text": "Hello"}),
        frame({"error": {"message": "no"}, **HELLO}),
        frame(HELLO, error={"message": "no"}),
        frame({"delta": {"content": ["Hello"]}}),
        frame({"delta": {"audio": "AAAA"}}),
        b'{"object": "list"}',
        b"[DONE]",
        b'{"choices": ["\xff"]}',
        b"[" * 100_000,
        b"",
    ],
    ids=range(13),
)
def test_anything_else_needs_a_closer_look(payload: bytes) -> None:
    assert decode_frame(payload) is None


def test_a_bill_that_can_not_be_read_loses_no_text() -> None:
    endless = b'{"choices": [{"delta": {"content": "Hi"}}], "usage": {"x": 1%s}}' % (b"0" * 10_000)
    assert decode_frame(endless) == Chunk(text="Hi")
