"""The shapes that all dialects share: chat.completion.chunk and chat.completion → Chunk. Pure.

Read forgivingly: members may be null, absent or in any order (Model Studio reference, 2026).
"""

from typing import Any

import msgspec

from omni_batch.errors import StreamError
from omni_batch.stream.service_errors import classify
from omni_batch.stream.sse import DONE
from omni_batch.stream.usage import parse_usage
from omni_batch.types import Chunk, Usage

_ID_CHARS = 200


class _Audio(msgspec.Struct):
    data: str | None = None
    transcript: str | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    audio: _Audio | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Frame(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = msgspec.Raw(b"null")
    id: Any = None
    modality: Any = None
    error: Any = None
    code: Any = None
    message: Any = None


_decoder = msgspec.json.Decoder(_Frame)


def decode(payload: bytes) -> Chunk:
    """One event's data, or a whole reply, as a Chunk. Unknown members are skipped.

    vllm-omni marks a chunk of speech with a top-level `modality` and puts the sound under
    `content`; all others have `delta.audio`.

    Raises:
        StreamError: the payload is not a chunk.
    """
    if payload.strip() == DONE:
        return Chunk(done=True)
    try:
        frame = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise StreamError(f"the service sent an event that is not a chunk: {exc}") from exc
    if frame.error or (frame.choices is None and frame.code and frame.message):
        return Chunk(error=classify(200, payload))
    choice = frame.choices[0] if frame.choices else _Choice()
    delta = choice.delta or choice.message or _Delta()
    audio = delta.audio or _Audio()
    content_is_sound = frame.modality == "audio"
    return Chunk(
        text="" if content_is_sound else delta.content or "",
        transcript=audio.transcript or "",
        reasoning=delta.reasoning_content or delta.reasoning or "",
        audio_base64=(delta.content if content_is_sound else audio.data) or "",
        finish_reason=choice.finish_reason,
        usage=_usage(frame.usage),
        response_id=frame.id[:_ID_CHARS] if isinstance(frame.id, str) else None,
    )


def _usage(wire: msgspec.Raw) -> Usage | None:
    """Decoded apart from its frame, so that an invalid number in it never loses a paid answer."""
    if bytes(wire) == b"null":  # of all chunks but the last
        return None
    try:
        return parse_usage(msgspec.json.decode(wire))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
