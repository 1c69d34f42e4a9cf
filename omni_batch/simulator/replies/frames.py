"""SSE frames, whatever they say."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

DONE = b"data: [DONE]\n\n"
Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Frame:
    """One SSE frame, ready for the wire."""

    data: bytes
    sound_s: float = 0.0
    """How long its sound plays."""


@dataclass(frozen=True, slots=True)
class Stream:
    """All frames of a good reply."""

    frames: tuple[Frame, ...]
    finish_at: int
    """Index of the frame with the finish_reason."""


def sse(payload: Json, sound_s: float = 0.0) -> Frame:
    """One frame around one JSON object."""
    return Frame(b"data: " + msgspec.json.encode(payload) + b"\n\n", sound_s)


def raw_string(base64: bytes) -> msgspec.Raw:
    """Base64 as a JSON string that needs no escaping, for speed."""
    return msgspec.Raw(b'"' + base64 + b'"')


def shuffled(frame: Frame, rng: random.Random) -> Frame:
    """The same frame with the keys of every object in a random order."""
    if frame.data == DONE or not frame.data.startswith(b"data: {"):
        return frame
    payload = _reordered(msgspec.json.decode(frame.data[len(b"data: ") :]), rng)
    return Frame(b"data: " + msgspec.json.encode(payload) + b"\n\n", frame.sound_s)


def _reordered(value: object, rng: random.Random) -> object:
    if isinstance(value, dict):
        keys = rng.sample(list(value), len(value))
        return {key: _reordered(value[key], rng) for key in keys}
    if isinstance(value, list):
        return [_reordered(item, rng) for item in value]
    return value
