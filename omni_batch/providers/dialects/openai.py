"""OpenAI's own audio models (gpt-audio): bare base64 sound, images by URL or data URI, no video.

Streamed speech must be asked for as `pcm16`; wav is refused (agentfield#584). It is 24 kHz mono.
"""

from typing import Any

from omni_batch.errors import MediaError
from omni_batch.providers.body import Body, Inlined
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.encoding import data_url, message, raw_base64, refuse, streaming
from omni_batch.requests.request_options import REQUEST_OPTIONS
from omni_batch.stream.chunks import decode
from omni_batch.types import Media, Part, Request

_SOUND_FORMATS = ("wav", "mp3")


def encode(request: Request) -> Body:
    """The request as JSON."""
    inlined = Inlined()
    tree = streaming(request)
    tree["messages"] = [message(turn, part, inlined) for turn in request.messages]
    tree["modalities"] = ["text", "audio"] if request.wants_audio else ["text"]
    if request.wants_audio:
        tree["audio"] = {"voice": request.voice, "format": "pcm16"}
    return Body.of(tree, inlined)


def part(found: Part, inlined: Inlined) -> dict[str, Any]:
    """A part in OpenAI's form.

    Raises:
        MediaError: video or frames, which it does not take.
    """
    match found:
        case str(text):
            return {"type": "text", "text": text}
        case Media(kind="image"):
            url = data_url(found, inlined, found.mime_type)
            return {"type": "image_url", "image_url": {"url": url}}
        case Media(kind="audio"):
            if found.format not in _SOUND_FORMATS:
                raise MediaError(
                    f"{found.reference[:200]} is {found.format}; OpenAI takes wav and mp3: "
                    "convert it"
                )
            sound = {"data": raw_base64(found, inlined), "format": found.format}
            return {"type": "input_audio", "input_audio": sound}
        case _:
            raise refuse(found, DIALECT.name)


DIALECT = Dialect(
    name="openai",
    encode=encode,
    decode=decode,
    docs="OpenAI's chat API and openai-python#2507, 2025-2026",
    takes=frozenset({"text", "image", "audio"}),
    fetches=frozenset({"image"}),
    parameters=frozenset(option.name for option in REQUEST_OPTIONS.values() if option.openai),
    needs_voice=True,
    quota_is_transient=False,
)
