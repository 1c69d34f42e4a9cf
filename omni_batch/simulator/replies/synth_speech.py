"""Sound in place of speech: syllables of a few harmonics, and pauses between phrases.

Made once per voice and kept as a loop, because a load test asks for hours of it.
"""

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from omni_batch.simulator.checks.voices import DEEP

LOOP_S = 20
PEAK = 0.5
"""Of full scale; speech is as loud as in a usual recording and never clips."""
_SYLLABLE_S = (0.12, 0.24)
_PAUSE_S = (0.3, 0.5)
_HARMONICS = np.arange(1, 9)[:, None]


@dataclass(frozen=True, slots=True)
class Loop:
    """About 20 seconds of one voice."""

    pcm: bytes
    """s16le mono; it begins and ends in silence."""
    phrase_starts: tuple[int, ...]
    """Byte offsets at which a phrase begins."""


@lru_cache(maxsize=64)
def loop(voice: str, rate_hz: int) -> Loop:
    """The loop of a voice; the same every time, at a pitch of its own."""
    rng = np.random.default_rng(zlib.crc32(voice.encode()))
    pitch_hz = rng.uniform(95, 130) if voice in DEEP else rng.uniform(180, 225)
    wave, starts, at = np.zeros(LOOP_S * rate_hz), list[int](), rate_hz // 50
    last = len(wave) - round(_SYLLABLE_S[1] * rate_hz)
    while at < last:
        starts.append(at * 2)
        for height in np.linspace(1.1, 0.9, rng.integers(8, 14)):  # a phrase sinks in pitch
            if at < last:
                sound = _syllable(rng, pitch_hz * height, rate_hz)
                wave[at : at + len(sound)] = sound
                at += len(sound)
        at += round(rng.uniform(*_PAUSE_S) * rate_hz)
    wave *= PEAK / np.max(np.abs(wave))
    return Loop((wave * 32767).astype("<i2").tobytes(), tuple(starts))


def _syllable(rng: np.random.Generator, pitch_hz: float, rate_hz: int) -> npt.NDArray[np.float64]:
    """Harmonics in a random mixture, as vowels differ, that swell and fade."""
    times_s = np.arange(round(rng.uniform(*_SYLLABLE_S) * rate_hz)) / rate_hz
    strengths = rng.uniform(0.2, 1, _HARMONICS.shape) / _HARMONICS
    tones = strengths * np.sin(2 * np.pi * pitch_hz * _HARMONICS * times_s)
    swell = np.sin(np.linspace(0, np.pi, len(times_s)))
    syllable: npt.NDArray[np.float64] = swell * tones.sum(axis=0)
    return syllable
