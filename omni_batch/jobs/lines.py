"""Lines of the file that goes out, and how many of them fit into it. Pure."""

import re
from dataclasses import dataclass, replace

import msgspec

from omni_batch.providers.dialect import FileRoute

_ID = re.compile(r"row-(\d{1,12})")
_END = b"}\n"


def id_of(row_number: int) -> str:
    """What a row is called in its file: unique there, and far below the 64 characters allowed."""
    return f"row-{row_number}"


def row_of(custom_id: object) -> int | None:
    """The row number; None for an id that is not of that form."""
    found = _ID.fullmatch(custom_id) if isinstance(custom_id, str) else None
    return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Envelope:
    """What stands around the body of a request."""

    head: bytes
    end: bytes = _END

    @classmethod
    def of(cls, row_number: int, url: str) -> "Envelope":
        """For a row."""
        named = {"custom_id": id_of(row_number), "method": "POST", "url": url}
        return cls(msgspec.json.encode(named)[:-1] + b',"body":')

    def around(self, body_bytes: int) -> int:
        """Bytes of the line, without the newline."""
        return len(self.head) + body_bytes + len(self.end) - 1


@dataclass(frozen=True, slots=True)
class Fill:
    """How full a file is."""

    route: FileRoute
    lines: int = 0
    size_bytes: int = 0

    def fits(self, line_bytes: int) -> bool:
        """Whether one more line does; a first one always does."""
        if not self.lines:
            return True
        more = self.size_bytes + line_bytes + 1
        return self.lines < self.route.lines and more <= self.route.file_bytes

    def plus(self, line_bytes: int) -> "Fill":
        """With one more line."""
        return replace(self, lines=self.lines + 1, size_bytes=self.size_bytes + line_bytes + 1)
