"""SSE frames, whatever they say."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from omni_batch.simulator.reply import End

DONE = b"data: [DONE]\n\n"
_DATA = b"data: "
Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Frame:
    """One SSE frame, ready for the wire."""

    data: bytes
    sound_s: float = 0.0
    """How long its sound plays."""


Ending = tuple[tuple[Frame, ...], End]
"""The frames that go out, and what comes then."""


@dataclass(frozen=True, slots=True)
class Stream:
    """All frames of a good reply."""

    frames: tuple[Frame, ...]
    finish_at: int
    """Index of the frame with the finish_reason."""


def sse(payload: Json, sound_s: float = 0.0) -> Frame:
    """One frame around one JSON object."""
    return Frame(_DATA + msgspec.json.encode(payload) + b"\n\n", sound_s)


def payload(frame: Frame) -> dict[str, object]:
    """The JSON object of a frame that `sse` made."""
    return msgspec.json.decode(frame.data.removeprefix(_DATA), type=dict[str, object])


def raw_string(base64: bytes) -> msgspec.Raw:
    """Base64 as a JSON string that needs no escaping, for speed."""
    return msgspec.Raw(b'"' + base64 + b'"')


def shuffled(frame: Frame, rng: random.Random) -> Frame:
    """The same frame with the keys of every object in a random order."""
    if frame.data == DONE or not frame.data.startswith(_DATA + b"{"):
        return frame
    reordered = _reordered(payload(frame), rng)
    return Frame(_DATA + msgspec.json.encode(reordered) + b"\n\n", frame.sound_s)


def _reordered(value: object, rng: random.Random) -> object:
    if isinstance(value, dict):
        keys = rng.sample(list(value), len(value))
        return {key: _reordered(value[key], rng) for key in keys}
    if isinstance(value, list):
        return [_reordered(item, rng) for item in value]
    return value
