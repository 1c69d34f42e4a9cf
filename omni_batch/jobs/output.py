"""Lines of the files that come back: in any order, some double, strange or damaged. Pure."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from omni_batch.jobs.lines import row_of
from omni_batch.text import one_line

_BOM = b"\xef\xbb\xbf"
_NAMED = re.compile(rb'"custom_id"\s*:\s*"([^"\\]{1,64})"')
_SHOWN_IDS = 3
_SHOWN_CHARS = 64


class _Response(msgspec.Struct):
    status_code: Any = None
    request_id: Any = None
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    custom_id: Any = None
    response: _Response | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


_decoder = msgspec.json.Decoder(_Line)
Kind = Literal["answer", "refusal", "nothing", "damaged"]


@dataclass(frozen=True, slots=True)
class OutputLine:
    """One line, as far as it can be read."""

    kind: Kind
    """answer: a body with status 200. refusal: any other status, or an error. nothing: neither
    response nor error. damaged: no whole JSON."""
    row_number: int | None
    custom_id: str | None
    http_status: int | None = None
    request_id: str | None = None
    body: bytes = b""
    """JSON of an answer, or of what the service says went wrong."""


def read_line(raw: bytes) -> OutputLine | None:
    """What a line holds; None for a blank one."""
    raw = raw.removeprefix(_BOM).strip()
    if not raw:
        return None
    try:
        line = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        named = _NAMED.search(raw)
        custom_id = named[1].decode("utf-8", "replace") if named else None
        return OutputLine("damaged", row_of(custom_id), custom_id)
    custom_id = line.custom_id if isinstance(line.custom_id, str) else None
    return _outcome(line, row_of(custom_id), custom_id)


def _outcome(line: _Line, row: int | None, custom_id: str | None) -> OutputLine:
    response, error = line.response, bytes(line.error)
    status = response.status_code if response else None
    status = status if isinstance(status, int) and 100 <= status < 600 else None
    request_id = response.request_id if response else None
    said = request_id if isinstance(request_id, str) and request_id else None
    if error not in (b"null", b'""', b"{}"):
        return OutputLine("refusal", row, custom_id, status, said, b'{"error":' + error + b"}")
    if response is None:
        return OutputLine("nothing", row, custom_id)
    body = bytes(response.body)
    if body.startswith(b'"'):  # a page, or JSON within a text
        body = msgspec.json.decode(body, type=str).encode()
    kind: Kind = "answer" if status == 200 else "refusal"
    return OutputLine(kind, row, custom_id, status, said, body)


def better(one: OutputLine | None, other: OutputLine) -> OutputLine:
    """Of two lines for a row the one that counts: the first, unless only the other is an answer."""
    if one is None or (one.kind != "answer" and other.kind == "answer"):
        return other
    return one


@dataclass(slots=True)
class Sorter:
    """Takes the lines of a job's files one by one; counts those that are not as they should be.

    Args:
        rows: numbers of the rows that were sent.
    """

    rows: Collection[int]
    seen: set[int] = field(default_factory=set)
    double: int = 0
    strange: int = 0
    damaged: int = 0
    examples: list[str] = field(default_factory=list)
    """Ids that nobody sent."""

    def row_of(self, raw: bytes) -> int | None:
        """The row that a line is for; None where it is for none."""
        line = read_line(raw)
        if line is None:
            return None
        row = line.row_number
        if row is None or row not in self.rows:
            self._note_strange(line)
            return None
        self.damaged += line.kind == "damaged"
        self.double += row in self.seen
        self.seen.add(row)
        return row

    def _note_strange(self, line: OutputLine) -> None:
        if line.kind == "damaged" and line.custom_id is None:
            self.damaged += 1
            return
        self.strange += 1
        if len(self.examples) < _SHOWN_IDS:
            self.examples.append(one_line(line.custom_id or "none")[:_SHOWN_CHARS])

    @property
    def oddities(self) -> str:
        """What was odd, in words; empty where nothing was."""
        found = []
        if self.double:
            found.append(f"{_lines(self.double)} for rows answered twice (the first counts)")
        if self.strange:
            named = ", ".join(self.examples)
            found.append(f"{_lines(self.strange)} with ids that were never sent ({named})")
        if self.damaged:
            found.append(f"{_lines(self.damaged)} that can't be read")
        return " and ".join(found)


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count:,} lines"
