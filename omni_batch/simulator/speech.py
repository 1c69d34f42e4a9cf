"""Spoken replies as base64 pieces: 24 kHz, mono, s16le, without a header."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import pybase64

RATE_HZ = 24_000
BYTES_PER_S = RATE_HZ * 2
_UNKNOWN = 0xFFFFFFFF
_FADE_SAMPLES = 240
"""The last 10 ms fade out, so a cut in the middle of a vowel makes no click."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The sound of one frame."""

    base64: bytes
    duration_s: float


@dataclass(frozen=True, slots=True)
class SpeechForm:
    """How speech is cut up."""

    chunk_bytes: int
    """PCM bytes in every piece but the last."""
    wav_headers: str = "none"
    """none, first or every."""

    def header_at(self, offset: int, length: int) -> bytes:
        """What stands before the `length` PCM bytes of the piece that begins at `offset`."""
        if self.wav_headers == "every":
            return _wav_header(length)
        # The length of a whole stream is unknown when it begins.
        return _wav_header(_UNKNOWN) if self.wav_headers == "first" and offset == 0 else b""


def speak(voice: str, duration_s: float, form: SpeechForm, *, opening: int) -> Iterator[Piece]:
    """Speak for exactly `duration_s`, rounded to a sample.

    Args:
        voice: decides the pitch and the sound.
        duration_s: length of the speech.
        form: how it is cut up.
        opening: chooses the phrase to begin with.
    """
    # numpy takes a moment to import; only requests for speech pay it.
    from omni_batch.simulator import babble

    starts = babble.loop(voice).phrase_starts
    begin = starts[opening % len(starts)]
    total = round(duration_s * RATE_HZ) * 2
    for offset in range(0, total, form.chunk_bytes):
        length = min(form.chunk_bytes, total - offset)
        header, last = form.header_at(offset, length), offset + length == total
        yield Piece(_piece(voice, begin + offset, length, last, header), length / BYTES_PER_S)


@lru_cache(maxsize=1024)
def _piece(voice: str, offset: int, length: int, last: bool, header: bytes) -> bytes:
    from omni_batch.simulator import babble

    pcm = babble.loop(voice).pcm
    start = offset % len(pcm)
    data = pcm[start : start + length]
    while len(data) < length:
        data += pcm[: length - len(data)]
    return pybase64.b64encode(header + (_faded(data) if last else data))


def _wav_header(data_bytes: int) -> bytes:
    whole = min(data_bytes + 36, _UNKNOWN)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, BYTES_PER_S, 2, 16)
    riff = struct.pack("<4sI4s", b"RIFF", whole, b"WAVE")
    return riff + form + struct.pack("<4sI", b"data", data_bytes)


def _faded(pcm: bytes) -> bytes:
    import numpy as np

    odd = pcm[len(pcm) // 2 * 2 :]
    samples = np.frombuffer(pcm, "<i2", count=len(pcm) // 2).copy()
    tail = samples[-_FADE_SAMPLES:]
    tail[:] = tail * np.linspace(1, 0, len(tail))
    return samples.tobytes() + odd
