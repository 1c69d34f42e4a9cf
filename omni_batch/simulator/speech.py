"""Spoken replies as base64 pieces: 24 kHz, mono, s16le, without a header."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import pybase64

RATE_HZ = 24_000
BYTES_PER_S = RATE_HZ * 2
_FADE_SAMPLES = 240
"""The last 10 ms fade out, so a cut in the middle of a vowel makes no click."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The sound of one frame."""

    base64: bytes
    duration_s: float


def speak(voice: str, duration_s: float, *, chunk_bytes: int, opening: int) -> Iterator[Piece]:
    """Speak for exactly `duration_s`, rounded to a sample.

    Args:
        voice: decides the pitch and the sound.
        duration_s: length of the speech.
        chunk_bytes: PCM bytes in every piece but the last.
        opening: chooses the phrase to begin with.
    """
    # numpy takes a moment to import; only requests for speech pay it.
    from omni_batch.simulator import babble

    starts = babble.loop(voice).phrase_starts
    begin = starts[opening % len(starts)]
    total = round(duration_s * RATE_HZ) * 2
    for offset in range(0, total, chunk_bytes):
        length = min(chunk_bytes, total - offset)
        last = offset + length == total
        yield Piece(_piece(voice, begin + offset, length, last), length / BYTES_PER_S)


@lru_cache(maxsize=1024)
def _piece(voice: str, offset: int, length: int, last: bool) -> bytes:
    from omni_batch.simulator import babble

    pcm = babble.loop(voice).pcm
    start = offset % len(pcm)
    data = pcm[start : start + length]
    while len(data) < length:
        data += pcm[: length - len(data)]
    return pybase64.b64encode(_faded(data) if last else data)


def _faded(pcm: bytes) -> bytes:
    import numpy as np

    odd = pcm[len(pcm) // 2 * 2 :]
    samples = np.frombuffer(pcm, "<i2", count=len(pcm) // 2).copy()
    tail = samples[-_FADE_SAMPLES:]
    tail[:] = tail * np.linspace(1, 0, len(tail))
    return samples.tobytes() + odd
