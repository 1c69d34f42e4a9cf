"""What the service was asked and what it answered, kept on its own side of the wire.

One JSON line for each request that came and one for each answer that went out whole, written before
the bill goes out that ends it: no client can have an answer that the book does not know.
"""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ITEM = re.compile(r"row-\d{5}")
HEADER_BYTES = 44
"""Of a WAV file."""


@dataclass(frozen=True, slots=True)
class Told:
    """An answer that went out whole."""

    item_id: str
    text: str
    sound_sha256: str
    """Of the samples, without a header."""
    sound_bytes: int
    prompt_tokens: int
    completion_tokens: int


def item_of(body: bytes) -> str | None:
    """The item that a request is about: its prompt begins with the id."""
    found = _ITEM.search(body.decode(errors="replace"))
    return found[0] if found else None


def told_by(item_id: str, stream: bytes) -> Told | None:
    """What an answer of the service says; None where it was not whole."""
    text, sound, usage, is_ended = "", b"", None, False
    for chunk in _chunks(stream):
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices", ()):
            delta = choice.get("delta") or {}
            text += delta.get("content") or ""
            audio = delta.get("audio") or {}
            text += audio.get("transcript") or ""
            sound += _samples(base64.b64decode(audio.get("data") or ""))
            is_ended |= bool(choice.get("finish_reason"))
    if usage is None or not is_ended:
        return None
    sha256 = hashlib.sha256(sound).hexdigest()
    return Told(
        item_id, text, sha256, len(sound), usage["prompt_tokens"], usage["completion_tokens"]
    )


def _chunks(stream: bytes) -> Iterable[dict[str, Any]]:
    for line in stream.splitlines():
        data = line.removeprefix(b"data:").strip()
        if line.startswith(b"data:") and data != b"[DONE]":
            try:
                yield json.loads(data)
            except ValueError:  # cut on purpose
                return


def _samples(piece: bytes) -> bytes:
    return piece[HEADER_BYTES:] if piece.startswith(b"RIFF") else piece


class Book:
    """The same as it is read by others, while the service writes on."""

    def __init__(self, path: Path) -> None:
        self._path, self._read_bytes = path, 0
        self.asked: Counter[str] = Counter()
        """Requests by item."""
        self.told: dict[str, Told] = {}
        """By request id."""
        self.whole: Counter[str] = Counter()
        """Answers by item that went out whole."""

    def refresh(self) -> None:
        """Read what was written since."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.splitlines():
            self._take(json.loads(line))

    def _take(self, line: dict[str, Any]) -> None:
        if "asked" in line:
            self.asked[line["asked"]] += 1
        else:
            told = Told(**line["told"])
            self.told[line["request_id"]] = told
            self.whole[told.item_id] += 1

    @property
    def requests(self) -> int:
        """How many have come, as of the last refresh."""
        return self.asked.total()
