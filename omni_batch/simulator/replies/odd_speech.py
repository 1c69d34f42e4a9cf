"""Speech that is not what was asked for. Only speech in `delta.audio` is changed."""

import io
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pybase64

from omni_batch.simulator.replies.frames import DONE, Frame, payload, sse
from omni_batch.simulator.replies.speech import RATE_HZ, wav_header

_RIFF = pybase64.b64encode(b"RIFF")[:5].decode()
"""How base64 begins that begins with RIFF."""


def bare(choice: dict[str, Any]) -> None:
    """The base64 itself in the place of the object."""
    audio = choice["delta"].get("audio", {})
    if "data" in audio:
        choice["delta"]["audio"] = audio["data"]


def as_stereo(frames: Sequence[Frame]) -> Iterator[Frame]:
    """A WAV header of two channels before the first samples, or in every header that is there."""
    first = True
    for frame in frames:
        data = _data(frame)
        if data is None:
            yield frame
            continue
        if data.startswith(_RIFF):
            wav = pybase64.b64decode(data)
            data = pybase64.b64encode(_two_channels(wav)).decode()
        elif first:
            data = pybase64.b64encode(_opening()).decode() + data
        first = False
        yield _with_data(frame, data)


def _opening() -> bytes:
    """A header of two channels, as long as base64 needs it to be joined with more."""
    header = _two_channels(wav_header(0xFFFFFFFF))
    return header[:36] + b"JUNK\2\0\0\0\0\0" + header[36:]


def _two_channels(wav: bytes) -> bytes:
    rate_hz = int.from_bytes(wav[24:28], "little")
    form = (rate_hz * 4).to_bytes(4, "little") + (4).to_bytes(2, "little")
    return wav[:22] + b"\2\0" + wav[24:28] + form + wav[34:]


def as_mp3(frames: Sequence[Frame]) -> Iterator[Frame]:
    """As long as the speech that it replaces, in as many pieces."""
    spoken = [frame for frame in frames if _data(frame) is not None]
    mp3 = _mp3(sum(frame.sound_s for frame in spoken)) if spoken else b""
    edges = [len(mp3) * number // max(1, len(spoken)) for number in range(len(spoken) + 1)]
    pieces = iter([mp3[start:end] for start, end in pairwise(edges)])
    for frame in frames:
        if _data(frame) is None:
            yield frame
        else:
            yield _with_data(frame, pybase64.b64encode(next(pieces)).decode())


def _mp3(seconds: float) -> bytes:
    # Few requests need an encoder, and it takes a moment to import.
    import av
    import numpy as np

    from omni_batch.simulator.replies import synth_speech

    pcm = synth_speech.loop("Cherry", RATE_HZ).pcm
    samples = np.resize(np.frombuffer(pcm, "<i2"), max(1, round(seconds * RATE_HZ)))
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=RATE_HZ, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], "s16p", "mono")
        frame.sample_rate = RATE_HZ
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return file.getvalue()


def _data(frame: Frame) -> str | None:
    """The base64 of a frame; None where it holds none."""
    if frame.data == DONE:
        return None
    chunk: dict[str, Any] = payload(frame)
    for choice in chunk["choices"]:
        audio = choice["delta"].get("audio")
        return audio.get("data") if isinstance(audio, dict) else None
    return None


def _with_data(frame: Frame, data: str) -> Frame:
    chunk: dict[str, Any] = payload(frame)
    chunk["choices"][0]["delta"]["audio"]["data"] = data
    return sse(chunk, frame.sound_s)
