"""Files as phones, browsers and tools write them, made when they are needed."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import av
import numpy as np
from PIL import Image

RATE_HZ = 16_000


def box(kind: bytes, *content: bytes) -> bytes:
    """One box of an ISO base media file."""
    whole = b"".join(content)
    return struct.pack(">I4s", 8 + len(whole), kind) + whole


def full_box(kind: bytes, *content: bytes, version: int = 0) -> bytes:
    """A box with version and flags."""
    return box(kind, bytes([version, 0, 0, 0]), *content)


@lru_cache
def heic(width: int, height: int, brand: bytes = b"heic") -> bytes:
    """A still coded as HEVC, with only the boxes that a reader can't do without."""
    hvcc, sample = _hevc(width, height)
    head = box(b"ftyp", brand, bytes(4), b"mif1heic")
    start = len(head) + len(_meta(0, len(sample), hvcc, width, height)) + 8
    return head + _meta(start, len(sample), hvcc, width, height) + box(b"mdat", sample)


def _meta(start: int, length: int, hvcc: bytes, width: int, height: int) -> bytes:
    item = full_box(b"infe", struct.pack(">HH4sx", 1, 0, b"hvc1"), version=2)
    size = full_box(b"ispe", struct.pack(">II", width, height))
    place = struct.pack(">BBHHHHII", 0x44, 0, 1, 1, 0, 1, start, length)
    links = struct.pack(">IHBBB", 1, 1, 2, 0x81, 0x02)
    properties = box(b"iprp", box(b"ipco", hvcc, size), full_box(b"ipma", links))
    return full_box(
        b"meta",
        full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
        full_box(b"pitm", struct.pack(">H", 1)),
        full_box(b"iloc", place),
        full_box(b"iinf", struct.pack(">H", 1), item),
        properties,
    )


