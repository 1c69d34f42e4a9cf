"""What the dialects' encoders share. Pure: files are named, not read."""

from collections.abc import Callable, Mapping
from typing import Any

from omni_batch.errors import MediaError
from omni_batch.providers.body import Base64File
from omni_batch.requests.request_options import REQUEST_OPTIONS, options_beside
from omni_batch.text import display_name
from omni_batch.types import Frames, Media, Message, Part, Request


def streaming(request: Request, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The members that every streamed request begins with. Usage comes only when asked for."""
    return {
        "model": request.model,
        "stream": True,
        "stream_options": {"include_usage": True},
        **request.options,
        "messages": messages,
    }


def modalities(request: Request, **speech: Any) -> dict[str, Any]:
    """What the answer consists of; `speech` are the members that go with a wish for it.

    Nothing for a plain text model, which knows no such member.
    """
    if request.wants_audio:
        return {"modalities": ["text", "audio"], **speech}
    return {"modalities": ["text"]} if request.omni else {}


def messages(
    request: Request, encode: Callable[[Media | Frames], dict[str, Any]]
) -> list[dict[str, Any]]:
    """All turns; text alone stays a plain string, which every server understands.

    Args:
        encode: makes a part of a medium, without its options.
    """

    def turned(part: Part) -> dict[str, Any]:
        if isinstance(part, str):
            return {"type": "text", "text": part}
        return with_options(encode(part), options_beside(part, request))

    def content(turn: Message) -> str | list[dict[str, Any]]:
        texts = [part for part in turn.parts if isinstance(part, str)]
        alone = len(texts) == len(turn.parts)
        return "\n".join(texts) if alone else [turned(part) for part in turn.parts]

    return [{"role": turn.role, "content": content(turn)} for turn in request.messages]


def with_options(part: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """A part with its options: most stand beside the medium's object, some inside."""
    inside = {name for name in options if REQUEST_OPTIONS[name].inside}
    if inside:
        kind = part["type"]
        part = {**part, kind: part[kind] | {name: options[name] for name in inside}}
    return part | {name: value for name, value in options.items() if name not in inside}


def data_url(media: Media, mime_type: str) -> str | Base64File:
    """The medium's URL, or its file as a data URI."""
    return media.url if media.url is not None else base64_file(media, f"data:{mime_type};base64,")


def url_part(media: Media, url: str | Base64File) -> dict[str, Any]:
    """A part whose type is the medium's kind plus `_url`."""
    name = f"{media.kind}_url"
    return {"type": name, name: {"url": url}}


def base64_file(media: Media, prefix: str = "") -> Base64File:
    """The medium's file, which is encoded while the body is sent.

    Raises:
        MediaError: it is not a file that was probed.
    """
    if media.path is None or media.size_bytes is None:
        raise MediaError(
            f"{display_name(media.reference)} is not a local file; this endpoint needs its bytes"
        )
    return Base64File(media.path, media.size_bytes, prefix)


def refuse(part: Media | Frames, dialect: str) -> MediaError:
    """The error for a part that a dialect has no form for."""
    return MediaError(
        f"endpoints of the dialect {dialect} do not take {part.kind}; use another endpoint"
    )
