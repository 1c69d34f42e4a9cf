"""Small real media files, made on the spot."""

import io
import struct
import zlib
from pathlib import Path

import av
import numpy as np
import soundfile
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
