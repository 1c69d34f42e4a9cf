"""Model Studio's OpenAI-compatible chat.

Three things differ from OpenAI: sound travels as a data URI (bare base64 is refused), frames are a
list under `video`, and `enable_thinking` is a top-level member.
"""

from typing import Any

from omni_batch.providers.body import Body
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.encoding import data_url, messages, modalities, streaming, url_part
from omni_batch.types import MODALITIES, Frames, Media, Request

_DECLARED_AUDIO_FORMAT = "wav"  # the only documented value; what arrives is raw PCM
_RESOLVE_OSS = {"X-DashScope-OssResourceResolve": "enable"}


def encode(request: Request) -> Body:
    """The request as JSON; local files are read when the body is sent."""
    speech = {"voice": DIALECT.voice_of(request), "format": _DECLARED_AUDIO_FORMAT}
    tree = streaming(request, messages(request, part)) | modalities(request, audio=speech)
    return Body.of(tree | thinking(request), headers(request))


def thinking(request: Request) -> dict[str, bool]:
    """The switch of thinking mode, where it was set."""
    return {} if request.thinking is None else {"enable_thinking": request.thinking}


def headers(request: Request) -> dict[str, str]:
    """The header that temporary uploads need."""
    uploaded = any((media.url or "").startswith("oss://") for media in request.media())
    return dict(_RESOLVE_OSS) if uploaded else {}


def part(found: Media | Frames) -> dict[str, Any]:
    """A medium or a frame list in the vendor's form."""
    if isinstance(found, Frames):
        return {"type": "video", "video": [data_url(i, i.mime_type) for i in found.images]}
    # The vendor's samples leave the type of sound and video empty; only images carry one.
    url = data_url(found, found.mime_type if found.kind == "image" else "")
    if found.kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": url, "format": _format(found)}}
    return url_part(found, url)


def _format(sound: Media) -> str:
    """By content; what only the service will see is what the row says, or its URL's ending."""
    seen_by_us = sound.url is None or sound.probed
    said = dict(sound.options).get("format")
    return sound.format if seen_by_us or not said else str(said)


DIALECT = Dialect(
    name="dashscope",
    encode=encode,
    docs="Qwen-Omni guide and chat reference, Dec 2025 to autumn 2026",
    takes=MODALITIES,
    vendor_limits=True,
    vendor_quota=True,
    needs_voice=True,
    doubted_parameters=frozenset({"detail"}),
    uploads=True,
    inline_max_bytes=10_485_760,
    # No page names it; vendor support advises it and clients send it (2025-2026). It acts on
    # surges only.
    hold_header="X-DashScope-Wait-Timeout",
)
