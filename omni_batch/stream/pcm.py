"""Speech from the wire: base64 pieces in, whole 16-bit samples out. Pure.

The service calls its format `wav` but streams raw signed 16-bit little-endian mono samples at
24,000 Hz (Model Studio guide, Dec 2025; its sample data has no RIFF header). Other servers put a
WAV header before the first piece or before every one. How the base64 text is cut is documented
nowhere, so any cut is accepted.
"""

import re
import struct

import pybase64

from omni_batch.doubts import Doubt
from omni_batch.errors import StreamError

DEFAULT_RATE_HZ = 24_000
SAMPLE_BYTES = 2
_PIECE = re.compile(rb"([^=]+)(=*)")
_BLANKS = b" \t\r\n"
_MAX_HEADER_BYTES = 4096
_PCM_FORMATS = (1, 0xFFFE)  # plain and "extensible"


class PcmDecoder:
    """Feed it the audio text of each frame; it returns bytes that hold whole samples."""

    def __init__(self) -> None:
        self.sample_rate_hz = DEFAULT_RATE_HZ
        self.samples = 0
        self._group = b""  # base64 characters that do not make four yet
        self._header: bytes | None = b""  # what may be a WAV header; None while sound flows
        self._odd = b""  # half a sample

    def feed(self, text: str) -> bytes:
        """Decode one frame's base64 text.

        Raises:
            StreamError: not base64, or sound that is not 16-bit mono.
        """
        starts_piece = not self._group
        sound = self._decode(text)
        if self._header is None and starts_piece and _is_wav(sound):
            self._header = b""
        if self._header is not None:
            sound = self._skip_header(self._header + sound)
        return self._whole_samples(sound)

    def finish(self) -> tuple[bytes, list[Doubt]]:
        """The last samples, and doubts about what had to be dropped.

        Raises:
            StreamError: the sound ends inside its WAV header, or in invalid base64.
        """
        doubts = []
        if len(self._group) == 1:
            message = "speech ended in a lone base64 character, which was dropped"
            doubts.append(Doubt("speech-end-dropped", message))
            self._group = b""
        rest = (self._header or b"") + _decode_piece(self._group)
        if _is_wav(rest):
            raise StreamError("speech ended in its WAV header, before any sound")
        self._group, self._header = b"", None
        last = self._whole_samples(rest)
        if self._odd:
            message = "speech ended in half a sample, which was dropped"
            doubts.append(Doubt("speech-end-dropped", message))
        return last, doubts

    def _decode(self, text: str) -> bytes:
        # Padding ends a piece: joining padded pieces and decoding once would lose sound.
        data, self._group = self._group + _ascii(text), b""
        if any(blank in data for blank in _BLANKS):  # looking is four times faster than removing
            data = data.translate(None, _BLANKS)
        # The regular expression reads every character, which costs more than all the decoding.
        if b"=" not in data:
            return self._whole_groups(data)
        sound = bytearray()  # a list of millions of tiny pieces would take fifty times the room
        for piece in _PIECE.finditer(data):
            characters, padding = piece.groups()
            sound += _decode_piece(characters) if padding else self._whole_groups(characters)
        return bytes(sound)

    def _whole_groups(self, data: bytes) -> bytes:
        whole = len(data) // 4 * 4
        self._group = data[whole:]
        return _decode_piece(data[:whole])

    def _skip_header(self, start: bytes) -> bytes:
        if not _may_be_wav(start):
            self._header = None
            return start
        found = _parse_wav_header(start)
        if found is None:
            self._header = start
            return b""
        rate_hz, header_bytes = found
        if self.samples and rate_hz != self.sample_rate_hz:
            raise StreamError(f"speech changed from {self.sample_rate_hz} to {rate_hz} Hz midway")
        self.sample_rate_hz, self._header = rate_hz, None
        return start[header_bytes:]

    def _whole_samples(self, sound: bytes) -> bytes:
        sound = self._odd + sound
        end = len(sound) // SAMPLE_BYTES * SAMPLE_BYTES
        self._odd = sound[end:]
        self.samples += end // SAMPLE_BYTES
        return sound[:end]


def _ascii(text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        raise StreamError("speech is not base64: it contains other characters") from None


def _decode_piece(piece: bytes) -> bytes:
    try:
        return pybase64.b64decode(piece + b"=" * (-len(piece) % 4), validate=True)
    except ValueError as exc:
        raise StreamError(f"speech is not base64: {exc}") from None


def _is_wav(sound: bytes) -> bool:
    return sound[:4] == b"RIFF" and sound[8:12] == b"WAVE"


def _may_be_wav(start: bytes) -> bool:
    return b"RIFF".startswith(start[:4]) and b"WAVE".startswith(start[8:12])


def _parse_wav_header(start: bytes) -> tuple[int, int] | None:
    """(sample rate, bytes before the sound), or None while the header is not whole."""
    position, rate_hz = 12, None
    while position + 8 <= len(start):
        name, size = struct.unpack_from("<4sI", start, position)
        if name == b"data":
            return rate_hz or DEFAULT_RATE_HZ, position + 8
        if name == b"fmt " and position + 24 <= len(start):
            rate_hz = _rate_of(*struct.unpack_from("<HHIIHH", start, position + 8))
        position += 8 + size + size % 2
    if max(position, len(start)) > _MAX_HEADER_BYTES:
        raise StreamError("speech begins with a WAV header without sound")
    return None


def _rate_of(code: int, channels: int, rate_hz: int, _rate: int, _block: int, bits: int) -> int:
    if code not in _PCM_FORMATS or (channels, bits) != (1, 16) or not 8_000 <= rate_hz <= 192_000:
        raise StreamError(
            f"speech comes as {channels} channels of {bits} bits at {rate_hz} Hz (format {code}); "
            "only 16-bit mono PCM is supported"
        )
    return rate_hz
