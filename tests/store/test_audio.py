"""Speech becomes a whole WAV file or none, in whatever pieces it came."""

import asyncio
import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.errors import StorageError
from omni_batch.store import SpeechFile

NOISE = np.random.default_rng(7).integers(-(2**15), 2**15, 400_000, dtype=np.int16)


async def speak(speech: SpeechFile, samples: np.ndarray, cuts: list[int], rate_hz: int) -> None:
    edges = [0, *sorted(cuts), len(samples)]
    for start, end in pairwise(edges):
        await speech.write(samples[start:end].tobytes(), rate_hz)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("speech")


@given(
    length=st.sampled_from([0, 1, 1000, 131_071, 131_072, 131_073, 400_000]),
    cuts=st.lists(st.floats(0, 1), max_size=6),
    rate_hz=st.sampled_from([8_000, 24_000, 48_000]),
)
@settings(max_examples=50, deadline=None)
def test_any_split_of_the_sound_gives_the_same_wav(
    folder: Path, length: int, cuts: list[float], rate_hz: int
) -> None:
    samples = NOISE[:length]
    final = folder / "final.wav"

    async def say() -> str:
        speech = SpeechFile(folder / "speech.wav.part")
        await speak(speech, samples, [int(cut * length) for cut in cuts], rate_hz)
        return await speech.commit(final, rate_hz)

    sha256 = asyncio.run(say())
    sound, found_hz = soundfile.read(final, dtype="int16")
    info = soundfile.info(final)
    assert (found_hz, info.channels, info.format, info.subtype) == (rate_hz, 1, "WAV", "PCM_16")
    assert np.array_equal(sound, samples)
    assert sha256 == hashlib.sha256(final.read_bytes()).hexdigest()
    assert files(folder) == ["final.wav"]


@pytest.mark.parametrize("length", [0, 1000, 400_000])
async def test_discarded_speech_leaves_nothing(tmp_path: Path, length: int) -> None:
    speech = SpeechFile(tmp_path / "speech.wav.part")
    await speak(speech, NOISE[:length], [length // 2], 24_000)
    speech.discard()
    speech.discard()
    assert files(tmp_path) == []


async def test_discarding_after_the_commit_is_harmless(tmp_path: Path) -> None:
    speech = SpeechFile(tmp_path / "speech.wav.part")
    await speech.write(b"\1\0", 24_000)
    await speech.commit(tmp_path / "final.wav", 24_000)
    speech.discard()
    assert files(tmp_path) == ["final.wav"]


async def test_a_second_attempt_takes_the_place_of_the_first(tmp_path: Path) -> None:
    for attempt, samples in enumerate([NOISE[:100], NOISE[100:300]]):
        speech = SpeechFile(tmp_path / f"speech.{attempt}.wav.part")
        await speak(speech, samples, [], 24_000)
        await speech.commit(tmp_path / "final.wav", 24_000)
    sound, _ = soundfile.read(tmp_path / "final.wav", dtype="int16")
    assert np.array_equal(sound, NOISE[100:300])


async def test_the_final_name_only_ever_names_a_whole_file(tmp_path: Path) -> None:
    speech = SpeechFile(tmp_path / "speech.wav.part")
    await speak(speech, NOISE, [200_000], 24_000)
    assert files(tmp_path) == ["speech.wav.part"]
    speech.discard()


async def test_what_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    speech = SpeechFile(tmp_path / "gone" / "speech.wav.part")
    with pytest.raises(StorageError, match=r"speech\.wav\.part can't be written"):
        await speak(speech, NOISE, [], 24_000)
    speech.discard()


async def test_speech_that_cannot_get_its_name_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "final.wav").mkdir()
    speech = SpeechFile(tmp_path / "speech.wav.part")
    await speech.write(b"\1\0", 24_000)
    with pytest.raises(StorageError, match=r"final\.wav can't be written"):
        await speech.commit(tmp_path / "final.wav", 24_000)
    speech.discard()
    assert files(tmp_path) == ["final.wav"]
