"""Scripted replies: what the next chat request is answered with, for `Simulator.script`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import msgspec

from omni_batch.simulator.choices import FAULTS, known

End = Literal["close", "cut", "stall"]
"""How a stream ends: properly, broken off without the last HTTP chunk, or never."""


@dataclass(frozen=True, slots=True)
class Status:
    """An HTTP error."""

    status: int
    code: str | None
    message: str | None
    retry_after_s: float | None
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Text:
    """A good reply that says a given text; the request is still checked."""

    text: str


@dataclass(frozen=True, slots=True)
class Frames:
    """Raw bytes as the body of a 200."""

    writes: tuple[bytes, ...]
    end: End


@dataclass(frozen=True, slots=True)
class Fault:
    """One of the simulator's faults."""

    kind: str


@dataclass(frozen=True, slots=True)
class Normal:
    """No exception at all: keeps a place in a longer script."""


Reply = Status | Text | Frames | Fault | Normal


def status(
    status: int,
    *,
    code: str | None = None,
    message: str | None = None,
    retry_after_s: float | None = None,
    body: bytes | None = None,
) -> Status:
    """An HTTP error with the body of the service.

    Args:
        status: HTTP status.
        code: the error's code; by default the commonest one of that status.
        message: the error's message; by default the one that belongs to the code.
        retry_after_s: sent as Retry-After when given; the service documents no such header.
        body: sent instead of the JSON, for answers of proxies.
    """
    return Status(status, code, message, retry_after_s, body)


def text(text: str) -> Text:
    """A good reply that says `text`, spoken too if the request asks for speech."""
    return Text(text)


def frames(writes: Sequence[bytes], *, end: End = "close") -> Frames:
    """A 200 text/event-stream of raw bytes, each item written on its own.

    Args:
        writes: bytes that are sent as they are; `data: ` and blank lines are the caller's.
        end: "close" ends properly, "cut" breaks the connection, "stall" keeps it open in silence.
    Raises:
        ValueError: an unknown `end`.
    """
    known(end, get_args(End), "end")
    return Frames(tuple(writes), end)


def fault(kind: str) -> Fault:
    """One of `FAULTS`.

    Raises:
        ValueError: an unknown kind; the message names the nearest.
    """
    return Fault(known(kind, FAULTS, "fault"))


def normal() -> Normal:
    """What would have been answered without a script."""
    return Normal()


def from_json(told: Mapping[str, object]) -> Reply:
    """A reply as it is written in JSON: one of `status`, `text`, `frames`, `fault`, or nothing.

    The other keys are the arguments of the function of that name; bytes are in base64.

    Raises:
        ValueError: no such reply, or a value that does not fit.
    """
    kinds = [kind for kind in _FROM_JSON if kind in told]
    if told and len(kinds) != 1:
        raise ValueError(f"a reply has one of {', '.join(_FROM_JSON)}, or is empty: {told}")
    return msgspec.convert(told, _FROM_JSON[kinds[0]]).reply() if kinds else normal()


class _Status(msgspec.Struct, forbid_unknown_fields=True):
    status: int
    code: str | None = None
    message: str | None = None
    retry_after_s: float | None = None
    body: bytes | None = None

    def reply(self) -> Reply:
        return Status(self.status, self.code, self.message, self.retry_after_s, self.body)


class _Text(msgspec.Struct, forbid_unknown_fields=True):
    text: str

    def reply(self) -> Reply:
        return Text(self.text)


class _Frames(msgspec.Struct, forbid_unknown_fields=True):
    frames: list[bytes]
    end: End = "close"

    def reply(self) -> Reply:
        return Frames(tuple(self.frames), self.end)


class _Fault(msgspec.Struct, forbid_unknown_fields=True):
    fault: str

    def reply(self) -> Reply:
        return fault(self.fault)


_FROM_JSON: Mapping[str, type[_Status | _Text | _Frames | _Fault]] = MappingProxyType(
    {"status": _Status, "text": _Text, "frames": _Frames, "fault": _Fault}
)
