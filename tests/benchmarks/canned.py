"""A server that always gives the same answer, for next to no CPU: an event is a write of its own.

An answer has as many events as one of the real service: a caption of 60 pieces, or 5 s of speech in
25 pieces with its text (chat reference, 2026: 24 kHz, 16 bits).
"""

import asyncio
import base64
import json
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TEXT_PIECES = 60
SPEECH_S = 5.0
_SPEECH_PIECES, _SPOKEN_PIECES = 25, 20
SPEECH_EVENTS = _SPEECH_PIECES + _SPOKEN_PIECES + 4
_BYTES_PER_S = 48_000
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_Reply = list[bytes]


@contextmanager
def canned(pause_s: float = 0.0) -> Iterator[str]:
    """The base URL of such a server, a process of its own.

    Args:
        pause_s: between two events.
    """
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(there, pause_s), daemon=True
    )
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}/v1"
    finally:
        process.terminate()
        process.join(10)


def _serve(pipe: Any, pause_s: float) -> None:
    async def forever() -> None:
        replies = _packed(_text()), _packed(_speech())
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Connection(*replies, pause_s), "127.0.0.1", 0, backlog=4096
        )
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(forever())


class _Connection(asyncio.Protocol):
    def __init__(self, text: _Reply, speech: _Reply, pause_s: float) -> None:
        self._text, self._speech, self._pause_s = text, speech, pause_s
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if end and len(body) >= int(length or 0):
            self._received = b""
            self._answer(self._speech if b'"voice"' in body else self._text, 0)

    def _answer(self, pieces: _Reply, begin: int) -> None:
        for number in range(begin, len(pieces)):
            self._transport.write(pieces[number])
            if self._pause_s:
                later = asyncio.get_running_loop().call_later
                later(self._pause_s, self._answer, pieces, number + 1)
                return


def _packed(events: Iterator[dict[str, Any]]) -> _Reply:
    """Chunks of HTTP, the first one with the head of the reply."""
    lines = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]
    chunks = [b"%x\r\n%s\r\n" % (len(line), line) for line in (*lines, b"data: [DONE]\n\n")]
    return [_HEAD + chunks[0], *chunks[1:], b"0\r\n\r\n"]


def _text() -> Iterator[dict[str, Any]]:
    yield _event({"role": "assistant", "content": ""})
    for number in range(TEXT_PIECES):
        yield _event({"content": f" piece {number}"})
    yield _event({}, finish_reason="stop")
    yield _bill(text_tokens=TEXT_PIECES, audio_tokens=0)


def _speech() -> Iterator[dict[str, Any]]:
    yield _event({"role": "assistant", "content": ""})
    for number in range(_SPOKEN_PIECES):
        yield _event({"content": f" piece {number}"})
    sound = bytes(range(256)) * int(_BYTES_PER_S * SPEECH_S / _SPEECH_PIECES / 256)
    for _ in range(_SPEECH_PIECES):
        yield _event({"audio": {"data": base64.b64encode(sound).decode(), "id": "audio_1"}})
    yield _event({}, finish_reason="stop")
    yield _bill(text_tokens=_SPOKEN_PIECES, audio_tokens=int(SPEECH_S * 50))


def _event(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"delta": delta, "finish_reason": finish_reason, "index": 0, "logprobs": None}
    return {**_COMMON, "choices": [choice], "usage": None}


def _bill(text_tokens: int, audio_tokens: int) -> dict[str, Any]:
    completion = {"text_tokens": text_tokens, "audio_tokens": audio_tokens}
    usage = {
        "prompt_tokens": 20,
        "completion_tokens": text_tokens + audio_tokens,
        "total_tokens": 20 + text_tokens + audio_tokens,
        "completion_tokens_details": completion,
        "prompt_tokens_details": {"text_tokens": 20},
    }
    return {**_COMMON, "choices": [], "usage": usage}


_COMMON = {
    "id": "chatcmpl-0",
    "object": "chat.completion.chunk",
    "created": 1_790_000_000,
    "system_fingerprint": None,
    "model": "qwen3-omni-flash",
}
