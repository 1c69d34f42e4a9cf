"""The shapes that all dialects share: chat.completion.chunk → Chunk. Pure.

The short way, for frames in the documented shape (Model Studio chat reference, 2026: members may be
null, absent or in any order). What has any other shape goes the long way, through `forgiving`.
"""

from typing import Any

import msgspec

from omni_batch.stream.finish_reasons import finish_reason
from omni_batch.stream.forgiving import ID_CHARS
from omni_batch.stream.usage import read_usage
from omni_batch.types import Chunk

_NULL = b"null"


class _Audio(msgspec.Struct):
    data: str | None = None
    transcript: str | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    audio: _Audio | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None
    index: int | None = 0
    message: Any = None
    text: Any = None
    error: Any = None


class _Frame(msgspec.Struct):
    choices: list[_Choice]
    usage: msgspec.Raw = msgspec.Raw(_NULL)
    id: str | None = None
    modality: str | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Frame)
_NO_AUDIO, _NO_DELTA, _NO_CHOICE = _Audio(), _Delta(), _Choice()


def decode_frame(payload: bytes) -> Chunk | None:
    """A frame in the documented shape as a Chunk; None for anything else.

    vllm-omni marks a chunk of speech with a top-level `modality` and puts the sound under
    `content`; all others have `delta.audio`.
    """
    try:
        frame = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    choices = frame.choices
    choice = choices[0] if choices else _NO_CHOICE
    # One answer, in pieces. An error, a whole message or another choice needs a closer look.
    if len(choices) > 1 or choice.index or choice.message or choice.text:
        return None
    if frame.error or choice.error:
        return None
    delta = choice.delta or _NO_DELTA
    audio = delta.audio or _NO_AUDIO
    content_is_sound = frame.modality == "audio"
    chunk = Chunk(
        text="" if content_is_sound else delta.content or "",
        transcript=audio.transcript or "",
        reasoning=delta.reasoning_content or delta.reasoning or "",
        audio_base64=(delta.content if content_is_sound else audio.data) or "",
        finish_reason=finish_reason(choice.finish_reason) if choice.finish_reason else None,
        response_id=frame.id[:ID_CHARS] if frame.id else None,
        refusal=delta.refusal or "",
    )
    return chunk if bytes(frame.usage) == _NULL else _with_usage(chunk, frame.usage)


def _with_usage(chunk: Chunk, wire: msgspec.Raw) -> Chunk:
    """Decoded apart from its frame, so that an invalid number in it never loses a paid answer."""
    try:
        usage, doubts = read_usage(msgspec.json.decode(wire))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return chunk
    return chunk._replace(usage=usage, doubts=doubts)
