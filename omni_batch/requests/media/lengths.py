"""How long a recording or the streams of a video are: stated by headers that can be trusted, else
measured over the packets, which are read and not decoded."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeGuard

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from omni_batch.errors import MediaError
from omni_batch.requests.media.open_medium import OpenMedium

_Stream = VideoStream | AudioStream
_TRIES = 200  # packets to get a first frame out of; a group of pictures is seldom longer
_PACKETS_AT_MOST = 500_000  # to measure a length by: 3 h of AAC, about a second of work
_STATES_STREAMS = ("mov", "avi", "wav", "flac")
"""FFmpeg's names of containers that state the length of each of their streams."""
_STATES_WHOLE = ("matroska", "flv", "asf")
"""Of those that state one length, which live recorders leave wrong: believed where packets can't be
read. What is in neither states none: FFmpeg guesses it by the bit rate at the beginning, or by the
last time stamp."""
_LATE_S = 0.5
"""What begins later was cut out of a longer recording, and its header counts from the old begin."""
_MP3_BITS_PER_S = (7_000, 400_000)
_TAGS_BYTES = 4096  # ID3v1, APE and lyrics behind the sound
_TAGS = (b"Xing", b"Info", b"VBRI")
"""Of MP3 frames that hold no sound but the length of a file; joined files have some midway."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Seconds; None where they are unknown."""

    main_s: float | None
    """Of the pictures, or of a recording."""
    sound_s: float | None = None
    """Of a video's sound."""
    guessed: bool = False
    """Whether they rest on a bit rate or an old begin."""
    packets: int | None = None
    """Of the main stream, where all were read: pictures, if it has any."""


def read_lengths(
    container: InputContainer, main: _Stream, sound: AudioStream | None, medium: OpenMedium
) -> Lengths:
    """Play the beginning of the main stream, and find out how long both are.

    Args:
        container: of `medium`; where parts of that are missing, the headers alone count.
        sound: of a video; None where it has none, or where it is the main stream.

    Raises:
        MediaError: nothing of the first packets can be decoded.
    """
    alone = sound is None
    stated = Lengths(
        _tagged_s(container, main, medium) or _stated_s(container, main, alone=alone),
        None if sound is None else _stated_s(container, sound, alone=alone),
    )
    known = stated.main_s is not None and (alone or stated.sound_s is not None)
    if not medium.whole:
        return stated if known else _guessed(container, sound)
    known = known and _name(container) not in _STATES_WHOLE
    tracks = [_Track(stream) for stream in (main, sound) if stream is not None]
    played = _play(container, tracks, to_end=not known)
    if known:
        return stated
    measured = _measured(container, tracks)
    return measured if played else _at_least(_guessed(container, sound), measured)


def _name(container: InputContainer) -> str:
    return container.format.name.partition(",")[0]


def _stated_s(container: InputContainer, stream: _Stream, *, alone: bool) -> float | None:
    name = _name(container)
    if name in _STATES_STREAMS and stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base) or None
    late = (container.start_time or 0) > _LATE_S * av.time_base
    if alone and (name in _STATES_STREAMS or (name in _STATES_WHOLE and not late)):
        return (container.duration or 0) / av.time_base or None
    return None


def _tagged_s(container: InputContainer, stream: _Stream, medium: OpenMedium) -> float | None:
    """The length that an MP3 states in its first frame, where that is meant for all of the file."""
    place = max(medium.head.find(tag) for tag in _TAGS[:2])
    is_mp3 = _name(container) == "mp3" and _is_mp3(stream)
    if not is_mp3 or place < 0 or len(medium.head) < place + 16:
        return None
    flags, frames, size_bytes = struct.unpack_from(">III", medium.head, place + 4)
    if flags & 3 != 3 or abs(medium.size_bytes - place - size_bytes) > _TAGS_BYTES:
        return None
    coded_s = frames * (1152 if stream.rate >= 32_000 else 576) / stream.rate
    plausible = coded_s > 0 and _MP3_BITS_PER_S[0] <= 8 * size_bytes / coded_s <= _MP3_BITS_PER_S[1]
    return _heard_s(container, coded_s) if plausible else None


def _heard_s(container: InputContainer, coded_s: float) -> float | None:
    """An MP3 without the silence that its encoder put first, as players leave it out."""
    return max(0.0, coded_s - max(0, container.start_time or 0) / av.time_base) or None


