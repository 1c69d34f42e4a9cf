"""Model Studio's OpenAI-compatible chat.

Three things differ from OpenAI: sound travels as a data URI (bare base64 is refused), frames are a
list under `video`, and `enable_thinking` is a top-level member.
"""

from typing import Any, assert_never

from omni_batch.providers.body import Body, Inlined
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.encoding import data_url, message, streaming
from omni_batch.requests.request_options import REQUEST_OPTIONS
from omni_batch.stream.chunks import decode
from omni_batch.types import MODALITIES, Frames, Media, Part, Request, kind_of

_DECLARED_AUDIO_FORMAT = "wav"  # the only documented value; what arrives is raw PCM
_RESOLVE_OSS = {"X-DashScope-OssResourceResolve": "enable"}


def encode(request: Request) -> Body:
    """The request as JSON; local files are read when the body is sent."""
    inlined = Inlined()
    tree = streaming(request)
    tree["messages"] = messages(request, inlined)
    tree["modalities"] = ["text", "audio"] if request.wants_audio else ["text"]
    if request.wants_audio:
        tree["audio"] = {"voice": request.voice, "format": _DECLARED_AUDIO_FORMAT}
    if request.thinking is not None:
        tree["enable_thinking"] = request.thinking
    return Body.of(tree, inlined, headers(request))


def messages(request: Request, inlined: Inlined) -> list[dict[str, Any]]:
    """All turns, with the options of each medium beside it."""

    def part(found: Part, inlined: Inlined) -> dict[str, Any]:
        return _part(found, inlined) | _options(found, request)

    return [message(turn, part, inlined) for turn in request.messages]


def headers(request: Request) -> dict[str, str]:
    """The header that temporary uploads need."""
    uploaded = any((media.url or "").startswith("oss://") for media in request.media())
    return dict(_RESOLVE_OSS) if uploaded else {}


def _part(part: Part, inlined: Inlined) -> dict[str, Any]:
    # The vendor's samples leave the type of sound and video empty; only images carry one.
    match part:
        case str(text):
            return {"type": "text", "text": text}
        case Frames(images):
            return {"type": "video", "video": [data_url(i, inlined, i.mime_type) for i in images]}
        case Media(kind="image"):
            return {
                "type": "image_url",
                "image_url": {"url": data_url(part, inlined, part.mime_type)},
            }
        case Media(kind="audio"):
            sound = {"data": data_url(part, inlined, ""), "format": part.format}
            return {"type": "input_audio", "input_audio": sound}
        case Media(kind="video"):
            return {"type": "video_url", "video_url": {"url": data_url(part, inlined, "")}}
        case _:
            assert_never(part)  # type: ignore[arg-type]


def _options(part: Part, request: Request) -> dict[str, float]:
    """Pixels and frames a second go beside the URL, not inside it."""
    return {
        name: value
        for name, value in request.media_options.items()
        if kind_of(part) in REQUEST_OPTIONS[name].beside
    }


DIALECT = Dialect(
    name="dashscope",
    encode=encode,
    decode=decode,
    docs="Qwen-Omni guide and chat reference, Dec 2025 to autumn 2026",
    takes=MODALITIES,
    vendor_limits=True,
    vendor_quota=True,
    needs_voice=True,
    uploads=True,
    inline_max_bytes=10_485_760,
    # No page names it; vendor support advises it and clients send it (2025-2026). It acts on
    # surges only.
    hold_header="X-DashScope-Wait-Timeout",
)