def _hevc(width: int, height: int) -> tuple[bytes, bytes]:
    """The decoder's configuration and the one sample of a video of one frame."""
    file = io.BytesIO()
    with av.open(file, "w", format="hevc") as out:
        stream: Any = out.add_stream("libx265", rate=1, options={"x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for packet in [*stream.encode(gradient(width, height)), *stream.encode(None)]:
            out.mux(packet)
    units = [unit.rstrip(b"\0") for unit in file.getvalue().split(b"\0\0\1")[1:]]
    sets = [unit for unit in units if _kind(unit) in _PARAMETER_SETS]
    slices = [unit for unit in units if _kind(unit) < min(_PARAMETER_SETS)]
    arrays = [struct.pack(">BHH", _kind(unit), 1, len(unit)) + unit for unit in sets]
    # Of the rest of the configuration a decoder needs only that lengths have four bytes.
    hvcc = box(b"hvcC", b"\1", bytes(20), bytes([0xFF, len(arrays)]), *arrays)
    return hvcc, b"".join(struct.pack(">I", len(unit)) + unit for unit in slices)


_PARAMETER_SETS = range(32, 35)


def _kind(unit: bytes) -> int:
    return unit[0] >> 1 & 0x3F


def gradient(width: int, height: int) -> av.VideoFrame:
    """A picture in which no two regions are alike."""
    frame = av.VideoFrame.from_ndarray(_pixels(width, height), "rgb24")
    frame.pts = 0
    return frame


def _pixels(width: int, height: int) -> Any:
    across, down = np.arange(width), np.arange(height)[:, None]
    channels = np.broadcast_arrays(across * 3, down * 5, across * down)
    return (np.stack(channels, axis=-1) % 256).astype(np.uint8)


def still(kind: str, width: int = 160, height: int = 120, **options: Any) -> bytes:
    """The same picture in a format of Pillow's."""
    file = io.BytesIO()
    Image.fromarray(_pixels(width, height)).save(file, kind, **options)
    return file.getvalue()


def png_with(kind: bytes, content: bytes, *, checksum: int | None = None) -> bytes:
    """A PNG with one side chunk more, with a right checksum or the one given."""
    png = still("PNG")
    right = zlib.crc32(kind + content) if checksum is None else checksum
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", right)
    return png[:33] + chunk + png[33:]


def _tone(seconds: float) -> Any:
    return (np.sin(np.arange(round(seconds * RATE_HZ)) / 9) * 9000).astype(np.int16)[None]


def _quiet_then_noise(seconds: float) -> Any:
    noise = np.random.default_rng(0).integers(-9000, 9000, round(seconds * RATE_HZ))
    noise[: len(noise) // 2] = 0
    return noise.astype(np.int16)[None]


def _sound_packets(
    out: Any,
    codec: str,
    samples: Any,
    begin_s: float = 0.0,
    options: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Any]:
    stream: Any = out.add_stream(codec, rate=RATE_HZ, layout="mono", options=dict(options))
    frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
    frame.sample_rate = RATE_HZ
    frame.pts = round(begin_s * RATE_HZ)
    resampler = av.AudioResampler(stream.format, "mono", stream.rate)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        yield from stream.encode(part)
    yield from stream.encode(None)


def sound(
    container: str,
    codec: str,
    seconds: float,
    *,
    wave: Callable[[float], Any] = _tone,
    muxer: Sequence[str] = (),
    begin_s: float = 0.0,
    codec_options: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """A recording; `muxer` are KEY=VALUE options of the container."""
    file = io.BytesIO()
    told = dict(pair.split("=") for pair in muxer)
    with av.open(file, "w", format=container, container_options=told) as out:
        for packet in _sound_packets(out, codec, wave(seconds), begin_s, codec_options):
            out.mux(packet)
    return file.getvalue()


def vbr_mp3(seconds: float) -> bytes:
    """Variable bit rate, quiet at first, and no Xing header that would tell the length."""
    muxer = ("write_xing=0", "id3v2_version=0")
    variable = {"compression_level": "9", "flags": "+qscale", "global_quality": "236"}
    return sound(
        "mp3", "libmp3lame", seconds, wave=_quiet_then_noise, muxer=muxer, codec_options=variable
    )


def film(
    container: str,
    codec: str,
    seconds: float,
    *,
    sound_s: float | None = None,
    begin_s: float = 0.0,
    sound_codec: str = "libopus",
    live: bool = False,
) -> bytes:
    """A video of 128 x 96 at ten frames a second, with a sound track of its own length."""
    file = _Unseekable() if live else io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        packets = []
        sounds = [_sound_packets(out, sound_codec, _tone(sound_s), begin_s)] if sound_s else []
        picture = gradient(128, 96)
        for number in range(round(seconds * 10)):
            picture.pts = number + round(begin_s * 10)
            packets += stream.encode(picture)
        for packet in [*packets, *stream.encode(None), *(p for each in sounds for p in each)]:
            out.mux(packet)
    return file.getvalue()


def screen_recording(frame_count: int) -> bytes:
    """A live WebM whose frames come when something changes: now 40, now 300 ms apart."""
    file = _Unseekable()
    with av.open(file, "w", format="webm") as out:
        stream: Any = out.add_stream("libvpx-vp9", rate=30)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        picture, packets = gradient(128, 96), list[Any]()
        for number in range(frame_count):
            picture.pts, picture.time_base = 170 * number + 130 * (number % 2), Fraction(1, 1000)
            packets += stream.encode(picture)
        for packet in [*packets, *stream.encode(None)]:
            out.mux(packet)
    return file.getvalue()


def with_cover(mp3: bytes) -> bytes:
    """An MP3 without tags, and before it one that holds a picture."""
    content = b"\0image/jpeg\0\3\0" + still("JPEG")
    frame = struct.pack(">4sIH", b"APIC", len(content), 0) + content
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + size + frame + mp3


class _Unseekable(io.BytesIO):
    """A pipe: what was written can't be mended, so no duration ends up in the header."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise OSError("can't seek")


@lru_cache
def gif() -> bytes:
    """Two pictures that change."""
    frames = [Image.new("RGB", (60, 45), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=1500)
    return file.getvalue()


def without_index(mp4: bytes) -> bytes:
    """A recording that was cut off: the box with the index, which comes last, is missing."""
    return mp4[: mp4.rindex(b"moov") - 4]


def edit_list(mp4: bytes, shown: int) -> bytes:
    """The MP4 with its edit list told to show only the last `shown` units of its own clock."""
    at = mp4.index(b"elst") + 4
    version, entries = mp4[at], struct.unpack_from(">I", mp4, at + 4)[0]
    assert (version, entries) == (0, 1)
    duration, start = struct.unpack_from(">Ii", mp4, at + 8)
    return mp4[: at + 8] + struct.pack(">Ii", shown, start + duration - shown) + mp4[at + 16 :]
