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

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._pieces: list[bytes] = []
        self._data: list[bytes] = []
        self._held_bytes = 0
        self._at_start = True

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads of all events that are complete now.

        Raises:
            StreamError: an event grows beyond `max_event_bytes`.
        """
        self._pieces.append(data)
        self._held_bytes += len(data)
        if b"\n" not in data and b"\r" not in data and not self._ends_in_cr():
            self._check_size()
            return []  # joined only once a line ends: a long line costs one copy
        payloads = self._take_lines(b"".join(self._pieces))
        self._check_size()
        return payloads

    def close(self) -> bool:
        """At the end of the bytes: was the last, unterminated line the end mark?"""
        return DONE in self.feed(b"\n\n")

    def _ends_in_cr(self) -> bool:
        return len(self._pieces) > 1 and self._pieces[-2].endswith(b"\r")

    def _take_lines(self, buffer: bytes) -> list[bytes]:
        lines = buffer.splitlines(keepends=True)
        # A last CR may be half of a CRLF: it waits for the next byte.
        tail = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        self._pieces = [tail] if tail else []
        payloads = [p for line in lines if (p := self._take_line(line.rstrip(b"\r\n"))) is not None]
        self._held_bytes = len(tail) + sum(map(len, self._data))
        return payloads

    def _take_line(self, line: bytes) -> bytes | None:
        if self._at_start:
            line, self._at_start = line.removeprefix(_BOM), False
        if not line:
            return self._dispatch()
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        return None

    def _dispatch(self) -> bytes | None:
        if not self._data:
            return None
        payload, self._data = b"\n".join(self._data), []
        return payload or None  # an empty event is a gateway's sign of life

    def _check_size(self) -> None:
        if self._held_bytes > self._max_event_bytes:
            raise StreamError(
                f"the service sent an event of more than {self._max_event_bytes} bytes without end"
            )
