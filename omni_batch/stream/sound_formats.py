"""What the first bytes of speech say it is: plain samples, WAV or another format. Pure."""

import struct
from typing import NamedTuple

from omni_batch.errors import StreamError, UnsupportedReply

_MAX_HEADER_BYTES = 4096
_PCM_FORMATS = (1, 0xFFFE)  # plain and "extensible"
_UNKNOWN_SIZES = (0, 0x7FFFF000)
"""A streamed header knows no size: it says none, or about the most there is."""
WAV = "WAV"
_SIGNS: dict[str, tuple[tuple[int, bytes], ...]] = {
    WAV: ((0, b"RIFF"), (8, b"WAVE")),
    "MP3": ((0, b"ID3"),),
    "FLAC": ((0, b"fLaC"),),
    "Ogg": ((0, b"OggS\0"),),
    "AIFF": ((0, b"FORM"), (8, b"AIF")),
    "CAF": ((0, b"caff\0"),),
    "AMR": ((0, b"#!AMR"),),
    "WebM": ((0, b"\x1aE\xdf\xa3"),),
    "AU": ((0, b".snd\0"),),
    "RF64": ((0, b"RF64"), (8, b"WAVE")),
    "big-endian WAV": ((0, b"RIFX"), (8, b"WAVE")),
}
_SIGN_BYTES = 12
_MP4_SIGN = b"ftyp"  # at byte 4: no beginning shorter than that could be told from samples
_SIDE_CHUNKS = frozenset({b"LIST", b"id3 ", b"ID3 ", b"fact", b"cue ", b"PEAK", b"JUNK", b"junk",
                          b"smpl", b"inst", b"bext", b"iXML", b"_PMX", b"PAD "})  # fmt: skip
"""Chunks of a WAV file that stand behind its sound, as a rule titles and the encoder's name."""
CHUNK_HEAD_BYTES = 8


class WavHeader(NamedTuple):
    """What a whole header says."""

    sample_rate_hz: int
    header_bytes: int
    sound_bytes: int | None
    """None where the header doesn't know."""


def format_of(start: bytes, *, is_all: bool = False) -> str | None:
    """The name of the format that begins so; None for plain samples, or too few bytes to tell.

    Args:
        is_all: nothing follows.
    """
    for name, signs in _SIGNS.items():
        if all(start[at : at + len(sign)] == sign for at, sign in signs):
            return name
    if start[4:8] == _MP4_SIGN:
        return "MP4"
    return _frames_of(start, is_all=is_all)


def may_become_format(start: bytes) -> bool:
    """True while more bytes could still show that it is no plain sound."""
    if len(start) < _SIGN_BYTES and any(
        all(sign.startswith(start[at : at + len(sign)]) for at, sign in signs)
        for signs in _SIGNS.values()
    ):
        return True
    if len(start) < 4:
        return start[:1] == b"\xff" and (len(start) < 2 or start[1] in _FRAME_STARTS)
    frame_bytes = _frame_bytes(start)
    return frame_bytes is not None and len(start) < frame_bytes + 2


def is_wav(start: bytes) -> bool:
    """True for the beginning of a WAV file."""
    return start[:4] == b"RIFF" and start[8:12] == b"WAVE"


def refuse_format(name: str) -> UnsupportedReply:
    """The error for speech in a format that would become noise."""
    return UnsupportedReply(
        f"speech comes as {name}, not as the 16-bit PCM that was asked for; the next one would, "
        "too, so it is not asked for again: set the server to PCM or WAV"
    )


def parse_wav_header(start: bytes, default_rate_hz: int) -> WavHeader | None:
    """What the header says, or None while it is not whole.

    Raises:
        UnsupportedReply: its sound is not 16-bit mono PCM.
        StreamError: it goes on for ever.
    """
    position, rate_hz = _SIGN_BYTES, None
    while position + CHUNK_HEAD_BYTES <= len(start):
        name, size = struct.unpack_from("<4sI", start, position)
        if name == b"data":
            known = _UNKNOWN_SIZES[0] < size < _UNKNOWN_SIZES[1]
            header_bytes = position + CHUNK_HEAD_BYTES
            return WavHeader(rate_hz or default_rate_hz, header_bytes, size if known else None)
        if name == b"fmt " and position + 24 <= len(start):
            rate_hz = _rate_of(*struct.unpack_from("<HHIIHH", start, position + CHUNK_HEAD_BYTES))
        position += CHUNK_HEAD_BYTES + size + size % 2
    if max(position, len(start)) > _MAX_HEADER_BYTES:
        raise StreamError("speech begins with a WAV header without sound")
    return None


def side_chunk_bytes(start: bytes) -> int | None:
    """Bytes of the WAV chunk without sound that begins here; None where none does."""
    name, size = struct.unpack_from("<4sI", start)
    return CHUNK_HEAD_BYTES + size + size % 2 if name in _SIDE_CHUNKS else None


def _rate_of(code: int, channels: int, rate_hz: int, _rate: int, _block: int, bits: int) -> int:
    if code not in _PCM_FORMATS or (channels, bits) != (1, 16) or not 8_000 <= rate_hz <= 192_000:
        raise UnsupportedReply(
            f"speech comes as {channels} channels of {bits} bits at {rate_hz} Hz (format {code}); "
            "only 16-bit mono PCM is supported: set the server to that"
        )
    return rate_hz


# --- MP3 and AAC without a header of their own: frame after frame, each with a sync word ---

_MP3_STARTS = frozenset({0xFB, 0xFA, 0xF3, 0xF2, 0xE3, 0xE2})  # layer III of MPEG 1, 2 and 2.5
_AAC_STARTS = frozenset({0xF1, 0xF9, 0xF0, 0xF8})  # ADTS
_FRAME_STARTS = _MP3_STARTS | _AAC_STARTS
_KBIT_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBIT_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_HZ = (44_100, 48_000, 32_000)


def _frames_of(start: bytes, *, is_all: bool) -> str | None:
    """Two sync words one frame apart: samples hold that once in millions of beginnings."""
    frame_bytes = _frame_bytes(start)
    if frame_bytes is None:
        return None
    following = start[frame_bytes : frame_bytes + 2]
    is_alone = is_all and len(start) == frame_bytes
    if not is_alone and following != start[:2]:
        return None
    return "MP3" if start[1] in _MP3_STARTS else "AAC"


def _frame_bytes(start: bytes) -> int | None:
    """Length of the frame whose header this is; None where it is none."""
    if len(start) < 4 or start[0] != 0xFF or start[1] not in _FRAME_STARTS:
        return None
    if start[1] in _AAC_STARTS:
        if len(start) < 6:
            return 6
        length = (start[3] & 3) << 11 | start[4] << 3 | start[5] >> 5
        return length if length > 7 and start[2] >> 2 & 15 < 13 else None
    kbit, rate, padding = start[2] >> 4, start[2] >> 2 & 3, start[2] >> 1 & 1
    if not 0 < kbit < 15 or rate == 3:
        return None
    if start[1] >= 0xFA:  # MPEG 1
        return 144_000 * _KBIT_1[kbit] // _RATES_HZ[rate] + padding
    halves = 2 if start[1] >= 0xF2 else 4
    return 72_000 * _KBIT_2[kbit] // (_RATES_HZ[rate] // halves) + padding
