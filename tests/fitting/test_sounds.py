"""Recordings that break limits: no channel is lost, and no end."""

import io
import shutil
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import omni_batch
from omni_batch.fitting.codecs.samples import mixed
from omni_batch.fitting.windows import cut_windows, even_windows
from omni_batch.planning.check import check_manifest
from omni_batch.planning.plan import make_plan
from omni_batch.simulator import Simulator, reply
from tests.conftest import MakeConfig, read_table
from tests.fitting.sent import MAKES_FIT, made_in, sent_by_fit

TURBO = "qwen-omni-turbo"  # takes 180 s of sound


def tones(hz: Sequence[float], seconds: float, rate_hz: int) -> Any:
    """A channel for each tone."""
    at_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.array([0.3 * np.sin(2 * np.pi * f * at_s) for f in hz], np.float32)


def recording(
    path: Path,
    codec: str,
    samples: Any,
    rate_hz: int,
    *,
    layout: str = "mono",
    form: str | None = None,
    begins_s: float = 0,
    left_out_s: tuple[float, float] | None = None,
) -> None:
    """Samples in any container; a stretch of them may be missing in the file."""
    with av.open(str(path), "w", format=form) as muxer:
        stream: Any = muxer.add_stream(codec, rate=rate_hz, layout=layout)
        for start in range(0, samples.shape[1], rate_hz // 10):
            at_s = start / rate_hz
            if left_out_s and left_out_s[0] <= at_s < left_out_s[1]:
                continue
            piece = samples[:, start : start + rate_hz // 10]
            frame = av.AudioFrame.from_ndarray(piece.T.reshape(1, -1), "flt", layout)
            frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
            frame.pts = start + round(begins_s * rate_hz)
            muxer.mux(stream.encode(frame))
        muxer.mux(stream.encode(None))


def heard(data: bytes) -> tuple[Any, int, str]:
    """Samples (channels by time), rate, and FFmpeg's name of the container."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("fltp", stream.layout.name, stream.rate)
        pieces = [
            ready.to_ndarray()
            for frame in [*container.decode(stream), None]
            for ready in resampler.resample(frame)
        ]
        return np.concatenate(pieces, axis=1), stream.rate, container.format.name


def level(samples: Any, rate_hz: int, hz: float) -> float:
    """How loud a tone is in all channels together."""
    at_s = np.arange(samples.shape[1]) / rate_hz
    wave = np.exp(-2j * np.pi * hz * at_s)
    return float(np.sqrt(sum(abs((channel * wave).mean()) ** 2 for channel in samples)))


async def test_formats_and_rates_become_those_that_are_documented(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    high = tones([440], 2, 96_000)
    recording(tmp_path / "a.flac", "flac", high, 96_000)
    recording(tmp_path / "b.wav", "pcm_s24le", high, 96_000)
    plain = tones([440], 2, 11_025)
    recording(tmp_path / "c.aiff", "pcm_s16be", plain, 11_025)
    recording(tmp_path / "d.au", "pcm_mulaw", tones([440], 2, 8_000), 8_000)
    recording(tmp_path / "e.caf", "pcm_s16be", plain, 11_025)
    recording(tmp_path / "f.w64", "pcm_s16le", plain, 11_025)
    recording(tmp_path / "g.wv", "wavpack", plain, 11_025)
    recording(tmp_path / "h.ac3", "ac3", tones([440], 2, 48_000), 48_000)
    recording(tmp_path / "i.webm", "libopus", tones([440], 2, 48_000), 48_000)
    names = made_in(tmp_path)
    rows = [{"item_id": name, "audio": name} for name in names]
    found = await sent_by_fit(make_config, simulator, rows)
    for name in names:
        samples, rate_hz, container = heard(found[name].only)
        assert container == "wav", name
        assert rate_hz <= 48_000, name
        assert samples.shape[1] / rate_hz == pytest.approx(2, abs=0.1), name
        assert level(samples, rate_hz, 440) > 0.1, name
        assert found[name].rules == ["sound-fitted"], name
        assert found[name].parts[0]["input_audio"]["format"] == "wav", name
        assert found[name].row["sent_s"] == [pytest.approx(2, abs=0.1)]


async def test_what_is_documented_goes_out_byte_for_byte(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    stereo = tones([440, 660], 2, 44_100)
    recording(tmp_path / "a.wav", "pcm_s16le", stereo, 44_100, layout="stereo")
    recording(tmp_path / "b.mp3", "libmp3lame", stereo, 44_100, layout="stereo")
    recording(tmp_path / "c.m4a", "aac", stereo, 44_100, layout="stereo", form="mp4")
    recording(tmp_path / "d.ogg", "libopus", tones([440], 2, 48_000), 48_000)
    names = ["a.wav", "b.mp3", "c.m4a", "d.ogg"]
    rows = [{"item_id": name, "audio": name} for name in names]
    for name, sent in (await sent_by_fit(make_config, simulator, rows)).items():
        assert sent.only == (tmp_path / name).read_bytes(), name
        assert not {"sound-fitted"} & set(sent.rules)


@pytest.mark.parametrize(
    ("layout", "hz"),
    [
        ("5.1", [400, 600, 800, 60, 1000, 1200]),
        ("quad", [400, 600, 800, 1000]),
        ("7.1", [400, 600, 800, 60, 1000, 1200, 1400, 1600]),
    ],
)
async def test_every_channel_but_lfe_is_heard(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path, layout: str, hz: list[float]
) -> None:
    recording(tmp_path / "a.flac", "flac", tones(hz, 2, 16_000), 16_000, layout=layout)
    found = await sent_by_fit(make_config, simulator, [{"item_id": "a", "audio": "a.flac"}])
    samples, rate_hz, _ = heard(found["a"].only)
    levels = {f: level(samples, rate_hz, f) for f in hz if f != 60}
    assert len(samples) == 2
    assert min(levels.values()) > max(levels.values()) / 10  # 20 dB


def test_channels_of_unknown_places_are_all_mixed_in() -> None:
    samples = np.eye(6, dtype=np.float32)
    both = mixed(samples, ["NONE"] * 6, 2)
    assert (both.sum(axis=0) > 0).all()
    assert (mixed(samples, ["NONE"] * 6, 1) > 0).all()


async def test_a_recording_that_begins_late_or_has_a_hole_keeps_its_clock(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    samples = tones([440], 6, 16_000)
    where = {"begins_s": 600.0, "left_out_s": (2.0, 4.0)}
    recording(tmp_path / "a.mka", "flac", samples, 16_000, **where)  # type: ignore[arg-type]
    found = await sent_by_fit(make_config, simulator, [{"item_id": "a", "audio": "a.mka"}])
    heard_now, rate_hz, _ = heard(found["a"].only)
    loud = [level(heard_now[:, n * rate_hz : (n + 1) * rate_hz], rate_hz, 440) for n in range(6)]
    assert [value > 0.1 for value in loud] == [True, True, False, False, True, True]


# --- windows ---


def stairs(seconds: int, rate_hz: int = 8_000) -> Any:
    """Second n is a tone of 300 + 8 n Hz."""
    return np.concatenate([tones([300 + 8 * n], 1, rate_hz) for n in range(seconds)], axis=1)


def place_of(data: bytes, second: float) -> int:
    """Which second of the stairs is heard so far into a file."""
    samples, rate_hz, _ = heard(data)
    piece = samples[:1, round(second * rate_hz) :][:, : rate_hz // 2]
    return max(range(500), key=lambda n: level(piece, rate_hz, 300 + 8 * n))


async def test_a_long_recording_is_asked_about_in_windows_and_answered_in_one_row(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    samples = stairs(400)
    samples[:, 150 * 8_000 : 152 * 8_000] = 0
    recording(tmp_path / "a.wav", "pcm_s16le", samples, 8_000)
    simulator.script(*(reply.text(f"Part {number}.") for number in (1, 2, 3)))
    rows = [{"item_id": "a", "audio": "a.wav"}]
    sent = (await sent_by_fit(make_config, simulator, rows, model=TURBO))["a"]
    begins, ends = sent.row["window_begins_s"], sent.row["window_ends_s"]
    assert begins == [0, pytest.approx(150, abs=0.05), pytest.approx(327.5, abs=0.05)]
    assert ends == [pytest.approx(152, abs=0.05), pytest.approx(329.5, abs=0.05), 400]
    for file, begin_s in zip(sent.files, begins, strict=True):
        assert place_of(file, 3) == int(begin_s + 3)
    assert sent.row["window_texts"] == ["Part 1.", "Part 2.", "Part 3."]
    assert sent.row["text"].startswith("[00:00:00.000 - 00:02:32.000]\nPart 1.\n\n[00:02:30.000")
    assert sent.row["attempts"] == 3
    assert sent.row["media"] == ["a.wav"]
    assert sent.row["sent_s"] == [400]
    assert sent.row["sent_bytes"] == [sum(map(len, sent.files))]
    attempts = read_table(next((tmp_path / "runs").iterdir()), "attempts")
    assert sum(each["prompt_tokens"] for each in attempts) == sent.row["prompt_tokens"]
    assert sent.rules == ["sound-in-windows"]
    report = await check_manifest(make_plan(make_config(rows, model=TURBO, media=MAKES_FIT)))
    assert report.prompt.total == pytest.approx(sent.row["estimated_prompt_tokens"], rel=0.05)


async def test_an_answer_that_is_reused_has_its_windows(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    """By another row of the run, and by a later run."""
    recording(tmp_path / "a.wav", "pcm_s16le", tones([440], 200, 8_000), 8_000)
    shutil.copy(tmp_path / "a.wav", tmp_path / "b.wav")
    simulator.script(reply.text("Part 1."), reply.text("Part 2."))
    rows = [{"item_id": name, "audio": f"{name}.wav", "prompt": "Listen."} for name in "ab"]
    found = []
    for reused in (None, str(tmp_path / "runs" / "*")):
        config = make_config(rows, model=TURBO, media=MAKES_FIT, reuse=reused)
        record = (await omni_batch.run_batch(config)).record
        found += read_table(tmp_path / "runs" / record.run_id)
    assert len(simulator.requests) == 2
    assert [row["window_texts"] for row in found] == [["Part 1.", "Part 2."]] * 4
    names = ("window_begins_s", "window_ends_s", "text")
    assert all(row[name] == found[0][name] for row in found for name in names)


async def test_the_speech_of_all_windows_is_one_file(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    recording(tmp_path / "a.wav", "pcm_s16le", stairs(200), 8_000)
    simulator.script(*(reply.text("Yes.") for _ in range(2)))
    sent = (
        await sent_by_fit(
            *(make_config, simulator, [{"item_id": "a", "audio": "a.wav"}]),
            model=TURBO,
            request={"modalities": ["text", "audio"]},
        )
    )["a"]
    assert sent.row["status"] == "succeeded", sent.row["error_message"]
    (folder,) = (tmp_path / "runs").iterdir()
    speech, rate_hz = soundfile.read(folder / sent.row["audio_path"])
    assert len(speech) / rate_hz == sent.row["audio_s"]
    assert [path.name for path in (folder / "audio").iterdir()] == ["a.wav"]


async def test_windows_that_were_answered_are_kept_when_one_fails(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    recording(tmp_path / "a.wav", "pcm_s16le", stairs(200), 8_000)
    refusal = reply.status(400, code="data_inspection_failed")
    simulator.script(reply.text("Part 1."), refusal)
    rows = [{"item_id": "a", "audio": "a.wav"}]
    sent = (await sent_by_fit(make_config, simulator, rows, model=TURBO))["a"]
    assert sent.row["status"] == "failed"
    assert sent.row["error_message"].startswith("window 2 of 2: ")
    assert sent.row["window_texts"] == ["Part 1."]
    assert "Part 1." in sent.row["text"]
    assert sent.row["prompt_tokens"] > 0


async def test_typed_answers_are_not_asked_of_windows(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    recording(tmp_path / "a.wav", "pcm_s16le", stairs(200), 8_000)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    found = await sent_by_fit(
        *(make_config, simulator, [{"item_id": "a", "audio": "a.wav"}]),
        model=TURBO,
        annotation={"json_schema": schema},
    )
    assert found["a"].row["error_code"] == "windows-annotated"
    assert found["a"].files == []


LENGTHS = st.integers(1, 5_000)


@given(LENGTHS, LENGTHS, st.integers(0, 300), st.lists(st.tuples(LENGTHS, LENGTHS), max_size=9))
def test_windows_cover_all_and_overlap(
    total: int, longest: int, overlap: int, silences: list[tuple[int, int]]
) -> None:
    longest = max(longest, 8)
    windows = cut_windows(total, silences, longest, overlap)
    assert windows[0][0] == 0
    assert windows[-1][1] == total
    assert all(0 < end - begin <= longest for begin, end in windows)
    shared = min(overlap, longest // 4)
    for (_, end), (begin, _) in pairwise(windows):
        assert end - begin == shared
    assert len(windows) >= len(even_windows(total, longest, shared))
