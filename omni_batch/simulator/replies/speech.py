"""Spoken replies as base64 pieces: mono, s16le, with or without WAV headers."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import pybase64

RATE_HZ = 24_000
"""What the hosted service speaks at."""
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
    rate_hz: int = RATE_HZ
    cut: str = "pieces"
    """pieces, torn or doubled."""

    def header_at(self, offset: int, length: int) -> bytes:
        """The WAV header of the `length` PCM bytes that begin at `offset`; empty without one."""
        if self.wav_headers == "every":
            return wav_header(length, self.rate_hz)
        if self.wav_headers == "first" and offset == 0:
            return wav_header(_UNKNOWN, self.rate_hz)  # a stream's length, when it begins
        return b""


def speak(voice: str, duration_s: float, form: SpeechForm, *, opening: int) -> Iterator[Piece]:
    """Speak for exactly `duration_s`, rounded to a sample.

    Args:
        voice: decides the pitch and the sound.
        duration_s: length of the speech.
        form: how it is cut up.
        opening: chooses the phrase to begin with.
    """
    spoken = _pieces(voice, duration_s, form, opening)
    match form.cut:
        case "torn":
            return _torn(list(spoken))
        case "doubled":
            return map(_doubled, spoken)
        case _:
            return spoken


def _pieces(voice: str, duration_s: float, form: SpeechForm, opening: int) -> Iterator[Piece]:
    # numpy takes a moment to import; only requests for speech pay it.
    from omni_batch.simulator.replies import synth_speech

    starts = synth_speech.loop(voice, form.rate_hz).phrase_starts
    begin = starts[opening % len(starts)]
    total = round(duration_s * form.rate_hz) * 2
    for offset in range(0, total, form.chunk_bytes):
        length = min(form.chunk_bytes, total - offset)
        header, last = form.header_at(offset, length), offset + length == total
        data = _piece(voice, form.rate_hz, begin + offset, length, last, header)
        yield Piece(data, length / 2 / form.rate_hz)


def _torn(pieces: list[Piece]) -> Iterator[Piece]:
    """One base64 text cut into as many parts, none of whose edges lies between groups of four."""
    sound = b"".join(pybase64.b64decode(piece.base64) for piece in pieces)
    whole = pybase64.b64encode(sound)
    edges = [len(whole) * number // len(pieces) for number in range(len(pieces) + 1)]
    edges[1:-1] = [edge | 1 for edge in edges[1:-1]]
    for piece, start, end in zip(pieces, edges, edges[1:], strict=False):
        yield Piece(whole[start:end], piece.duration_s)


def _doubled(piece: Piece) -> Piece:
    sound = pybase64.b64decode(piece.base64)
    middle = len(sound) // 2 // 3 * 3 + 1  # no multiple of three, so the first text is padded
    first, second = pybase64.b64encode(sound[:middle]), pybase64.b64encode(sound[middle:])
    return Piece(first + second, piece.duration_s)


@lru_cache(maxsize=1024)
def _piece(voice: str, rate_hz: int, offset: int, length: int, last: bool, header: bytes) -> bytes:
    from omni_batch.simulator.replies import synth_speech

    pcm = synth_speech.loop(voice, rate_hz).pcm
    start = offset % len(pcm)
    data = pcm[start : start + length]
    while len(data) < length:
        data += pcm[: length - len(data)]
    return pybase64.b64encode(header + (_faded(data) if last else data))


def wav_header(data_bytes: int, rate_hz: int = RATE_HZ) -> bytes:
    """The bytes before the samples in a WAV file; `data_bytes` is their length."""
    whole = min(data_bytes + 36, _UNKNOWN)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, rate_hz * 2, 2, 16)
    riff = struct.pack("<4sI4s", b"RIFF", whole, b"WAVE")
    return riff + form + struct.pack("<4sI", b"data", data_bytes)


def _faded(pcm: bytes) -> bytes:
    import numpy as np

    odd = pcm[len(pcm) // 2 * 2 :]
    samples = np.frombuffer(pcm, "<i2", count=len(pcm) // 2).copy()
    tail = samples[-_FADE_SAMPLES:]
    tail[:] = tail * np.linspace(1, 0, len(tail))
    return samples.tobytes() + odd
