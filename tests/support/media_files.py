"""Small real media files, made on the spot."""

import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from av.container import OutputContainer
from PIL import Image


def picture(format_name: str = "PNG", width_px: int = 48, height_px: int = 32) -> bytes:
    """Noise: nothing of it compresses away, so a cut is a cut."""
    noise = np.random.default_rng(7).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, format_name)
    return file.getvalue()


def bomb(side_px: int = 60_000) -> bytes:
    """A PNG of a few bytes whose header claims a picture of gigabytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def sound(format_name: str = "WAV", duration_s: float = 0.5, rate_hz: int = 16_000) -> bytes:
    """A tone; libsndfile writes WAV, FLAC, OGG and MP3."""
    file = io.BytesIO()
    soundfile.write(file, _tone(duration_s, rate_hz), rate_hz, format=format_name)
    return file.getvalue()


def clip(
    path: Path,
    *,
    with_sound: bool = False,
    duration_s: float = 1.0,
    frames_per_s: int = 10,
    width: int = 64,
    height: int = 48,
) -> Path:
    """Moving noise; the container is the one the ending names."""
    rate_hz = 16_000
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=frames_per_s)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = container.add_stream("aac", rate=rate_hz, layout="mono") if with_sound else None
        random = np.random.default_rng(7)
        for _ in range(round(duration_s * frames_per_s)):
            pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(video.encode())
        if audio is not None:
            tone = _tone(duration_s, rate_hz).astype(np.float32)[None, :]
            frame = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
            frame.sample_rate = rate_hz
            container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


def _tone(duration_s: float, rate_hz: int) -> np.ndarray:
    return 0.3 * np.sin(np.arange(round(duration_s * rate_hz)) * 2 * np.pi * 440 / rate_hz)


def recording(
    container: str,
    codec: str,
    duration_s: float = 3.0,
    *,
    begins_s: int = 0,
    quiet_first: bool = False,
    rate_hz: int = 16_000,
    **options: str,
) -> bytes:
    """Noise in any container; `options` are the muxer's."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options) as muxer:
        _sound(muxer, codec, duration_s, begins_s, rate_hz, quiet_first=quiet_first)
    return file.getvalue()


def film(
    container: str,
    codec: str = "mpeg4",
    duration_s: float = 3.0,
    *,
    begins_s: int = 0,
    sound_codec: str | None = None,
    sound_s: float | None = None,
    frames_per_s: int = 10,
    **options: str,
) -> bytes:
    """Moving noise, 64 x 48, in any container; pictures and sound may differ in length."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options) as muxer:
        video: Any = muxer.add_stream(codec, rate=frames_per_s)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        random = np.random.default_rng(7)
        audio: Any = (
            muxer.add_stream(sound_codec, rate=48_000, layout="mono") if sound_codec else None
        )
        for number in range(round(duration_s * frames_per_s)):
            pixels = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = number + begins_s * frames_per_s, Fraction(1, frames_per_s)
            muxer.mux(video.encode(frame))
        muxer.mux(video.encode())
        if audio is not None:
            _fill(muxer, audio, sound_s or duration_s, begins_s, 48_000, quiet_first=False)
    return file.getvalue()


def _sound(
    muxer: OutputContainer,
    codec: str,
    duration_s: float,
    begins_s: int,
    rate_hz: int,
    *,
    quiet_first: bool,
) -> None:
    stream = muxer.add_stream(codec, rate=rate_hz, layout="mono")
    _fill(muxer, stream, duration_s, begins_s, rate_hz, quiet_first=quiet_first)


def _fill(
    muxer: OutputContainer,
    stream: Any,
    duration_s: float,
    begins_s: int,
    rate_hz: int,
    *,
    quiet_first: bool,
) -> None:
    noise = np.random.default_rng(7).normal(0, 0.2, (1, round(duration_s * rate_hz)))
    if quiet_first:
        noise[0, : noise.shape[1] // 2] = 0
    resampler = av.AudioResampler(stream.codec_context.format, "mono", rate_hz)
    for start in range(0, noise.shape[1], rate_hz):
        samples = noise[:, start : start + rate_hz].astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
        frame.pts = start + begins_s * rate_hz
        for resampled in resampler.resample(frame):
            muxer.mux(stream.encode(resampled))
    muxer.mux(stream.encode())


def box(name: bytes, *content: bytes) -> bytes:
    """A box of an ISO file."""
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), name) + body


def full_box(name: bytes, *content: bytes, version: int = 0, flags: int = 0) -> bytes:
    """A box with a version and flags."""
    return box(name, struct.pack(">I", version << 24 | flags), *content)


def still(
    brands: tuple[bytes, ...] = (b"heic", b"mif1", b"heic"),
    size_px: tuple[int, int] = (4032, 3024),
    *,
    quarter_turns: int | None = None,
    codec: bytes = b"hvc1",
    tile_px: tuple[int, int] | None = None,
) -> bytes:
    """A HEIC or AVIF file as phones write it, with noise in place of its coded picture.

    Args:
        brands: the first, then the compatible ones.
        quarter_turns: of the picture as it is shown; None leaves the property out.
        tile_px: size of the tiles, of which the picture is then a grid.
    """
    properties = [full_box(b"ispe", struct.pack(">II", *size_px))]
    if quarter_turns is not None:
        properties.append(box(b"irot", bytes([quarter_turns])))
    main = bytes([len(properties), *(0x80 | n for n in range(1, len(properties) + 1))])
    items, owners = [(1, b"grid" if tile_px else codec)], [struct.pack(">H", 1) + main]
    if tile_px:
        properties.append(full_box(b"ispe", struct.pack(">II", *tile_px)))
        items.append((2, codec))
        owners.insert(0, struct.pack(">HBB", 2, 1, len(properties)))  # a tile comes first
    infos = [
        full_box(b"infe", struct.pack(">HH4s", number, 0, kind), b"\0", version=2)
        for number, kind in items
    ]
    data = np.random.default_rng(7).bytes(2_000)
    ftyp = box(b"ftyp", brands[0], bytes(4), *brands[1:])

    def meta(offset: int) -> bytes:
        place = struct.pack(">HHHII", items[-1][0], 0, 1, offset, len(data))
        return full_box(
            b"meta",
            full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", struct.pack(">H", 1)),
            full_box(b"iloc", struct.pack(">BBH", 0x44, 0, 1), place),
            full_box(b"iinf", struct.pack(">H", len(items)), *infos),
            box(
                b"iprp",
                box(b"ipco", *properties),
                full_box(b"ipma", struct.pack(">I", len(owners)), *owners),
            ),
        )

    return ftyp + meta(len(ftyp) + len(meta(0)) + 8) + box(b"mdat", data)
