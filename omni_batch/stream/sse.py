"""Server-sent events: bytes in, `data` payloads out. Pure.

Follows the WHATWG event-stream format: LF, CRLF or CR lines, a leading byte order mark, comment
lines, `data:` with or without a space, several data lines for one event. Other fields are skipped.
"""

from omni_batch.errors import StreamError

DONE = b"[DONE]"
MAX_EVENT_BYTES = 32 * 2**20
"""Far above any chunk seen (speech comes in pieces below 1 MB), far below what hurts."""
_BOM = b"\xef\xbb\xbf"


class SseDecoder:
    """Any split of the bytes gives the same payloads."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._at_start = True

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads of all events that are complete now.

        Raises:
            StreamError: an event grows beyond `MAX_EVENT_BYTES`.
        """
        cr_waits = self._line.endswith(b"\r")
        self._line += data
        # A long line is read once, when it ends: not again with each piece of it.
        ended = cr_waits or b"\n" in data or b"\r" in data
        payloads = self._take_lines() if ended else []
        if len(self._line) + self._data_bytes > MAX_EVENT_BYTES:
            raise StreamError(f"the service sent an event that exceeds {MAX_EVENT_BYTES} bytes")
        return payloads

    def close(self) -> bool:
        """At the end of the bytes: was the last, unterminated line the end mark?"""
        return DONE in self.feed(b"\n\n")

    def _take_lines(self) -> list[bytes]:
        lines = bytes(self._line).splitlines(keepends=True)
        # A last CR may be half of a CRLF: it waits for the next byte.
        tail = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        self._line = bytearray(tail)
        return [p for line in lines if (p := self._take_line(line.rstrip(b"\r\n"))) is not None]

    def _take_line(self, line: bytes) -> bytes | None:
        if self._at_start:
            line, self._at_start = line.removeprefix(_BOM), False
        if not line:
            return self._dispatch()
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            self._data_bytes += len(line)  # with its name: an empty one takes room, too
        return None

    def _dispatch(self) -> bytes | None:
        if not self._data:
            return None
        payload, self._data, self._data_bytes = b"\n".join(self._data), [], 0
        return payload or None  # an empty event is a gateway's sign of life