def _is_mp3(stream: _Stream) -> TypeGuard[AudioStream]:
    return isinstance(stream, AudioStream) and stream.codec_context.name.startswith("mp3")


def _guessed(container: InputContainer, sound: AudioStream | None) -> Lengths:
    if _name(container).startswith("mpeg"):  # by the time stamps of an end that may not be there
        return Lengths(None)
    start = max(0, container.start_time or 0)
    guess_s = max(0, (container.duration or 0) - start) / av.time_base or None
    return Lengths(guess_s, None if sound is None else guess_s, guessed=True)


def _at_least(guess: Lengths, least: Lengths) -> Lengths:
    """A guess that is not shorter than what was measured before it had to be left."""
    main_s = max(guess.main_s or 0, least.main_s or 0) or None
    sound_s = max(guess.sound_s or 0, least.sound_s or 0) or None
    return Lengths(main_s, sound_s, guessed=True)


def _measured(container: InputContainer, tracks: list["_Track"]) -> Lengths:
    main_s, *others = (track.length_s for track in tracks)
    if main_s is not None and _name(container) == "mp3":
        main_s = _heard_s(container, main_s)
    sound_s = others[0] if others else None
    return Lengths(main_s, sound_s, packets=tracks[0].packets)


def _play(container: InputContainer, tracks: list["_Track"], *, to_end: bool) -> bool:
    """Decode until something comes out, then read on to the end where that is asked for.

    Returns:
        Whether the end was reached.
    """
    by_index = {track.stream.index: track for track in tracks}
    main = tracks[0]
    main.stream.codec_context.thread_count = 1  # threads hold many frames back before the first
    plays = False
    for count, packet in enumerate(_packets(container, tracks)):
        if count == _PACKETS_AT_MOST or packet is None:
            break
        track = by_index[packet.stream_index]
        track.add(packet)
        if not plays and track is main:
            plays = _decodes(packet)
        if (plays and not to_end) or (not plays and main.packets >= _TRIES):
            break
    else:
        if plays:
            return True
    if not plays:
        raise MediaError("nothing in it can be played: make or download it again")
    return False


def _packets(container: InputContainer, tracks: list["_Track"]) -> "Iterator[Packet[Any] | None]":
    """All packets of some streams; None in place of the rest where that can't be read."""
    try:
        yield from container.demux([track.stream for track in tracks])
    except av.FFmpegError:
        yield None


def _decodes(packet: "Packet[Any]") -> bool:
    try:
        return bool(packet.decode())
    except av.FFmpegError:  # what was cut out of a longer file may begin with half a picture
        return False


class _Track:
    """The time that a stream takes, packet by packet.

    Time stamps begin anywhere, and begin again in files that were joined: each stretch of rising
    ones counts from its own first to its own last.
    """

    def __init__(self, stream: _Stream) -> None:
        self.stream = stream
        self.packets = 0
        self._is_mp3 = _is_mp3(stream)
        self._usual = _frame_ticks(stream)
        self._ticks = 0
        self._begin: int | None = None
        self._end = 0
        self._last: int | None = None

    def add(self, packet: "Packet[Any]") -> None:
        """Take in the next packet of the stream."""
        self.packets += packet.size > 0
        begin, duration = packet.pts, packet.duration or self._usual
        if begin is None:
            return
        # Pictures are stored out of their order of show; what never falls is the order of decoding.
        falls = packet.dts is not None and self._last is not None and packet.dts < self._last
        if self._begin is None or falls:
            self._ticks = self._total()
            self._begin, self._end = begin, begin
        self._begin, self._end = min(self._begin, begin), max(self._end, begin + duration)
        self._last = packet.dts
        if self._is_mp3 and _is_tag(packet):
            self._ticks -= duration

    @property
    def length_s(self) -> float | None:
        """Seconds so far; None where no packet had a time."""
        seconds = Fraction(self._total()) * (self.stream.time_base or 0)
        return float(seconds) if seconds > 0 else None

    def _total(self) -> int:
        return self._ticks + (0 if self._begin is None else self._end - self._begin)


def _frame_ticks(stream: _Stream) -> int:
    """How long a picture is shown whose packet does not say it."""
    if not isinstance(stream, VideoStream) or not stream.average_rate or not stream.time_base:
        return 0
    return round(1 / (stream.average_rate * stream.time_base))


def _is_tag(packet: "Packet[Any]") -> bool:
    content = bytes(packet)  # with an ID3 tag before the frame, where there is one
    return any(tag in content for tag in _TAGS)
