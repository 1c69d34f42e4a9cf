"""Server-sent events: bytes in, events out. Pure.

Follows the WHATWG event-stream format: LF, CRLF or CR lines, a leading byte order mark, comment
lines, `data:` with or without a space, several data lines for one event. And it reads what servers
send in its place, as long as it can't be mistaken: JSON without `data:`, in one line or many, and
events with no blank line between them.
"""

import msgspec

from omni_batch.errors import StreamError

DONE = b"[DONE]"
MAX_EVENT_BYTES = 32 * 2**20
"""Far above any chunk seen (speech comes in pieces below 1 MB), far below what hurts."""
_BLANKS_BEFORE = 16  # JSON, as far as is looked
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
_JSON_STARTS = (b"{", b"[{", DONE)


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event as it came."""

    data: bytes
    name: str = ""
    """Of its `event` field; most events have none."""


class SseDecoder:
    """Any split of the bytes gives the same events."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = ""
        self._at_start = True
        self._unframed = False  # no blank lines between events, as far as is known
        self._open_braces = 0  # of an unframed event

    @property
    def holds_bare_json(self) -> bool:
        """True while JSON without `data:` is coming in, as a whole reply does."""
        if self._unframed and self._data:
            return self._data[0].startswith((b"{", b"["))
        return self._line[:_BLANKS_BEFORE].lstrip().startswith((b"{", b"["))

    def feed(self, data: bytes) -> list[Event]:
        """Return all events that are complete now.

        Raises:
            StreamError: an event grows beyond `MAX_EVENT_BYTES`.
        """
        cr_waits = self._line.endswith(b"\r")
        self._line += data
        # A long line is read once, when it ends: not again with each piece of it.
        ended = cr_waits or b"\n" in data or b"\r" in data
        events = self._take_lines() if ended else []
        if len(self._line) + self._data_bytes > MAX_EVENT_BYTES:
            raise StreamError(f"the service sent an event that exceeds {MAX_EVENT_BYTES} bytes")
        return events

    def close(self) -> list[Event]:
        """At the end of the bytes: the last event, which may lack its line end or blank line."""
        return self.feed(b"\n\n")

    def _take_lines(self) -> list[Event]:
        *lines, tail = self._split_lines(bytes(self._line))
        self._line = bytearray(tail)
        return [event for line in lines if (event := self._take_line(line)) is not None]

    @staticmethod
    def _split_lines(data: bytes) -> list[bytes]:
        """Whole lines without their ends, and the beginning of one."""
        if b"\r" not in data:
            return data.split(b"\n")  # five times faster than splitlines
        lines = data.splitlines(keepends=True)
        # A last CR may be half of a CRLF: it waits for the next byte.
        tail = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        return [*(line.rstrip(b"\r\n") for line in lines), tail]

    def _take_line(self, line: bytes) -> Event | None:
        if self._at_start:
            line, self._at_start = line.removeprefix(_BOM), False
        if not line:
            return self._dispatch()
        if line.startswith(b"data:"):
            return self._add(line[6:] if line[5:6] == b" " else line[5:])
        if line.startswith(b"event:"):
            # A second name is the next event's: no blank line came between.
            ended = self._dispatch() if self._name and self._data else None
            self._name = line[6:].strip().decode(errors="replace")
            return ended
        return self._take_bare(line)

    def _add(self, value: bytes) -> Event | None:
        ended = None
        if self._data and _begins_anew(self._data[-1], value):
            ended, self._unframed = self._dispatch(), True
        self._data.append(value)
        self._data_bytes += len(value) + len(b"data:")  # an empty one takes room, too
        if not self._unframed:
            return None
        # A hint: braces inside texts may hide the end, which the next line then shows.
        self._open_braces += value.count(b"{") - value.count(b"}")
        return ended or (None if self._open_braces else self._dispatch())

    def _take_bare(self, line: bytes) -> Event | None:
        """A line of no known field: JSON that stands alone, or goes on where a line feed cut it."""
        stripped = line.strip()
        goes_on = self._data and self._data[0].startswith(_JSON_STARTS[:2])
        if line.startswith(_FIELDS) or not (goes_on or stripped.startswith(_JSON_STARTS)):
            return None
        self._unframed = self._unframed or not self._data
        return self._add(stripped)

    def _dispatch(self) -> Event | None:
        name, self._name, self._open_braces = self._name, "", 0
        payload, self._data, self._data_bytes = b"\n".join(self._data), [], 0
        # An empty event is a gateway's sign of life.
        return Event(payload, name) if payload else None


def _begins_anew(before: bytes, line: bytes) -> bool:
    """No JSON goes on like this: the blank line between two events is missing."""
    return before.rstrip().endswith((b"}", b"}]")) and line.lstrip().startswith(_JSON_STARTS)
