"""Small real files, made when they are needed, and the message parts that carry them."""

import base64
import io
import wave
from functools import lru_cache
from typing import Any

import av
import numpy as np
from PIL import Image


@lru_cache
def jpeg(width: int, height: int, colour: tuple[int, int, int] = (20, 120, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "JPEG")
    return file.getvalue()


@lru_cache
def wav(seconds: float, rate_hz: int = 16_000, level: float = 0.3) -> bytes:
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    wave_form = np.sin(times * 1400) * (np.sin(times * 5) > -0.5) * level
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes((wave_form * 32767).astype("<i2").tobytes())
    return file.getvalue()


@lru_cache
def encoded_sound(seconds: float, container: str, codec: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        _add_sound(out, seconds, codec)
    return file.getvalue()


def _add_sound(out: Any, seconds: float, codec: str) -> None:
    stream = out.add_stream(codec, rate=44_100, layout="mono")
    samples = np.sin(np.arange(round(44_100 * seconds)) / 20)[None].astype(np.float32)
    frame = av.AudioFrame.from_ndarray(samples / 4, "fltp", "mono")
    frame.sample_rate = 44_100
    for packet in [*stream.encode(frame), *stream.encode(None)]:
        out.mux(packet)


@lru_cache
def mp4(seconds: float, width: int = 320, height: int = 240, fps: int = 25) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        picture = _blue(width, height)
        for number in range(round(seconds * fps)):
            picture.pts = number
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return file.getvalue()


def _blue(width: int, height: int) -> av.VideoFrame:
    pixels = np.full((height, width, 3), (20, 40, 200), np.uint8)
    return av.VideoFrame.from_ndarray(pixels, "rgb24")


@lru_cache
def mp4_with_sound(seconds: float) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        sound = out.add_stream("aac", rate=44_100, layout="mono")
        for number in range(round(seconds * 25)):
            picture = _blue(320, 240)
            picture.pts = number
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
        samples = np.zeros((1, round(44_100 * seconds)), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate = 44_100
        for packet in [*sound.encode(frame), *sound.encode(None)]:
            out.mux(packet)
    return file.getvalue()


def uri(data: bytes, mime_type: str = "") -> str:
    return f"data:{mime_type};base64,{base64.b64encode(data).decode()}"


def image(url: str, **options: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}, **options}


def audio(url: str) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": url, "format": "wav"}}


def video(url: str, **options: Any) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": url}, **options}


def frames(urls: list[str]) -> dict[str, Any]:
    return {"type": "video", "video": urls}
