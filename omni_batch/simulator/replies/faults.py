"""Which fault a request meets, and what it does to a good stream."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace

from omni_batch.simulator.checks import refusal
from omni_batch.simulator.checks.refusal import Refusal
from omni_batch.simulator.replies.answer import compose_answer
from omni_batch.simulator.replies.frames import DONE, Ending, Frame, Json, Stream, payload, sse
from omni_batch.simulator.replies.malformed import MALFORMED, malformed
from omni_batch.simulator.replies.reply_plan import ReplyPlan
from omni_batch.simulator.replies.tokens import PromptTokens

REFUSALS: Mapping[str, Refusal] = {
    "error_500": refusal.INTERNAL,
    "error_500_closed": refusal.INTERNAL,
    "error_503": refusal.OVERLOADED,
    "rate_limit": refusal.RATE,
    "burst": refusal.BURST,
    "quota": refusal.QUOTA,
    "error_409": refusal.CONFLICT,
    "no_money": refusal.NO_MONEY,
    "no_user_quota": refusal.NO_USER_QUOTA,
    "no_budget": refusal.NO_BUDGET,
    "no_budget_400": replace(refusal.NO_BUDGET, status=400),
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

MID_STREAM = frozenset(
    {"stall", "cut", "cut_clean", "cut_line", "in_band_error", "bare_error", "made_up_end"}
)
"""Faults that damage a good stream."""

BEFORE_CHECKS = {*REFUSALS, *PAGES, *SILENT, "reset", "stall_first"}
"""Faults that every request can meet; the others need one that passed all checks."""


def replanned(plan: ReplyPlan, kind: str | None, rng: random.Random) -> ReplyPlan:
    """The reply that a fault leaves of a plan; most leave it as it is."""
    answer = plan.answer
    if kind == "json_any":
        kind = rng.choice(list(MALFORMED))
    if kind is not None and kind in MALFORMED:
        return replace(plan, answer=malformed(answer, kind))
    match kind:
        case "partial_response" | "partial_proxied":
            return replace(plan, answer=answer.beginning())
        case "empty_answer":
            return replace(plan, answer=replace(answer, text="", audio_tokens=None))
        case "think_tags" | "think_end":
            thought = answer.reasoning or _THOUGHT
            opening = "<think>\n" if kind == "think_tags" else ""
            text = f"{opening}{thought}\n</think>\n\n{answer.text}"
            return replace(plan, answer=replace(answer, text=text, reasoning=None))
        case "media_ignored":
            blind = compose_answer(plan.chat, ())
            return replace(plan, answer=blind, prompt=PromptTokens(plan.prompt.text))
        case _:
            return plan


_THOUGHT = "The user wants one plain sentence."


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


def damaged(stream: Stream, kind: str, rng: random.Random, error: Json) -> Ending:
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
        case "bare_error":
            bare = {"message": "upstream timed out", "type": "timeout"}
            return (*kept, Frame(b"event: error\n" + sse(bare).data)), "close"
        case "made_up_end":
            return (*kept, *_made_up_end(payload(kept[-1]))), "close"
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


def _made_up_end(last: Json) -> Iterator[Frame]:
    """What LiteLLM puts behind a stream that ended without a finish_reason (its issue 40260).

    It counts the tokens by itself, so nothing is known of their kinds.
    """
    kept = {key: last[key] for key in ("id", "object", "created", "model")}
    stop = {"index": 0, "delta": {}, "finish_reason": "stop"}
    yield sse({**kept, "choices": [stop]})
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    yield sse({**kept, "choices": [], "usage": usage})
    yield Frame(DONE)
