"""The dialect of Model Studio's OpenAI-compatible chat: Request → Body, event → Chunk. Pure.

Source: Qwen-Omni guide and chat reference (Dec 2025 to autumn 2026). Three things differ from
OpenAI: sound travels as a data URI (bare base64 is refused), frames are a list under `video`, and
`enable_thinking` is a top-level member.
"""

from typing import Any, assert_never

import msgspec

from omni_batch.endpoints.body import Body, Inlined
from omni_batch.errors import MediaError, StreamError
from omni_batch.failures import classify
from omni_batch.sse import DONE
from omni_batch.types import Chunk, Frames, Media, Message, Part, Request
from omni_batch.usage import parse_usage

_DECLARED_AUDIO_FORMAT = "wav"  # the only documented value; what arrives is raw PCM


def encode(request: Request) -> Body:
    """The request as JSON; local files are read when the body is sent."""
    inlined = Inlined()
    tree: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(message, inlined) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        "modalities": ["text", "audio"] if request.wants_audio else ["text"],
        **request.sampling,
    }
    if request.wants_audio:
        tree["audio"] = {"voice": request.voice, "format": _DECLARED_AUDIO_FORMAT}
    if request.thinking is not None:
        tree["enable_thinking"] = request.thinking
    return Body.of(tree, inlined)


def _message(message: Message, inlined: Inlined) -> dict[str, Any]:
    if all(isinstance(part, str) for part in message.parts):
        return {"role": message.role, "content": "\n".join(map(str, message.parts))}
    return {"role": message.role, "content": [_part(part, inlined) for part in message.parts]}


def _part(part: Part, inlined: Inlined) -> dict[str, Any]:
    match part:
        case str(text):
            return {"type": "text", "text": text}
        case Frames(images):
            return {"type": "video", "video": [_url(image, inlined) for image in images]}
        case Media(kind="image"):
            return {"type": "image_url", "image_url": {"url": _url(part, inlined)}}
        case Media(kind="audio"):
            sound = {"data": _url(part, inlined), "format": part.format}
            return {"type": "input_audio", "input_audio": sound}
        case Media(kind="video"):
            return {"type": "video_url", "video_url": {"url": _url(part, inlined)}}
        case _:
            assert_never(part)  # type: ignore[arg-type]


def _url(media: Media, inlined: Inlined) -> str:
    if media.url is not None:
        return media.url
    if media.path is None or media.size_bytes is None:
        raise MediaError(f"{media.reference} was never loaded")
    # The vendor's samples leave the type of sound and video empty; only images carry one.
    mime_type = media.mime_type if media.kind == "image" else ""
    return f"data:{mime_type};base64,{inlined.placeholder(media.path, media.size_bytes)}"


class _Audio(msgspec.Struct):
    data: str | None = None
    transcript: str | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    audio: _Audio | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Frame(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    id: Any = None
    error: Any = None
    code: Any = None
    message: Any = None


_decoder = msgspec.json.Decoder(_Frame)


def decode(payload: bytes) -> Chunk:
    """One event's data as a Chunk. Unknown members are skipped, known ones may be null or absent.

    Raises:
        StreamError: the payload is no chunk.
    """
    if payload.strip() == DONE:
        return Chunk(done=True)
    try:
        frame = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise StreamError(f"the service sent an event that is no chunk: {exc}") from exc
    if frame.error or (frame.choices is None and frame.code and frame.message):
        return Chunk(error=classify(200, payload))
    choice = frame.choices[0] if frame.choices else _Choice()
    delta = choice.delta or _Delta()
    audio = delta.audio or _Audio()
    return Chunk(
        text=delta.content or "",
        transcript=audio.transcript or "",
        reasoning=delta.reasoning_content or "",
        audio_base64=audio.data or "",
        finish_reason=choice.finish_reason,
        usage=parse_usage(frame.usage),
        response_id=frame.id if isinstance(frame.id, str) else None,
    )
