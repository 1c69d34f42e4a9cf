"""Scripted replies: what the next chat request is answered with, for `Simulator.script`."""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import msgspec

from omni_batch.simulator.fault_kinds import FAULTS
from omni_batch.simulator.option_values import one_of

End = Literal["close", "cut", "stall"]
"""How a stream ends: properly, broken off without the last HTTP chunk, or never."""


class Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An HTTP error."""

    status: int
    code: str | None = None
    message: str | None = None
    retry_after_s: float | None = None
    body: bytes | None = None


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A good reply that says a given text; the request is still checked."""

    text: str


class Frames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Raw bytes as the body of a 200."""

    frames: tuple[bytes, ...]
    end: End = "close"


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the simulator's faults."""

    fault: str

    def __post_init__(self) -> None:
        one_of(self.fault, FAULTS, "fault")


class Normal(msgspec.Struct, frozen=True):
    """No exception at all: keeps a place in a longer script."""


Reply = Status | Text | Frames | Fault | Normal
_BY_KEY: Mapping[str, type[Status | Text | Frames | Fault]] = {
    kind.__struct_fields__[0]: kind for kind in (Status, Text, Frames, Fault)
}


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
    one_of(end, get_args(End), "end")
    return Frames(tuple(writes), end)


def fault(kind: str) -> Fault:
    """One of `FAULTS`.

    Raises:
        ValueError: an unknown kind; the message names the nearest.
    """
    return Fault(kind)


def normal() -> Normal:
    """What would have been answered without a script."""
    return Normal()


def from_json(written: Mapping[str, object]) -> Reply:
    """A reply as it is written in JSON: one of `status`, `text`, `frames`, `fault`, or nothing.

    The other keys are the arguments of the function of that name; bytes are in base64.

    Raises:
        ValueError: no such reply, or a value that does not fit.
    """
    kinds = [kind for kind in _BY_KEY if kind in written]
    if written and len(kinds) != 1:
        raise ValueError(f"a reply has one of {', '.join(_BY_KEY)}, or is empty: {written}")
    return msgspec.convert(written, _BY_KEY[kinds[0]]) if kinds else Normal()
