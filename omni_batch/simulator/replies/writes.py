"""From frames to writes: pacing, and the ways in which the same bytes can be cut."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from omni_batch.simulator.options import SimulatorOptions
from omni_batch.simulator.replies.frames import Frame

_MOST_BYTES = 65_536
"""Frames that may go out together are joined up to this size: fewer writes, same stream."""
_TINY_BYTES = 4096
"""This much at either end of a stream is cut into tiny writes; in between they are larger, since
a minute of speech would take a million of them."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes for one write, and how long to wait before it."""

    data: bytes
    wait_s: float = 0.0


def to_writes(
    frames: Iterable[Frame], options: SimulatorOptions, rng: random.Random
) -> list[Write]:
    """Lay frames out as writes, by the options' pace and framing."""
    writes = _framed(_paced(frames, options), options.framing)
    match options.framing:
        case "one_write":
            whole = list(writes)
            return [Write(b"".join(w.data for w in whole), sum(w.wait_s for w in whole))]
        case "tiny":
            return list(_tiny(list(_joined(writes)), rng))
        case _:
            return list(_joined(writes))


def _paced(frames: Iterable[Frame], options: SimulatorOptions) -> Iterator[Write]:
    playing_s, first = 0.0, True
    for frame in frames:
        pause_s = 0.0 if first else max(options.chunk_interval_s, playing_s)
        yield Write(frame.data, pause_s)
        playing_s, first = frame.sound_s if options.realtime else 0.0, False


def _framed(writes: Iterable[Write], framing: str) -> Iterator[Write]:
    for number, write in enumerate(writes):
        match framing:
            case "comments" if number % 3 == 0:
                yield Write(b": keep-alive\n\n" + write.data, write.wait_s)
            case "crlf":
                yield Write(write.data.replace(b"\n", b"\r\n"), write.wait_s)
            case _:
                yield write


def _joined(writes: Iterable[Write]) -> Iterator[Write]:
    """Join what follows without a wait, except the first frame, which goes out on its own."""
    held: list[bytes] = []
    size, wait_s, first = 0, 0.0, True
    for write in writes:
        if held and (first or write.wait_s or size + len(write.data) > _MOST_BYTES):
            yield Write(b"".join(held), wait_s)
            held, size, wait_s, first = [], 0, write.wait_s, False
        held.append(write.data)
        size += len(write.data)
    if held:
        yield Write(b"".join(held), wait_s)


def _tiny(writes: list[Write], rng: random.Random) -> Iterator[Write]:
    total, sent = sum(len(write.data) for write in writes), 0
    for write in writes:
        start, wait_s = 0, write.wait_s
        while start < len(write.data):
            edge = sent < _TINY_BYTES or total - sent < _TINY_BYTES
            size = rng.randint(1, 7 if edge else 1400)
            yield Write(write.data[start : start + size], wait_s)
            sent += len(write.data[start : start + size])
            start, wait_s = start + size, 0.0
