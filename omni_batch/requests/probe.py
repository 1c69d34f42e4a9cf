"""What a local file is and how long, wide and readable, by its bytes and never by its name."""

import hashlib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream
from PIL import Image, ImageFile, UnidentifiedImageError

from omni_batch.errors import MediaError
from omni_batch.types import Media, MediaKind

IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""Pillow's names of what is decoded. It knows more, EPS among them: that would run Ghostscript."""
MAX_PIXELS = 100_000_000  # 300 MB decoded; more is a decompression bomb
_CONTAINERS = {
    "mp3": ("mp3", "audio/mpeg"),
    "wav": ("wav", "audio/wav"),
    "flac": ("flac", "audio/flac"),
    "aac": ("aac", "audio/aac"),
    "amr": ("amr", "audio/amr"),
    "ogg": ("ogg", "audio/ogg"),
    "mov": ("mp4", "video/mp4"),
    "matroska": ("mkv", "video/x-matroska"),
    "avi": ("avi", "video/x-msvideo"),
    "flv": ("flv", "video/x-flv"),
    "asf": ("wmv", "video/x-ms-wmv"),
    "mpeg": ("mpg", "video/mpeg"),
    "mpegts": ("ts", "video/mp2t"),
}
"""FFmpeg's name of a container → short name and mime type. Playlists are none of them: a file that
names other files or hosts is never followed."""
_SECONDS = 1_000_000  # FFmpeg counts a container's duration in microseconds
_WITHOUT_HEADER = ("aac", "amr")
"""Short names of what states no duration: FFmpeg guesses it by the bit rate, some per cent off."""
_TRIES = 200  # packets to get a first frame out of; a group of pictures is seldom longer
_PACKETS_AT_MOST = 500_000  # to measure a duration by: 3 h of AAC, about a second of work

_Span = tuple[int | None, int | None]
"""When a packet begins and how long it lasts, in ticks of its stream."""

ImageFile.LOAD_TRUNCATED_IMAGES = False
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # our own cap decides


def probe(path: Path, kind: MediaKind, reference: str) -> Media:
    """Read the file and make sure that it is what it should be.

    Args:
        reference: what the manifest calls it; messages do the same.

    Raises:
        MediaError: it is missing, empty, broken or of another kind.
    """
    with _ending_foreign_errors(reference, kind):
        size_bytes = path.stat().st_size
        if size_bytes == 0:
            raise MediaError("it is empty")
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        found = _probe_image(path) if kind == "image" else _probe_container(path, kind)
        return replace(found, reference=reference, path=path, size_bytes=size_bytes, sha256=sha256)


@contextmanager
def _ending_foreign_errors(reference: str, kind: MediaKind) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise MediaError(f"{reference} does not exist; check the manifest") from None
    except MediaError as exc:
        raise MediaError(f"{reference} can't be sent as {kind}: {exc}") from None
    except Exception as exc:  # decoders raise whatever a broken file makes them stumble over
        raise MediaError(f"{reference} is not a readable {kind}: {_reason(exc)}") from exc


def _reason(exc: Exception) -> str:
    if isinstance(exc, av.FFmpegError):
        return exc.strerror or str(exc)
    if isinstance(exc, UnidentifiedImageError):
        return "unknown image format"
    return str(exc) or type(exc).__name__


def _probe_image(path: Path) -> Media:
    with Image.open(path, formats=IMAGE_FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise MediaError(f"it has {width} x {height} pixels; the limit is {MAX_PIXELS}")
        # MPO is a JPEG that carries more pictures behind the first one, as phones write it.
        mime_type = Image.MIME["JPEG" if image.format == "MPO" else image.format or ""]
        image.draft("RGB", (64, 64))  # decodes a JPEG at an eighth: all bytes, little work
        image.load()
    return Media(
        kind="image",
        reference="",
        mime_type=mime_type,
        format=mime_type.rpartition("/")[2],
        width_px=width,
        height_px=height,
    )


def _probe_container(path: Path, kind: MediaKind) -> Media:
    with open_container(path) as container:
        found, stream = _describe(container)
        if found.kind != kind:
            raise MediaError(f"it is {found.kind} ({found.mime_type})")
        if stream is None or found.duration_s == 0:
            raise MediaError("nothing in it can be played")
        return replace(found, duration_s=_play(container, stream, found.duration_s))


def open_container(path: Path) -> InputContainer:
    """Open a recording or video of the known formats; nothing that names other files or hosts."""
    allowed = ",".join(_CONTAINERS)
    options = {"format_whitelist": f"{allowed},mp4,m4a,3gp,webm", "protocol_whitelist": "file"}
    return av.open(str(path), container_options=options)


def _describe(container: InputContainer) -> tuple[Media, VideoStream | AudioStream | None]:
    """What the headers say, and the stream that has to be playable."""
    name, mime_type = _CONTAINERS.get(
        container.format.name.split(",")[0], (container.format.name, "application/octet-stream")
    )
    video = next((stream for stream in container.streams.video if not _is_cover(stream)), None)
    sound = next(iter(container.streams.audio), None)
    found = Media(
        kind="audio",
        reference="",
        mime_type=mime_type,
        format=name,
        duration_s=None if container.duration is None else container.duration / _SECONDS,
        has_sound=sound is not None,
    )
    if video is None or mime_type.startswith("audio"):
        duration_s = None if name in _WITHOUT_HEADER else found.duration_s
        mime_type = mime_type.replace("video/", "audio/")
        return replace(found, mime_type=mime_type, duration_s=duration_s), sound
    return _film(found, video), video


def _film(found: Media, video: VideoStream) -> Media:
    if video.width * video.height > MAX_PIXELS:
        raise MediaError(f"it has {video.width} x {video.height} pixels; the limit is {MAX_PIXELS}")
    return replace(
        found,
        kind="video",
        width_px=video.width,
        height_px=video.height,
        frames_per_s=float(video.average_rate or video.guessed_rate or 0) or None,
        frame_count=video.frames or None,
    )


def _is_cover(stream: VideoStream) -> bool:
    """A picture on a recording, not a video."""
    return bool(stream.disposition & Disposition.attached_pic)


def _play(
    container: InputContainer, stream: VideoStream | AudioStream, stated_s: float | None
) -> float | None:
    """Decode until something comes out; where no duration is stated, read on to measure it.

    Returns:
        Seconds; None where the file is too long to be measured cheaply.

    Raises:
        MediaError: nothing of the first packets can be decoded.
    """
    stream.codec_context.thread_count = 1  # threads hold many frames back before the first
    packets = container.demux(stream)
    spans: list[_Span] = []
    for packet in islice(packets, _TRIES):
        spans.append((packet.pts, packet.duration))
        if _decodes(packet):
            break
    else:
        raise MediaError("nothing in it can be played")
    if stated_s is not None:
        return stated_s
    rest = ((packet.pts, packet.duration) for packet in packets)
    return _measure(chain(spans, rest), float(stream.time_base or 0))


def _decodes(packet: "Packet[Any]") -> bool:
    try:
        return bool(packet.decode())
    except av.FFmpegError:  # what was cut out of a longer file may begin with half a picture
        return False


def _measure(spans: Iterable[_Span], tick_s: float) -> float | None:
    begin: int | None = None
    end = 0
    for count, (pts, duration) in enumerate(spans):
        if count == _PACKETS_AT_MOST:
            return None
        if pts is not None:
            begin = pts if begin is None else min(begin, pts)
            end = max(end, pts + (duration or 0))
    return (end - begin) * tick_s or None if begin is not None else None
