"""OpenAI's own audio models (gpt-audio): bare base64 sound, images by URL or data URI, no video.

Streamed speech must be asked for as `pcm16`; wav is refused (agentfield#584). It is 24 kHz mono.
"""

from typing import Any

from omni_batch.providers.body import Body
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.encoding import (
    base64_file,
    data_url,
    messages,
    modalities,
    refuse,
    streaming,
    url_part,
)
from omni_batch.requests.request_options import REQUEST_OPTIONS
from omni_batch.text import is_data_uri
from omni_batch.types import Frames, Media, Request


def encode(request: Request) -> Body:
    """The request as JSON."""
    speech = {"voice": DIALECT.voice_of(request), "format": "pcm16"}
    tree = streaming(request, messages(request, part))
    return Body.of(tree | modalities(request, audio=speech))


def part(found: Media | Frames) -> dict[str, Any]:
    """A medium in OpenAI's form.

    Raises:
        MediaError: video or frames, which it does not take.
    """
    match found:
        case Media(kind="image"):
            return url_part(found, data_url(found, found.mime_type))
        case Media(kind="audio", url=url):
            data = url.partition(",")[2] if url and is_data_uri(url) else base64_file(found)
            return {"type": "input_audio", "input_audio": {"data": data, "format": found.format}}
    raise refuse(found, DIALECT.name)


# Its audio models answer 400 to a `response_format` with a schema ("Structured outputs: not
# supported" on the page of gpt-audio), as older models do: `holds_to_schema` stays False.
DIALECT = Dialect(
    name="openai",
    encode=encode,
    docs="OpenAI's chat API and openai-python#2507, 2025-2026",
    takes=frozenset({"text", "image", "audio"}),
    fetches=frozenset({"image"}),
    parameters=frozenset(option.name for option in REQUEST_OPTIONS.values() if option.openai),
    formats={"audio": ("wav", "mp3"), "image": ("png", "jpeg", "gif", "webp")},
    needs_voice=True,
    thinking_switch=False,
    instead={"enable_thinking": "request.reasoning_effort"},
    quota_is_transient=False,
)
