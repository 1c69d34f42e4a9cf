"""Sound that passes for speech: voiced syllables with moving formants, and pauses between words.

Made once per voice and kept as a loop, because a load test asks for hours of it.
"""

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from omni_batch.simulator.checks.voices import DEEP

RATE_HZ = 24_000
LOOP_S = 20
PEAK = 0.5
"""Of full scale; speech is as loud as in a usual recording and never clips."""
_STEP = 120
"""Samples between two points of the control curves: 5 ms."""
_LONGEST_WORD = 170
"""Steps; a word that might not fit is not begun, so the loop ends in silence."""
_TOP_HZ = 4500
_VOWELS_HZ = np.array(
    [
        [730, 1090, 2440],
        [530, 1840, 2480],
        [270, 2290, 3010],
        [570, 840, 2410],
        [300, 870, 2240],
        [500, 1500, 2500],
    ],
    dtype=np.float64,
)
"""First three formants of a, e, i, o, u and schwa (Peterson and Barney, 1952)."""

Curve = npt.NDArray[np.float64]
Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Loop:
    """About 20 seconds of one voice."""

    pcm: bytes
    """s16le mono at `RATE_HZ`; it begins and ends in silence."""
    phrase_starts: tuple[int, ...]
    """Byte offsets at which a phrase begins."""


@dataclass(frozen=True, slots=True)
class _Score:
    """What is spoken when, one value for each 5 ms."""

    pitch_hz: Curve
    level: Curve
    formants_hz: Curve
    """Steps x 3."""
    hiss: Curve
    phrase_starts: tuple[int, ...]


@lru_cache(maxsize=64)
def loop(voice: str) -> Loop:
    """The loop of a voice; the same every time."""
    rng = np.random.default_rng(zlib.crc32(voice.encode()))
    score = _compose(rng, deep=voice in DEEP)
    wave = _sing(score) + _hiss(score, rng)
    wave *= PEAK / float(np.max(np.abs(wave)))
    pcm = (wave * 32767).astype("<i2").tobytes()
    return Loop(pcm, tuple(start * _STEP * 2 for start in score.phrase_starts))


def _compose(rng: np.random.Generator, *, deep: bool) -> _Score:
    steps = LOOP_S * RATE_HZ // _STEP
    base_hz = rng.uniform(95, 130) if deep else rng.uniform(180, 225)
    pitch, level, hiss = np.full(steps, base_hz), np.zeros(steps), np.zeros(steps)
    formants = np.tile(_VOWELS_HZ[5], (steps, 1))
    starts, at = [0], 4
    while at < steps - _LONGEST_WORD:
        end = _phrase(rng, at, base_hz, (pitch, level, hiss, formants))
        starts.append(end + 30)
        at = end + int(rng.integers(60, 100))
    formants *= 1.0 if deep else 1.14
    return _Score(_smooth(pitch, 9), _smooth(level, 5), _soft(formants), hiss, tuple(starts[:-1]))


def _phrase(
    rng: np.random.Generator, at: int, base_hz: float, curves: tuple[Curve, Curve, Curve, Curve]
) -> int:
    """Write 4 to 7 words from step `at` on; gives the step at which they end."""
    pitch, level, hiss, formants = curves
    for word in range(int(rng.integers(4, 8))):
        if at > len(level) - _LONGEST_WORD:
            break
        for syllable in range(int(rng.integers(1, 4))):
            length = int(rng.integers(26, 46))
            span = slice(at, at + length)
            # A phrase begins high and sinks, and each word starts with a stress.
            height = 1.16 - 0.035 * word + 0.05 * (syllable == 0)
            pitch[span] = base_hz * height * np.linspace(1.03, 0.96, length)
            level[span] = np.sin(np.linspace(0, np.pi, length)) ** 0.6 * rng.uniform(0.7, 1)
            formants[span] = _VOWELS_HZ[rng.integers(0, 6)]
            hiss[at : at + 10] = rng.choice([0, 0, 0.02, 0.05]) * np.sin(np.linspace(0, np.pi, 10))
            at += length + int(rng.integers(0, 5))
        at += int(rng.integers(8, 18))
    return at


def _smooth(curve: Curve, width: int) -> Curve:
    return np.convolve(curve, np.ones(width) / width, mode="same")


def _soft(formants: Curve) -> Curve:
    """Formants glide for 60 ms from one vowel to the next, as a mouth does."""
    return np.stack([_smooth(column, 13) for column in formants.T], axis=1)


def _between(curve: Curve) -> Samples:
    """Straight lines through the points, one value for each sample."""
    ramp = np.arange(_STEP, dtype=np.float32) / _STEP
    here = curve.astype(np.float32)
    after = np.append(here[1:], here[-1])
    lines = here[:, None] + (after - here)[:, None] * ramp
    return lines.ravel().astype(np.float32, copy=False)


def _sing(score: _Score) -> Samples:
    """Add up the harmonics of the pitch, each as strong as the formants let it through."""
    phase = np.cumsum(_between(score.pitch_hz).astype(np.float64)) * (2 * np.pi / RATE_HZ)
    turn = np.exp(1j * phase).astype(np.complex64)
    wave: Samples = np.zeros(len(turn), np.float32)
    tone = turn.copy()
    for harmonic in range(1, int(_TOP_HZ / score.pitch_hz.mean())):
        strength = _passed(score, harmonic) * score.level / harmonic
        wave += tone.imag * _between(strength)
        tone *= turn
    return wave


def _passed(score: _Score, harmonic: int) -> Curve:
    """How much of one harmonic three resonances let through, at every step."""
    away = (score.pitch_hz[:, None] * harmonic - score.formants_hz) / np.array([90, 110, 170])
    passed: Curve = (np.array([1.0, 0.6, 0.3]) / (1 + away**2)).sum(axis=1)
    return passed + 0.01


def _hiss(score: _Score, rng: np.random.Generator) -> Samples:
    """Breath at the start of some syllables, where consonants would be."""
    noise = rng.standard_normal(len(score.hiss) * _STEP).astype(np.float32)
    return np.diff(noise, append=np.float32(0)) * _between(score.hiss)
