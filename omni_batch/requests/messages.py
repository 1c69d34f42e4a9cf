"""What an item asks, as messages with media that are not loaded yet. Pure.

A cell `messages` holds earlier turns as JSON: a list of {"role", "content"}; content is a text or a
list of parts. A part is {"text": …}, {"image": ref}, {"audio": ref}, {"video": ref} or
{"frames": [ref, …]}; the wire's own forms ({"type": "image_url", …}) are understood as well.
"""

from collections.abc import Iterable, Iterator
from typing import Any, cast

import msgspec

from omni_batch.errors import ManifestError
from omni_batch.types import Frames, Item, Media, MediaKind, Message, Part, Role


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
        yield Message(cast(Role, turn["role"]), tuple(_parse_content(turn.get("content"), number)))


def _parse_content(content: Any, number: int) -> Iterator[Part]:
    for part in content if isinstance(content, list) else [content]:
        parsed = part if isinstance(part, str) else _parse_part(part)
        if parsed is None:
            raise ManifestError(
                f"messages, turn {number}: {str(part)[:80]!r} is not a part; "
                'write a text, {"text": …}, {"image": …}, {"audio": …}, {"video": …} '
                'or {"frames": […]}'
            )
        yield parsed


def _parse_part(part: Any) -> Part | None:
    match part:
        case {"text": str(text)}:
            return text
        case {"frames": [_, *_] as images} | {"type": "video", "video": [_, *_] as images}:
            return _frames(map(str, images))
        case {"image": str(ref)} | {"image_url": {"url": str(ref)}}:
            return Media("image", ref)
        case {"audio": str(ref)} | {"input_audio": {"data": str(ref)}}:
            return Media("audio", ref)
        case {"video": str(ref)} | {"video_url": {"url": str(ref)}}:
            return Media("video", ref)
        case _:
            return None
