"""A hash of everything that decides an answer: same fingerprint, same question. Pure."""

import hashlib
from typing import Any

import msgspec

from omni_batch.types import Frames, Media, Part, Request


def fingerprint(request: Request, endpoint: str, sample: int | None = None) -> str:
    """SHA-256 over model, endpoint, messages (files by content), sampling and voice.

    Args:
        sample: which answer to the question it is, from 1. The second is not the first again, even
            where nothing in the request tells them apart.
    """
    tree = {
        "endpoint": endpoint,
        "model": request.model,
        "messages": [[m.role, [_part(part) for part in m.parts]] for m in request.messages],
        "wants_audio": request.wants_audio,
        "voice": request.voice if request.wants_audio else None,
        "thinking": request.thinking,
        "options": request.options,
        "media_options": request.media_options,
        **({"sample": sample} if sample and sample > 1 else {}),
    }
    if request.response_format is not None:
        tree["response_format"] = request.response_format
    return hashlib.sha256(msgspec.json.encode(tree, order="deterministic")).hexdigest()


def _part(part: Part) -> Any:
    match part:
        case str():
            return part
        case Media():
            return [part.kind, _content(part), *part.options]
        case Frames(images):
            return ["frames", *map(_content, images), *part.options]


def _content(media: Media) -> str | None:
    """Of what is made to fit: what it is made from and how, which is known before it is made."""
    if media.made_from is None and media.sha256 is None and media.object_version:
        return f"{media.url} {media.object_version}"
    return media.made_from or media.sha256 or media.url
