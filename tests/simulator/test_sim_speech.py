"""Speech: its length, its loudness, and how it is cut."""

import base64
import io
import time
import wave

import numpy as np
import pytest

from omni_batch.simulator import Simulator, SimulatorOptions
from omni_batch.simulator.replies.speech import RATE_HZ, SpeechForm, speak
from omni_batch.simulator.replies.synth_speech import LOOP_S, loop
from tests.simulator.sim_client import SPEECH, ask, deltas, pcm, text, usage

FORM = SpeechForm(19_200)
RATES = [("qwen3-omni-flash", 12.5), ("qwen-omni-turbo", 25), ("qwen3.5-omni-plus", 12.5)]


@pytest.mark.parametrize(("model", "tokens_per_s"), RATES)
@pytest.mark.parametrize("words", [1, 9])
def test_speech_lasts_as_long_as_its_tokens_say(
    sim: Simulator, model: str, tokens_per_s: float, words: int
) -> None:
    voice = {"voice": "Ethan", "format": "wav"}
    chunks = ask(sim, "word " * words, model=model, modalities=["text", "audio"], audio=voice)
    tokens = usage(chunks)["completion_tokens_details"]["audio_tokens"]
    assert len(pcm(chunks)) / 2 / 24_000 == pytest.approx(tokens / tokens_per_s, abs=1e-9)


def test_longer_text_takes_longer_to_say(sim: Simulator) -> None:
    chunks = ask(sim, "a text that is somewhat longer than others", **SPEECH)
    seconds = len(pcm(chunks)) / 48_000
    assert seconds == pytest.approx(len(text(chunks)) * 0.07, abs=0.08)


def test_pieces_decode_alone_and_need_no_padding(sim: Simulator) -> None:
    pieces = [d["audio"]["data"] for d in deltas(ask(sim, "word " * 20, **SPEECH)) if "audio" in d]
    assert len(pieces) > 5
    assert all("=" not in piece for piece in pieces)
    sizes = [len(base64.b64decode(piece)) for piece in pieces]
    assert set(sizes[:-1]) == {19_200}
    assert 0 < sizes[-1] <= 19_200


@pytest.mark.parametrize("size", [1, 2, 7, 1000, 10**6])
def test_the_size_of_pieces_changes_no_sample(sim: Simulator, size: int) -> None:
    def spoken(chunk_bytes: int) -> bytes:
        pieces = speak("Cherry", 0.5, SpeechForm(chunk_bytes), opening=1)
        return b"".join(base64.b64decode(piece.base64) for piece in pieces)

    faded = 480
    assert len(spoken(size)) == len(spoken(19_200)) == 24_000
    assert spoken(size)[:-faded] == spoken(19_200)[:-faded]


def test_speech_of_more_than_the_loop_goes_on(sim: Simulator) -> None:
    pieces = list(speak("Cherry", LOOP_S * 2.5, FORM, opening=3))
    samples = np.frombuffer(b"".join(base64.b64decode(p.base64) for p in pieces), "<i2")
    assert len(samples) == LOOP_S * 2.5 * RATE_HZ
    assert np.abs(samples[-RATE_HZ * 5 :]).max() > 1000


@pytest.mark.parametrize("voice", ["Cherry", "Ethan", "Radio Gol"])
def test_the_sound_is_like_speech(voice: str) -> None:
    samples = np.frombuffer(loop(voice, RATE_HZ).pcm, "<i2") / 32768
    assert len(samples) == LOOP_S * RATE_HZ
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.01)
    assert abs(samples.mean()) < 0.001
    loudness = np.abs(samples).reshape(-1, 1200).max(axis=1)
    assert 0.1 < (loudness < 0.01).mean() < 0.5  # pauses
    assert samples[0] == samples[-1] == 0
    for start in loop(voice, RATE_HZ).phrase_starts:
        assert start % 2 == 0
        assert abs(samples[start // 2]) < 0.01


def test_voices_differ_in_pitch() -> None:
    def pitch_hz(voice: str) -> float:
        samples = np.frombuffer(loop(voice, RATE_HZ).pcm, "<i2")[:RATE_HZ].astype(float)
        half = samples[: RATE_HZ // 2]
        lags = range(RATE_HZ // 300, RATE_HZ // 80)
        return RATE_HZ / max(
            lags, key=lambda lag: float((samples[lag : lag + len(half)] * half).sum())
        )

    assert pitch_hz("Ethan") < 150 < pitch_hz("Cherry")


def test_a_reply_starts_and_ends_without_a_click(sim: Simulator) -> None:
    samples = np.frombuffer(pcm(ask(sim, "hello there you", **SPEECH)), "<i2")
    assert abs(int(samples[0])) < 300
    assert abs(int(samples[-1])) < 300


def test_speech_costs_microseconds_once_the_voice_is_known() -> None:
    list(speak("Cherry", 5, FORM, opening=0))
    begun = time.process_time()
    for _ in range(100):
        list(speak("Cherry", 5, FORM, opening=0))
    assert (time.process_time() - begun) / 100 < 0.002


def test_chunk_bytes_set_the_size_of_pieces() -> None:
    with Simulator(SimulatorOptions(audio_chunk_bytes=1001)) as sim:
        pieces = [d["audio"]["data"] for d in deltas(ask(sim, **SPEECH)) if "audio" in d]
    assert len(base64.b64decode(pieces[0])) == 1001


@pytest.mark.parametrize("headers", ["first", "every"])
def test_pieces_may_begin_with_wav_headers(sim: Simulator, headers: str) -> None:
    with Simulator(SimulatorOptions(wav_headers=headers)) as other:
        chunks = ask(other, "a few more words", **SPEECH)
    expected = ask(sim, "a few more words", **SPEECH)
    pieces = [base64.b64decode(d["audio"]["data"]) for d in deltas(chunks) if "audio" in d]
    headed = [piece.startswith(b"RIFF") for piece in pieces]
    assert headed == [index == 0 or headers == "every" for index in range(len(pieces))]
    bare = [piece[44:] if head else piece for piece, head in zip(pieces, headed, strict=True)]
    assert b"".join(bare) == pcm(expected)
    if headers == "every":
        with wave.open(io.BytesIO(pieces[-1])) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
            assert file.getnframes() * 2 == len(bare[-1])
