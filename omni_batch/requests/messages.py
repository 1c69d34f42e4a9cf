"""What an item asks, as messages with media that are not loaded yet. Pure.

A cell `messages` holds earlier turns as JSON: a list of {"role", "content"}; content is a text or a
list of parts. A part is {"text": …}, {"image": ref}, {"audio": ref}, {"video": ref} or
{"frames": [ref, …]}; the wire's own forms ({"type": "image_url", …}) are understood as well. Beside
a medium may stand options of its own ("fps", "max_pixels", "detail"); any other member is refused,
as it would not be sent.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import msgspec

from omni_batch.config import check_request
from omni_batch.errors import ConfigError, ManifestError
from omni_batch.requests.request_options import REQUEST_OPTIONS
from omni_batch.types import (
    MEDIA_KINDS,
    Frames,
    Item,
    Media,
    MediaKind,
    Message,
    Modality,
    Part,
    PartOptions,
    Role,
)

_OF_THE_WIRE: Mapping[str, tuple[MediaKind, str]] = {
    "image_url": ("image", "url"),
    "video_url": ("video", "url"),
    "audio_url": ("audio", "url"),
    "input_audio": ("audio", "data"),
}
"""Members of a part on the wire: the kind of medium, and the member inside with its address."""
_MEMBERS = ("text", "frames", *sorted(MEDIA_KINDS), *_OF_THE_WIRE)
_OF_A_TURN = ("role", "content")
_TEXTS: Mapping[str, tuple[Modality, ...]] = {"detail": ("image",), "format": ("audio",)}
"""Options of a part that are texts, and kinds of media that have them."""


def messages_of(item: Item, prompt: str | None) -> tuple[Message, ...]:
    """The item's earlier turns, then its own as the last user turn.

    Args:
        prompt: the filled-in template of the config; the item's own prompt comes first, and rows
            with `messages` and nothing of their own don't get one.

    Raises:
        ManifestError: `messages` is not a list of turns, or there is nothing to ask.
    """
    earlier = tuple(_parse_messages(item.messages)) if item.messages else ()
    media = tuple(_own_media(item))
    if earlier and not media and item.prompt is None:
        if earlier[-1].role != "user":
            raise ManifestError(
                f"messages end with a turn of the {earlier[-1].role}; end with the user's, or "
                "give the row a prompt"
            )
        return earlier
    text = item.prompt if item.prompt is not None else prompt
    own = (*media, *([text] if text else []))
    if not own:
        raise ManifestError(
            "the row has nothing to send: give it a prompt (column or request.prompt), media or "
            "messages"
        )
    return (*earlier, Message("user", own))


def _own_media(item: Item) -> Iterator[Media | Frames]:
    for column, references in item.media_cells().items():
        if column == "frames":
            yield _frames(references)
        else:
            yield from (Media(cast(MediaKind, column), reference) for reference in references)


def _frames(references: Iterable[str]) -> Frames:
    return Frames(tuple(Media("image", reference) for reference in references))


def _parse_messages(text: str) -> Iterator[Message]:
    try:
        turns = msgspec.json.decode(text, type=list[dict[str, Any]])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as exc:
        raise ManifestError(f"messages is not a JSON list of turns: {exc}") from None
    for number, turn in enumerate(turns, 1):
        if turn.get("role") not in ("system", "user", "assistant"):
            raise ManifestError(
                f"messages, turn {number}: role {turn.get('role')!r}; use system, user or assistant"
            )
        if others := sorted(name for name in turn if turn[name] and name not in _OF_A_TURN):
            raise ManifestError(
                f"messages, turn {number}: {others[0]} would not be sent; remove it, or write it "
                "as a part of content"
            )
        yield Message(cast(Role, turn["role"]), tuple(_parse_content(turn.get("content"), number)))


def _parse_content(content: Any, number: int) -> Iterator[Part]:
    for part in content if isinstance(content, list) else [content]:
        try:
            parsed = part if isinstance(part, str) else _parse_part(part)
        except (ManifestError, ConfigError) as exc:
            raise ManifestError(f"messages, turn {number}: {exc}") from None
        if parsed is None:
            raise ManifestError(
                f"messages, turn {number}: {str(part)[:80]!r} is not a part; "
                'write a text, {"text": …}, {"image": …}, {"audio": …}, {"video": …} '
                'or {"frames": […]}'
            )
        yield parsed


def _parse_part(part: Any) -> Part | None:
    if not isinstance(part, dict):
        return None
    name = next((name for name in _MEMBERS if name in part), "")
    others = {other: value for other, value in part.items() if other != name}
    match name, part.get(name):
        case "text", str(text):
            _own_options("text", others)
            return text
        case ("frames", [_, *_] as images) | ("video", [_, *_] as images):
            return replace(_frames(map(str, images)), options=_own_options("frames", others))
        case _, str(reference) if name in MEDIA_KINDS:
            return _medium(name, reference, others)
        case _, dict(inner) if name in _OF_THE_WIRE:
            kind, address = _OF_THE_WIRE[name]
            reference = inner.pop(address, None)
            if isinstance(reference, str):
                return _medium(kind, reference, _together(name, others, inner))
    return None


def _medium(kind: MediaKind, reference: str, given: Mapping[str, Any]) -> Media:
    return Media(kind, reference, options=_own_options(kind, given))


def _together(name: str, beside: Mapping[str, Any], inside: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in inside.keys() & beside.keys():
        if inside[key] != beside[key]:
            raise ManifestError(
                f"{key} is {beside[key]!r} beside {name} and {inside[key]!r} inside; keep one"
            )
    return {**beside, **inside}


def _own_options(kind: Modality, given: Mapping[str, Any]) -> PartOptions:
    """What a part says besides its medium, held to the ranges of the config.

    Raises:
        ManifestError: a member that would not be sent, or one that is not text.
        ConfigError: a value out of range.
    """
    given = {name: value for name, value in given.items() if value is not None and name != "type"}
    ranged: dict[str, Any] = {}
    for name, value in given.items():
        option = REQUEST_OPTIONS.get(name)
        if option and kind in option.beside and name not in _TEXTS:
            ranged[name] = value
        elif name not in _TEXTS or kind not in _TEXTS[name]:
            raise ManifestError(f"{name} of a part of {kind} would not be sent; remove it")
        elif not isinstance(value, str):
            raise ManifestError(f"{name} is {str(value)[:40]!r}; give a text, or remove it")
    return tuple(sorted((given | check_request(ranged)).items())) if given else ()
