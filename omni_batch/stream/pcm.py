"""Speech from the wire: base64 pieces in, whole 16-bit samples out. Pure.

The service calls its format `wav` but streams raw signed 16-bit little-endian mono samples at
24,000 Hz (Model Studio guide, Dec 2025; its sample data has no RIFF header). Other servers put a
WAV header before the first piece or before every one. How the base64 text is cut is documented
nowhere, so any cut is accepted.
"""

import re

import pybase64

from omni_batch.doubts import Doubt
from omni_batch.errors import StreamError
from omni_batch.stream.sound_formats import (
    CHUNK_HEAD_BYTES,
    WAV,
    format_of,
    is_wav,
    may_become_format,
    parse_wav_header,
    refuse_format,
    side_chunk_bytes,
)

DEFAULT_RATE_HZ = 24_000
SAMPLE_BYTES = 2
_PIECE = re.compile(rb"([^=]+)(=*)")
_BLANKS = b" \t\r\n"
_DATA_URI = "data:"


class PcmDecoder:
    """Feed it the audio text of each frame; it returns bytes that hold whole samples."""

    def __init__(self) -> None:
        self.sample_rate_hz = DEFAULT_RATE_HZ
        self.samples = 0
        self._group = b""  # base64 characters that do not make four yet
        self._header: bytes | None = b""  # what may be a header; None while sound flows
        self._left_bytes: int | None = None  # of the sound, where its WAV header said how much
        self._behind = b""  # what came behind that
        self._skipped_bytes = 0  # of a chunk behind it
        self._odd = b""  # half a sample

    def feed(self, text: str) -> bytes:
        """Decode one frame's base64 text.

        Raises:
            StreamError: not base64.
            UnsupportedReply: sound that is not 16-bit mono PCM.
        """
        if text.startswith(_DATA_URI):
            text = text.partition(",")[2]
        starts_piece = not self._group
        sound = self._decode(text)
        if self._header is None and starts_piece and is_wav(sound):
            self._header, self._behind, self._skipped_bytes = b"", b"", 0
        if self._header is not None:
            sound = self._skip_header(self._header + sound)
        elif self._left_bytes is not None:
            sound = self._up_to_its_end(sound)
        return self._whole_samples(sound)

    def finish(self) -> tuple[bytes, list[Doubt]]:
        """The last samples, and doubts about what had to be dropped.

        Raises:
            StreamError: the sound ends inside its WAV header, or in invalid base64.
            UnsupportedReply: it was no 16-bit mono PCM, as its end shows.
        """
        doubts = []
        if len(self._group) == 1:
            message = "speech ended in a lone base64 character, which was dropped"
            doubts.append(Doubt("speech-end-dropped", message))
            self._group = b""
        rest = (self._header or b"") + self._behind + _decode_piece(self._group)
        if is_wav(rest):
            raise StreamError("speech ended in its WAV header, before any sound")
        if self._header and (name := format_of(rest, is_all=True)):
            raise refuse_format(name)
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
        padding_at = data.find(b"=")
        if padding_at < 0:
            return self._whole_groups(data)
        if padding_at >= len(data) - 2 and data.endswith(b"="):
            return _decode_piece(data[:padding_at])
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
        name = format_of(start)
        if name is None:
            self._header = start if may_become_format(start) else None
            return start if self._header is None else b""
        if name != WAV:
            raise refuse_format(name)
        found = parse_wav_header(start, DEFAULT_RATE_HZ)
        if found is None:
            self._header = start
            return b""
        rate_hz = found.sample_rate_hz
        if self.samples and rate_hz != self.sample_rate_hz:
            raise StreamError(f"speech changed from {self.sample_rate_hz} to {rate_hz} Hz midway")
        self.sample_rate_hz, self._header = rate_hz, None
        self._left_bytes = found.sound_bytes
        sound = start[found.header_bytes :]
        return sound if self._left_bytes is None else self._up_to_its_end(sound)

    def _up_to_its_end(self, sound: bytes) -> bytes:
        """The sound that its header announced; titles and the like behind it are no samples."""
        left_bytes = self._left_bytes or 0
        if len(sound) <= left_bytes:
            self._left_bytes = left_bytes - len(sound)
            return sound
        self._left_bytes = 0
        self._behind += sound[left_bytes:]
        return sound[:left_bytes] + self._what_is_behind()

    def _what_is_behind(self) -> bytes:
        """Sound where there is more than the header announced, as headers lie."""
        while True:
            dropped = min(self._skipped_bytes, len(self._behind))
            self._behind = self._behind[dropped:]
            self._skipped_bytes -= dropped
            if len(self._behind) < CHUNK_HEAD_BYTES:
                return b""
            chunk_bytes = side_chunk_bytes(self._behind)
            if chunk_bytes is None:
                break
            self._skipped_bytes = chunk_bytes
        sound, self._behind, self._left_bytes = self._behind, b"", None
        if not sound.startswith(b"RIFF"):
            return sound
        return self._skip_header(sound)

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
