"""Recordings and videos: FFmpeg names the container and its streams, and plays a little of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from omni_batch.doubts import Doubt
from omni_batch.errors import MediaError
from omni_batch.requests.media.boxes import BadBoxes, Box, top_boxes
from omni_batch.requests.media.lengths import Lengths, read_lengths
from omni_batch.requests.media.open_medium import OpenMedium
from omni_batch.requests.media.room import MOST_PIXELS, ROOM
from omni_batch.types import Media, MediaKind


@dataclass(frozen=True, slots=True)
class _Form:
    """Short name and MIME type of a container, with pictures and with sound alone."""

    video: tuple[str, str] | None
    sound: tuple[str, str]


_FORMS: Mapping[str, _Form] = {
    "mp3": _Form(None, ("mp3", "audio/mpeg")),
    "wav": _Form(None, ("wav", "audio/wav")),
    "flac": _Form(None, ("flac", "audio/flac")),
    "aac": _Form(None, ("aac", "audio/aac")),
    "amr": _Form(None, ("amr", "audio/amr")),
    "ogg": _Form(("ogg", "video/ogg"), ("ogg", "audio/ogg")),
    "mov": _Form(("mp4", "video/mp4"), ("mp4", "audio/mp4")),
    "matroska": _Form(("mkv", "video/x-matroska"), ("mkv", "audio/x-matroska")),
    "avi": _Form(("avi", "video/x-msvideo"), ("avi", "video/x-msvideo")),
    "flv": _Form(("flv", "video/x-flv"), ("flv", "audio/x-flv")),
    "asf": _Form(("wmv", "video/x-ms-wmv"), ("wma", "audio/x-ms-wma")),
    "mpeg": _Form(("mpg", "video/mpeg"), ("mpg", "audio/mpeg")),
    "mpegts": _Form(("ts", "video/mp2t"), ("ts", "video/mp2t")),
}
"""By FFmpeg's name. Playlists are none of them: a file that names other files or hosts is never
followed."""
_TO_CONVERT: Mapping[str, _Form] = {
    "aiff": _Form(None, ("aiff", "audio/aiff")),
    "caf": _Form(None, ("caf", "audio/x-caf")),
    "au": _Form(None, ("au", "audio/basic")),
    "w64": _Form(None, ("w64", "audio/x-w64")),
    "ac3": _Form(None, ("ac3", "audio/ac3")),
    "eac3": _Form(None, ("ac3", "audio/eac3")),
    "dts": _Form(None, ("dts", "audio/vnd.dts")),
    "wv": _Form(None, ("wv", "audio/x-wavpack")),
    "ape": _Form(None, ("ape", "audio/x-ape")),
    "dsf": _Form(None, ("dsf", "audio/x-dsf")),
    "rm": _Form(("rm", "application/vnd.rn-realmedia"), ("rm", "application/vnd.rn-realmedia")),
    "h264": _Form(("h264", "video/h264"), ("h264", "video/h264")),
    "hevc": _Form(("h265", "video/h265"), ("h265", "video/h265")),
}
"""The same of those that are never sent as they are."""
_QUICKTIME = _Form(("mov", "video/quicktime"), ("mov", "video/quicktime"))
_3GP = _Form(("3gp", "video/3gpp"), ("3gp", "audio/3gpp"))
_WEBM = _Form(("webm", "video/webm"), ("webm", "audio/webm"))
_FASTEST_PER_S = 240.0
_HIDDEN_S = 1.0
_WEBM_DOCTYPE = b"\x42\x82\x84webm"
_M4A = ("aac", "audio/mp4")
"""What the service takes an M4A for: the vendor's own command line sends `aac` for it."""
_ALL = (*_FORMS.values(), _QUICKTIME, _3GP, _WEBM)
SENT_CONTAINERS: Mapping[MediaKind, tuple[str, ...]] = {
    "audio": tuple(dict.fromkeys(form.sound[0] for form in _ALL)),
    "video": tuple(dict.fromkeys(form.video[0] for form in _ALL if form.video)),
}
"""Short names of what is sent."""


def open_container(source: BinaryIO, *, to_convert: bool = False) -> InputContainer:
    """Open a recording or video of the known containers; nothing that names other files or hosts.

    Args:
        source: at its beginning.
        to_convert: also those that are never sent as they are.
    """
    forms = (*_FORMS, *_TO_CONVERT) if to_convert else tuple(_FORMS)
    allowed = f"{','.join(forms)},mp4,m4a,3gp,webm"
    options = {"format_whitelist": allowed, "protocol_whitelist": "none"}
    return av.open(source, "r", container_options=options)


def probe_container(medium: OpenMedium, kind: MediaKind) -> Media:
    """Type, size and lengths of a recording or video; that it can be played, if all is there.

    Returns:
        One of another kind without its lengths.

    Raises:
        MediaError: it is cut off, too large or can't be played.
    """
    medium.file.seek(0)
    try:
        with open_container(medium.file, to_convert=medium.to_change) as container:
            found, video, sound = _describe(container, medium.head)
            main = video or sound
            if main is None:
                raise MediaError("it holds neither pictures nor sound that can be played")
            if found.kind != kind:
                return found
            beside = sound if video else None
            with ROOM.hold(video.width * video.height if video else 0):
                lengths = read_lengths(container, main, beside, medium)
            found = _with_lengths(found, lengths)
            if not container.format.name.startswith("mov"):
                return found
            return replace(found, doubts=(*_cut_off(medium), *_edited(found, medium.name)))
    except av.FFmpegError as exc:
        if not medium.whole:
            return Media(kind, "")
        raise MediaError(_why_unreadable(medium, kind)) from exc


