"""Tokens as billed: the wire's usage object in, `Usage` out. Pure and forgiving.

Every detail object and every member may be null or absent (Model Studio chat reference, 2026). An
invalid object yields None: a paid answer is never lost over its bill. What contradicts itself is
unknown, with a doubt: a number that nobody vouches for is worse than none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from omni_batch.doubts import Doubt
from omni_batch.types import Usage

_MAX_TOKENS = 2**40
_TOTALS = ("prompt_tokens", "completion_tokens", "total_tokens")
_PROMPT_KINDS = (
    *("prompt_text_tokens", "prompt_audio_tokens", "prompt_image_tokens", "prompt_video_tokens"),
)
_COMPLETION_KINDS = ("completion_text_tokens", "completion_audio_tokens")
_CONTRADICTION = "usage-contradictory"


def read_usage(wire: Any) -> tuple[Usage | None, tuple[Doubt, ...]]:
    """A usage object, None when its totals are missing or invalid, and a doubt where it contradicts
    itself."""
    if not isinstance(wire, Mapping):
        return None, ()
    prompt, completion, total = (_count(wire, name) for name in _TOTALS)
    said = list(_senseless(wire, total, prompt, completion))
    usage = None
    if prompt is not None and completion is not None:
        usage, dropped = _plausible(_with_details(wire, prompt, completion))
        said += dropped
    return usage, _doubts(said)


def _doubts(said: list[str]) -> tuple[Doubt, ...]:
    message = f"the bill contradicts itself: {'; '.join(said)}"
    return (Doubt(_CONTRADICTION, message),) if said else ()


def _senseless(
    wire: Mapping[str, Any], total: int | None, prompt: int | None, completion: int | None
) -> Iterator[str]:
    for name in _TOTALS:
        if wire.get(name) is not None and _count(wire, name) is None:
            yield f"{name} is {str(wire[name])[:40]}, which is no count"
    if total and prompt is not None and completion is not None and total != prompt + completion:
        yield (
            f"total_tokens is {total:,}, but {prompt:,} came in and {completion:,} went out; "
            "their sum is used"
        )


def _with_details(wire: Mapping[str, Any], prompt: int, completion: int) -> Usage:
    inputs, outputs = _details(wire, "prompt"), _details(wire, "completion")
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_text_tokens=_count(inputs, "text_tokens"),
        prompt_audio_tokens=_count(inputs, "audio_tokens"),
        prompt_image_tokens=_count(inputs, "image_tokens"),
        prompt_video_tokens=_count(inputs, "video_tokens"),
        completion_text_tokens=_visible_text(completion, outputs),
        completion_audio_tokens=_count(outputs, "audio_tokens"),
        reasoning_tokens=_count(outputs, "reasoning_tokens"),
        cached_tokens=_count(inputs, "cached_tokens"),
        cache_creation_tokens=_cache_creation(inputs),
    )


def _plausible(usage: Usage) -> tuple[Usage, list[str]]:
    """Without details that are more than their total, and what they were."""
    said = []
    for names, side, total in (
        (_PROMPT_KINDS, "input", usage.prompt_tokens),
        (("cached_tokens",), "cached", usage.prompt_tokens),
        (_COMPLETION_KINDS, "output", usage.completion_tokens),
        (("reasoning_tokens",), "reasoning", usage.completion_tokens),
    ):
        parts = sum(getattr(usage, name) or 0 for name in names)
        if parts > total:
            said.append(f"{parts:,} {side} tokens by kind, but {total:,} in all")
            unknown: dict[str, Any] = dict.fromkeys(names)
            usage = replace(usage, **unknown)
    return usage, said


class Bill:
    """The usage of one reply while it comes: previews, the bill, and what can't be one."""

    def __init__(self) -> None:
        self._usage: Usage | None = None
        self._zero = False
        self._doubts: tuple[Doubt, ...] = ()

    def add(self, usage: Usage, doubts: tuple[Doubt, ...] = ()) -> None:
        """Take in a usage: the bill grows, and nothing takes back what was billed."""
        before = self._usage
        if not usage.prompt_tokens and not usage.completion_tokens:
            self._zero = True
        elif before is None:
            self._usage, self._doubts = usage, doubts
        else:
            self._usage, shrunk = _later(before, usage)
            self._doubts = doubts + shrunk

    def usage(self, *, of_answer: bool) -> Usage | None:
        """What was billed; None where nothing was said that can be a bill.

        Args:
            of_answer: text or sound has come, which nobody makes of no tokens.
        """
        usage = self._usage
        if usage is None or not usage.prompt_tokens:
            return None
        return None if of_answer and not usage.completion_tokens else usage

    def doubts(self, *, of_answer: bool) -> Iterator[Doubt]:
        """What is unknown of it, and why."""
        yield from self._doubts
        if self.usage(of_answer=of_answer) is not None:
            return
        zero = self._usage or (Usage(0, 0, 0) if self._zero else None)
        if zero is None:
            message = "the service sent no readable usage; tokens and cost are unknown"
            yield Doubt("usage-missing", message)
        else:
            yield Doubt(
                "usage-zero",
                f"the service billed {zero.prompt_tokens:,} tokens in and "
                f"{zero.completion_tokens:,} out, which is no bill of an answer; tokens and cost "
                "are unknown",
            )


def _later(before: Usage, now: Usage) -> tuple[Usage, tuple[Doubt, ...]]:
    prompt = max(before.prompt_tokens, now.prompt_tokens)
    completion = max(before.completion_tokens, now.completion_tokens)
    newest = now if now.total_tokens >= before.total_tokens else before
    usage = replace(
        newest,
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
    )
    # A zero says nothing: some servers bill the two sides apart.
    if now.prompt_tokens in (0, prompt) and now.completion_tokens in (0, completion):
        return usage, ()
    return usage, (
        Doubt(
            _CONTRADICTION,
            f"{before.total_tokens:,} tokens were billed, then {now.total_tokens:,}; the larger "
            "numbers are kept",
        ),
    )


def vouched_for(usage: Usage | None) -> bool:
    """True when it says of what kind the input was, as only who has read the input can."""
    return usage is not None and any(getattr(usage, name) is not None for name in _PROMPT_KINDS)


def _cache_creation(inputs: Mapping[str, Any]) -> int | None:
    total = _count(inputs, "cache_creation_input_tokens")
    parts = inputs.get("cache_creation")
    if total is not None or not isinstance(parts, Mapping):
        return total
    return _count(parts, "ephemeral_5m_input_tokens")


def _visible_text(completion: int, outputs: Mapping[str, Any]) -> int | None:
    """Text tokens without reasoning.

    The guide of 2025 counts reasoning beside the text, the reference of 2026 inside it; the sum
    tells which applies. If neither adds up the value is left unknown.
    """
    text, audio = _count(outputs, "text_tokens"), _count(outputs, "audio_tokens") or 0
    reasoning = _count(outputs, "reasoning_tokens") or 0
    if text is None or not reasoning or audio + text + reasoning == completion:
        return text
    return text - reasoning if audio + text == completion and text >= reasoning else None


def _details(wire: Mapping[str, Any], side: str) -> Mapping[str, Any]:
    details = wire.get(f"{side}_tokens_details")
    return details if isinstance(details, Mapping) else {}


def _count(wire: Mapping[str, Any], name: str) -> int | None:
    value = wire.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)  # gateways that write all numbers as text
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    return int(value) if whole and value is not None and 0 <= value < _MAX_TOKENS else None
