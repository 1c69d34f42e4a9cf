"""Videos that break limits, or that a reader may show otherwise than they are meant."""

import io
import re
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from omni_batch.changes import StillsChange
from omni_batch.fitting.codecs import stills as codec
from omni_batch.planning.check import check_manifest
from omni_batch.planning.plan import make_plan
from omni_batch.simulator import Simulator
from tests.conftest import MakeConfig
from tests.fitting.sent import MAKES_FIT, Sent, sent_by_fit

TURBO = "qwen-omni-turbo"  # takes 40 s of video, or 4 to 80 frames
RED, GREEN, BLUE, YELLOW = (200, 30, 30), (30, 150, 40), (40, 60, 200), (220, 200, 40)
SIZE_PX = (96, 64)
RATE_HZ = 48_000


def shown(at_s: float, total_s: float, size_px: tuple[int, int] = SIZE_PX) -> Any:
    """Four colours, and in the middle a grey that tells the time."""
    width, height = size_px
    pixels = np.zeros((height, width, 3), np.uint8)
    for place, colour in enumerate((RED, GREEN, BLUE, YELLOW)):
        top, left = place // 2 * (height // 2), place % 2 * (width // 2)
        pixels[top : top + height // 2 + 1, left : left + width // 2 + 1] = colour
    middle = slice(height // 4, height * 3 // 4), slice(width // 4, width * 3 // 4)
    pixels[middle] = round(16 + 224 * at_s / total_s)
    return pixels


def film(
    path: Path,
    times_s: Sequence[float],
    total_s: float,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size_px: tuple[int, int] = SIZE_PX,
    tone_hz: float | None = None,
    tone_begins_s: float = 0.0,
    begins_s: float = 0.0,
    every: int = 12,
    **options: str,
) -> Path:
    """Pictures at given times; with a tone, if one is wanted."""
    ticks = Fraction(1, 1000)
    with av.open(str(path), "w", options=options) as muxer:
        video: Any = muxer.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = *size_px, pixels
        video.codec_context.time_base, video.codec_context.gop_size = ticks, every
        audio: Any = muxer.add_stream("aac", rate=RATE_HZ, layout="mono") if tone_hz else None
        for at_s in times_s:
            frame = av.VideoFrame.from_ndarray(shown(at_s, total_s, size_px), "rgb24")
            frame.pts, frame.time_base = round((begins_s + at_s) / ticks), ticks
            muxer.mux(video.encode(frame))
        muxer.mux(video.encode(None))
        if audio is not None:
            at = np.arange(round((total_s - tone_begins_s) * RATE_HZ)) / RATE_HZ
            wave = (0.3 * np.sin(2 * np.pi * (tone_hz or 0) * at)).astype(np.float32)
            sound = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
            sound.sample_rate, sound.time_base = RATE_HZ, Fraction(1, RATE_HZ)
            sound.pts = round((begins_s + tone_begins_s) * RATE_HZ)
            muxer.mux(audio.encode(sound))
            muxer.mux(audio.encode(None))
    return path


def even_times(seconds: float, a_second: float = 2) -> list[float]:
    return [number / a_second for number in range(round(seconds * a_second))]


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Write a display matrix into the track header of an MP4 (ISO 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    matrix = (a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    data[place : place + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)


def pictures(sent: Sent) -> tuple[list[Any], list[float]]:
    """What is seen, as it lies, and when."""
    if len(sent.files) > 1:
        images = [Image.open(io.BytesIO(file)).convert("RGB") for file in sent.files]
        return [np.asarray(image) for image in images], []
    with av.open(io.BytesIO(sent.only), "r") as container:
        frames = list(container.decode(video=0))
        assert all(frame.rotation == 0 for frame in frames)
        return [frame.to_ndarray(format="rgb24") for frame in frames], [f.time for f in frames]


def told_s(pixels: Any, total_s: float) -> float:
    height, width = pixels.shape[:2]
    middle = pixels[height * 3 // 8 : height * 5 // 8, width * 3 // 8 : width * 5 // 8]
    return float((middle.mean() - 16) / 224 * total_s)


def is_upright(
    pixels: Any, colours: Sequence[tuple[int, ...]] = (RED, GREEN, BLUE, YELLOW)
) -> bool:
    height, width = pixels.shape[:2]
    places = [(height * y // 8, width * x // 8) for y in (1, 7) for x in (1, 7)]
    return all(
        np.abs(pixels[place].astype(int) - colour).max() < 45
        for place, colour in zip(places, colours, strict=True)
    )


async def test_a_long_video_becomes_frames_that_are_spread_by_time(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    bunched = [n / 10 for n in range(40)] + [4.0 + n for n in range(42)]
    film(tmp_path / "even.mp4", even_times(46), 46, tone_hz=600)
    film(tmp_path / "bunched.mkv", bunched, 46)
    film(tmp_path / "late.mkv", even_times(46), 46, begins_s=600)
    names = ["even.mp4", "bunched.mkv", "late.mkv"]
    rows = [{"item_id": name, "video": name} for name in names]
    found = await sent_by_fit(make_config, simulator, rows, model=TURBO)
    for name, sent in found.items():
        seen, _ = pictures(sent)
        times_s = [told_s(each, 46) for each in seen]
        assert len(seen) == 80, name
        assert np.abs(np.array(times_s) - np.linspace(0, times_s[-1], 80)).max() < 1.5, name
        assert times_s[-1] > 44, name
        assert all(map(is_upright, seen)), name
        assert sent.row["media"] == [name]
        assert sent.row["sent_formats"] == ["jpeg"]
        assert sent.row["sent_bytes"] == [sum(map(len, sent.files))]
    assert found["even.mp4"].rules == ["video-fitted", "sound-left-out"]
    assert found["late.mkv"].rules == ["video-fitted"]


async def test_or_it_is_cut_and_keeps_its_sound(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    film(tmp_path / "a.mkv", even_times(46), 46, tone_hz=600, tone_begins_s=1.0, begins_s=30)
    found = await sent_by_fit(
        *(make_config, simulator, [{"item_id": "a", "video": "a.mkv"}]),
        model=TURBO,
        media={"fit_video": "cut"},
    )
    seen, times_s = pictures(found["a"])
    assert times_s[-1] == 39.5
    assert all(abs(told_s(each, 46) - at) < 0.5 for each, at in zip(seen, times_s, strict=True))
    assert found["a"].rules == ["video-fitted", "video-cut"]
    with av.open(io.BytesIO(found["a"].only), "r") as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    loud = [float(np.abs(sound[n * RATE_HZ // 2 :][: RATE_HZ // 2]).mean()) for n in range(4)]
    assert [value > 0.02 for value in loud] == [False, False, True, True]
    assert len(sound) / RATE_HZ == pytest.approx(39.9, abs=0.05)


@pytest.mark.parametrize(
    ("matrix", "seen"),
    [
        ((0, 1, -1, 0), (BLUE, RED, YELLOW, GREEN)),  # a quarter clockwise, as phones have it
        ((0, -1, 1, 0), (GREEN, YELLOW, RED, BLUE)),
        ((-1, 0, 0, -1), (YELLOW, BLUE, GREEN, RED)),
        ((-1, 0, 0, 1), (GREEN, RED, YELLOW, BLUE)),  # mirrored
        ((1, 0, 0, -1), (BLUE, YELLOW, RED, GREEN)),
        ((0, 1, 1, 0), (RED, BLUE, GREEN, YELLOW)),
        ((0, -1, -1, 0), (YELLOW, GREEN, BLUE, RED)),
    ],
)
async def test_every_matrix_is_heeded_and_gone(
    simulator: Simulator,
    make_config: MakeConfig,
    tmp_path: Path,
    matrix: tuple[int, int, int, int],
    seen: Sequence[tuple[int, ...]],
) -> None:
    with_matrix(film(tmp_path / "a.mp4", even_times(5), 5), *matrix)
    found = await sent_by_fit(make_config, simulator, [{"item_id": "a", "video": "a.mp4"}])
    first = pictures(found["a"])[0][0]
    assert first.shape[:2] == (SIZE_PX if matrix[0] == 0 else SIZE_PX[::-1])
    assert is_upright(first, seen)
    assert found["a"].rules == ["video-fitted"]


async def test_odd_sides_and_pixels_of_many_bits_are_made_plain(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    film(tmp_path / "a.mp4", even_times(4), 4, pixels="yuv444p", size_px=(95, 63))
    film(tmp_path / "b.mkv", even_times(4), 4, codec="libx264", pixels="yuv420p10le")
    film(tmp_path / "c.webm", even_times(4), 4, codec="libvpx")
    names = ["a.mp4", "b.mkv", "c.webm"]
    rows = [{"item_id": name, "video": name} for name in names]
    for name, sent in (await sent_by_fit(make_config, simulator, rows)).items():
        with av.open(io.BytesIO(sent.only), "r") as container:
            stream = container.streams.video[0]
            assert stream.codec_context.pix_fmt == "yuv420p", name
            assert (stream.width % 2, stream.height % 2) == (0, 0), name
            assert container.format.name.startswith("mov"), name
        assert is_upright(pictures(sent)[0][0]), name
        assert sent.row["sent_formats"] == ["mp4"]
        assert sent.rules == ["video-fitted"], name


async def test_what_fits_goes_out_byte_for_byte(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    film(tmp_path / "a.mp4", even_times(4), 4, tone_hz=600)
    film(tmp_path / "b.avi", even_times(4), 4, codec="mpeg4")
    rows = [{"item_id": name, "video": name} for name in ("a.mp4", "b.avi")]
    for name, sent in (await sent_by_fit(make_config, simulator, rows)).items():
        assert sent.only == (tmp_path / name).read_bytes()
        assert "video-fitted" not in sent.rules


async def test_a_video_of_too_many_bytes_is_coded_anew(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    noise = np.random.default_rng(7)
    with av.open(str(tmp_path / "a.avi"), "w") as muxer:
        stream: Any = muxer.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
        stream.codec_context.qmin = stream.codec_context.qmax = 2
        for _ in range(40):
            pixels = noise.integers(0, 256, (480, 640, 3), dtype=np.uint8)
            muxer.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        muxer.mux(stream.encode(None))
    assert (tmp_path / "a.avi").stat().st_size > 8_000_000
    found = await sent_by_fit(make_config, simulator, [{"item_id": "a", "video": "a.avi"}])
    assert len(found["a"].only) < 7_864_272  # 10 MB as base64
    assert len(pictures(found["a"])[0]) == 40


async def test_a_short_video_is_sent_as_frames(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    film(tmp_path / "a.mp4", even_times(1, 10), 1)
    found = await sent_by_fit(
        make_config, simulator, [{"item_id": "a", "video": "a.mp4"}], model=TURBO
    )
    assert len(found["a"].files) == 4


async def test_of_a_video_that_is_cut_off_what_is_whole_is_sent(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    whole = film(tmp_path / "whole.mkv", even_times(46), 46).read_bytes()
    (tmp_path / "a.mkv").write_bytes(whole[: len(whole) * 6 // 10])
    long = film(tmp_path / "long.mkv", even_times(100), 100).read_bytes()
    (tmp_path / "b.mkv").write_bytes(long[: len(long) * 6 // 10])
    (tmp_path / "c.mkv").write_bytes(long[:1000])
    rows = [{"item_id": name, "video": f"{name}.mkv"} for name in "abc"]
    found = await sent_by_fit(make_config, simulator, rows, model=TURBO)
    seen, _ = pictures(found["a"])
    assert 18 < told_s(seen[-1], 46) < 46 * 0.7
    assert "video-cut" not in found["a"].rules  # what is there is short enough
    (damage,) = [warning for warning in found["a"].row["warnings"] if "damaged" in warning]
    assert re.search(r"of 4[56]\.\d s only", damage), damage
    frames, _ = pictures(found["b"])
    times_s = [told_s(each, 100) for each in frames]
    assert len(frames) == 80
    assert 40 < times_s[-1] < 70
    assert np.abs(np.array(times_s) - np.linspace(0, times_s[-1], 80)).max() < 1.5
    for name in "ab":
        assert {"video-fitted", "video-damaged"} <= set(found[name].rules), name
    assert found["c"].row["status"] == "failed"
    assert found["c"].files == []
    report = await check_manifest(make_plan(make_config(rows[:1], model=TURBO, media=MAKES_FIT)))
    assert "cut off" in report.warnings[-1].message


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
async def test_sound_that_is_longer_than_the_pictures_is_no_damage(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path, name: str
) -> None:
    film(tmp_path / name, even_times(5), 30, tone_hz=600, pixels="yuv444p")
    found = await sent_by_fit(make_config, simulator, [{"item_id": "a", "video": name}])
    assert "video-damaged" not in found["a"].rules
    assert "cut off" not in " ".join(found["a"].row["warnings"])
    with av.open(io.BytesIO(found["a"].only), "r") as container:
        sound = sum(frame.samples for frame in container.decode(audio=0))
    assert sound / RATE_HZ == pytest.approx(30, abs=0.1)


async def test_the_frames_are_told_how_far_apart_they_are_where_a_model_asks(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    film(tmp_path / "a.mp4", even_times(1, 10), 1)
    model = "qwen3.5-omni-flash"
    found = await sent_by_fit(
        make_config, simulator, [{"item_id": "a", "video": "a.mp4"}], model=model
    )
    assert found["a"].parts[0]["fps"] == pytest.approx(1.0, abs=0.2)


async def test_fewer_frames_save_tokens(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    film(tmp_path / "a.mp4", even_times(46), 46)
    found = await sent_by_fit(
        *(make_config, simulator, [{"item_id": "a", "video": "a.mp4"}]),
        model=TURBO,
        media={"max_frames": 6},
    )
    assert len(found["a"].files) == 6


async def test_what_cant_be_made_small_enough_fails_its_row(
    simulator: Simulator, make_config: MakeConfig, tmp_path: Path
) -> None:
    film(tmp_path / "a.mp4", even_times(46), 46)
    found = await sent_by_fit(
        *(make_config, simulator, [{"item_id": "a", "video": "a.mp4"}]),
        model=TURBO,
        media={"max_body_bytes": 10_000},
    )
    assert "can't be made smaller than 93 bytes" in found["a"].row["error_message"]


def test_all_frames_of_a_list_have_one_size_and_few_enough_bytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(7)
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as muxer:
        stream: Any = muxer.add_stream("libx264", rate=2)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(20):
            pixels = np.full((240, 320, 3), 99, np.uint8)
            if number == 12:
                pixels = noise.integers(0, 256, (240, 320, 3), dtype=np.uint8)
            muxer.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        muxer.mux(stream.encode(None))
    (folder := tmp_path / "made").mkdir()
    made = codec.make_stills(path, folder, StillsChange(320, 240, 20, 9_000))
    sizes_px = {(file.width_px, file.height_px) for file in made.files}
    assert len(sizes_px) == 1
    assert sizes_px != {(320, 240)}
    assert all(file.size_bytes <= 9_000 for file in made.files)


def test_skipping_what_is_not_shown_changes_no_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "a.mp4", even_times(400, 5), 400, every=40)
    change = StillsChange(*SIZE_PX, 12)
    seen = []
    for name, least_s in (("skipped", 5.0), ("all", 1e9)):
        monkeypatch.setattr(codec, "_WORTH_SKIPPING_S", least_s)
        (folder := tmp_path / name).mkdir()
        seen.append([file.sha256 for file in codec.make_stills(path, folder, change).files])
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 12