def kind_in_container(medium: OpenMedium) -> Media | None:
    """Kind and form of a recording or video; None where it is neither."""
    medium.file.seek(0)
    try:
        with open_container(medium.file, to_convert=medium.to_change) as container:
            return _describe(container, medium.head)[0]
    except av.FFmpegError:
        return None


def _describe(
    container: InputContainer, head: bytes
) -> tuple[Media, VideoStream | None, AudioStream | None]:
    """What the headers say, and the streams of pictures and sound."""
    video = next((stream for stream in container.streams.video if not _is_cover(stream)), None)
    sound = next(iter(container.streams.audio), None)
    form = _form(container, head)
    if video is not None and form.video is not None:
        return _film(form.video, video, has_sound=sound is not None), video, sound
    short, mime_type = form.sound
    if short in ("mp4", "mov") and sound and sound.codec_context.name in ("aac", "alac"):
        short, mime_type = _M4A
    found = Media("audio", "", mime_type=mime_type, format=short, has_sound=sound is not None)
    return found, None, sound


def _form(container: InputContainer, head: bytes) -> _Form:
    """FFmpeg has one name for what is several to everybody else: the header tells."""
    name = container.format.name.partition(",")[0]
    brand = container.metadata.get("major_brand", "qt")
    if name == "mov" and brand.startswith("qt"):
        return _QUICKTIME
    if name == "mov" and brand.startswith("3g"):
        return _3GP
    if name == "matroska" and _WEBM_DOCTYPE in head:
        return _WEBM
    return _FORMS.get(name) or _TO_CONVERT[name]


def _film(form: tuple[str, str], video: VideoStream, *, has_sound: bool) -> Media:
    if video.width * video.height > MOST_PIXELS:
        raise MediaError(
            f"it has {video.width} x {video.height} pixels; omni-batch opens videos of "
            f"{MOST_PIXELS:,} pixels at most: scale it down"
        )
    return Media(
        kind="video",
        reference="",
        mime_type=form[1],
        format=form[0],
        width_px=video.width,
        height_px=video.height,
        frames_per_s=float(video.average_rate or video.guessed_rate or 0) or None,
        frame_count=video.frames or None,
        has_sound=has_sound,
    )


def _is_cover(stream: VideoStream) -> bool:
    """A picture on a recording, not a video."""
    return bool(stream.disposition & Disposition.attached_pic)


def _with_lengths(found: Media, lengths: Lengths) -> Media:
    if lengths.main_s is None and found.kind == "audio" and not lengths.guessed:
        raise MediaError("it is too short: nothing in it can be played")
    frames, frames_per_s = found.frame_count or lengths.packets, found.frames_per_s
    if found.kind == "video" and (frames_per_s or 0) > _FASTEST_PER_S:  # ticks, not pictures
        frames_per_s = frames / lengths.main_s if frames and lengths.main_s else None
    return replace(
        found,
        frame_count=frames if found.kind == "video" else None,
        frames_per_s=frames_per_s,
        duration_s=lengths.main_s,
        sound_s=lengths.sound_s,
        duration_guessed=lengths.guessed and lengths.main_s is not None,
    )


def _why_unreadable(medium: OpenMedium, kind: MediaKind) -> str:
    """What is wrong with a file that FFmpeg can't open."""
    names = {box.name for box in _boxes(medium)}
    if b"mdat" in names and b"moov" not in names:
        return (
            "it is cut off before its index (moov), as an interrupted recording or download is, "
            "and can't be played: repair it or take the whole file"
        )
    taken = ", ".join(SENT_CONTAINERS[kind])
    return f"it is damaged, or of no known kind; taken are {taken}: convert it or download it again"


def _boxes(medium: OpenMedium) -> list[Box]:
    try:
        return top_boxes(medium.file)
    except BadBoxes:
        return []


def _cut_off(medium: OpenMedium) -> tuple[Doubt, ...]:
    """An MP4 or MOV whose last box is said to go on behind the end of the file."""
    boxes = _boxes(medium)
    if not boxes or boxes[-1].end <= medium.size_bytes:
        return ()
    message = (
        f"{medium.name} is cut off: {medium.size_bytes:,} of {boxes[-1].end:,} bytes are there; "
        "its lengths are those of the whole"
    )
    return (Doubt("media-cut-off", message),)


def _edited(found: Media, name: str) -> tuple[Doubt, ...]:
    """An MP4 or MOV cut without encoding it again: its edit list hides what is still there.

    Readers count one or the other (vllm#48608).
    """
    if not (found.frame_count and found.frames_per_s and found.duration_s):
        return ()
    stored_s, shown_s = found.frame_count / found.frames_per_s, found.duration_s
    if stored_s - shown_s <= max(_HIDDEN_S, shown_s / 10):
        return ()
    message = (
        f"{name} shows {shown_s:,.6g} s of the {stored_s:,.6g} s of pictures in it: it is counted "
        "by what it shows; encode it again to be sure"
    )
    return (Doubt("video-edited", message),)
