"""Which fault a request meets, and what it does to a good stream."""

import random
from collections.abc import Mapping

from omni_batch.simulator.checks import refusal
from omni_batch.simulator.checks.refusal import Refusal
from omni_batch.simulator.replies.frames import DONE, Frame, Stream, sse
from omni_batch.simulator.reply import End

REFUSALS: Mapping[str, Refusal] = {
    "error_500": refusal.INTERNAL,
    "error_503": refusal.OVERLOADED,
    "rate_limit": refusal.RATE,
    "burst": refusal.BURST,
    "quota": refusal.QUOTA,
}
"""Faults that answer with an error of the service itself."""

PAGES: Mapping[str, tuple[int, str, bytes]] = {
    "html_502": (
        502,
        "text/html",
        b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
        b"<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n",
    ),
    "empty_429": (429, "text/plain", b""),
}
"""Faults that answer with something that is not JSON: status, content type, body."""

SILENT: Mapping[str, tuple[Frame, ...]] = {"empty": (), "done_only": (Frame(DONE),)}
"""Faults that answer 200 and say nothing."""

MID_STREAM = frozenset({"stall", "cut", "cut_clean", "cut_line", "in_band_error"})
"""Faults that damage a good stream."""

IN_REPLY = MID_STREAM | {"partial_response"}
"""Faults that only a request which passed all checks can meet."""


def draw(faults: Mapping[str, float], rng: random.Random) -> str | None:
    """A fault by the probabilities given, or none."""
    if not faults:
        return None
    left = rng.random()
    for kind, probability in faults.items():
        left -= probability
        if left < 0:
            return kind
    return None


def damaged(
    stream: Stream, kind: str, rng: random.Random, error: Mapping[str, object]
) -> tuple[tuple[Frame, ...], End]:
    """The frames that still go out before a fault of `MID_STREAM`, and how the stream ends.

    Args:
        stream: a good reply.
        kind: one of `MID_STREAM`.
        rng: chooses the place.
        error: the error object of an in-band error.
    """
    # Opening frame and one delta always arrive; the frame with the finish_reason never does.
    kept = stream.frames[: rng.randint(2, max(2, stream.finish_at - 1))]
    match kind:
        case "stall":
            return kept, "stall"
        case "cut":
            return kept, "cut"
        case "cut_line":
            return (_truncated(stream, kept),), "close"
        case "in_band_error":
            return (*kept, sse({"error": error}), Frame(DONE)), "close"
        case _:
            return kept, "close"


def _truncated(stream: Stream, kept: tuple[Frame, ...]) -> Frame:
    """The beginning of a stream up to the inside of a character, or else of a line."""
    deltas = b"".join(frame.data for frame in stream.frames[: stream.finish_at])
    leads = [index for index, byte in enumerate(deltas) if byte >= 0xC0]
    if leads:
        return Frame(deltas[: leads[-1] + 1])
    whole = b"".join(frame.data for frame in kept)
    return Frame(whole[: len(whole) - len(kept[-1].data) // 2])
