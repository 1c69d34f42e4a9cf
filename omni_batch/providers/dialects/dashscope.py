"""Model Studio's OpenAI-compatible chat.

Three things differ from OpenAI: sound travels as a data URI (bare base64 is refused), frames are a
list under `video`, and `enable_thinking` is a top-level member.
"""

from typing import Any

from omni_batch.providers.body import Body
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.encoding import data_url, message, modalities, streaming, url_part
from omni_batch.requests.request_options import REQUEST_OPTIONS
from omni_batch.types import MODALITIES, Frames, Media, Request

_DECLARED_AUDIO_FORMAT = "wav"  # the only documented value; what arrives is raw PCM
_RESOLVE_OSS = {"X-DashScope-OssResourceResolve": "enable"}


def encode(request: Request) -> Body:
    """The request as JSON; local files are read when the body is sent."""
    speech = {"voice": request.voice, "format": _DECLARED_AUDIO_FORMAT}
    tree = streaming(request, messages(request)) | modalities(request, audio=speech)
    return Body.of(tree | thinking(request), headers(request))


def messages(request: Request) -> list[dict[str, Any]]:
    """All turns; pixels and frames a second go beside the URL of each medium, not inside it."""

    def part(found: Media | Frames) -> dict[str, Any]:
        options = {
            name: value
            for name, value in request.media_options.items()
            if found.kind in REQUEST_OPTIONS[name].beside
        }
        return _part(found) | options

    return [message(turn, part) for turn in request.messages]


def thinking(request: Request) -> dict[str, bool]:
    """The switch of thinking mode, where it was set."""
    return {} if request.thinking is None else {"enable_thinking": request.thinking}


def headers(request: Request) -> dict[str, str]:
    """The header that temporary uploads need."""
    uploaded = any((media.url or "").startswith("oss://") for media in request.media())
    return dict(_RESOLVE_OSS) if uploaded else {}


def _part(part: Media | Frames) -> dict[str, Any]:
    if isinstance(part, Frames):
        return {"type": "video", "video": [data_url(i, i.mime_type) for i in part.images]}
    # The vendor's samples leave the type of sound and video empty; only images carry one.
    url = data_url(part, part.mime_type if part.kind == "image" else "")
    if part.kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": url, "format": part.format}}
    return url_part(part, url)


DIALECT = Dialect(
    name="dashscope",
    encode=encode,
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
