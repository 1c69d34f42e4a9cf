"""What the dialects' encoders share. Pure: files are named, not read."""

from collections.abc import Callable
from typing import Any

from omni_batch.errors import MediaError
from omni_batch.providers.body import Inlined
from omni_batch.types import Media, Message, Part, Request

PartEncoder = Callable[[Part, Inlined], dict[str, Any]]


def streaming(request: Request) -> dict[str, Any]:
    """The members that every streamed request begins with. Usage comes only when asked for."""
    return {
        "model": request.model,
        "stream": True,
        "stream_options": {"include_usage": True},
        **request.options,
    }


def message(turn: Message, encode_part: PartEncoder, inlined: Inlined) -> dict[str, Any]:
    """One turn; text alone stays a plain string, which every server understands."""
    if all(isinstance(part, str) for part in turn.parts):
        return {"role": turn.role, "content": "\n".join(map(str, turn.parts))}
    return {"role": turn.role, "content": [encode_part(part, inlined) for part in turn.parts]}


def data_url(media: Media, inlined: Inlined, mime_type: str) -> str:
    """The medium's URL, or its file as a data URI."""
    if media.url is not None:
        return media.url
    return f"data:{mime_type};base64,{base64_file(media, inlined)}"


def raw_base64(media: Media, inlined: Inlined) -> str:
    """The medium without any prefix, for servers that take bare base64.

    Raises:
        MediaError: it is only known by its URL.
    """
    if media.url is not None and media.url.startswith("data:"):
        return media.url.partition(",")[2]
    return base64_file(media, inlined)


def base64_file(media: Media, inlined: Inlined) -> str:
    """A placeholder for the file, which is encoded while the body is sent.

    Raises:
        MediaError: it is not a file that was probed.
    """
    if media.path is None or media.size_bytes is None:
        raise MediaError(
            f"{media.reference[:200]} is not a local file; this endpoint needs its bytes"
        )
    return inlined.placeholder(media.path, media.size_bytes)


def refuse(part: object, dialect: str) -> MediaError:
    """The error for a part that a dialect has no form for."""
    kind = getattr(part, "kind", type(part).__name__.lower())
    return MediaError(
        f"endpoints of the dialect {dialect} do not take {kind}; use another endpoint"
    )
