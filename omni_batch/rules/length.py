"""Rules on the length of the prompt. Pure.

Tokens of media follow published formulas; tokens of text and of media behind a URL are guessed.
What is only too long by a guess makes a doubt.
"""

from collections.abc import Iterator
from dataclasses import replace

from omni_batch.rules.case import Case, Violation
from omni_batch.tokens import estimate_prompt, rules_of
from omni_batch.types import Frames, Part, Request

_TEXT_AT_LEAST = 0.6
"""Share of the estimated text tokens that is sure to come. 4 characters to a token are a rule of
thumb; plain English reaches 6 with long words."""
_SMALLER = {
    "video": "send a shorter or smaller video",
    "audio": "send a shorter recording",
    "image": "send fewer or smaller images",
    "text": "send a shorter text",
}


def _input_length(case: Case) -> Iterator[Violation]:
    cap, fact = _cap(case)
    if cap is not None and case.estimate.total > cap and _at_least(case) > cap:
        yield Violation("input-too-long", _too_long(case, cap), fact)


def _length_by_guess(case: Case) -> Iterator[str]:
    cap, _ = _cap(case)
    if cap is not None and case.estimate.total > cap and _at_least(case) <= cap:
        yield f"{_too_long(case, cap)} (part of this is a guess)"


def _cap(case: Case) -> tuple[int | None, str]:
    """The limit that holds, and the catalogue's name of it."""
    model = case.model
    if model is None:
        return None, ""
    if case.thinking and model.max_input_tokens_thinking is not None:
        return model.max_input_tokens_thinking, "max_input_tokens_thinking"
    return model.max_input_tokens, "max_input_tokens"


def _too_long(case: Case, cap: int) -> str:
    estimate = case.estimate
    counts = {kind: count for kind in _SMALLER if (count := getattr(estimate, kind))}
    shares = ", ".join(f"{kind} {count:,}" for kind, count in counts.items())
    remedy = _SMALLER[max(counts, key=lambda kind: counts[kind])]
    plain = case.model.max_input_tokens if case.model else None
    when = " while it thinks" if case.thinking else ""
    if case.thinking and plain is not None and cap < estimate.total <= plain:
        when += f" ({plain:,} without)"
        remedy = f"set request.thinking: false, or {remedy}"
    return (
        f"the prompt takes about {estimate.total:,} tokens ({shares}); {case.name} reads {cap:,} "
        f"at most{when}: {remedy}"
    )


def _at_least(case: Case) -> int:
    """Tokens that rest on no guess."""
    request = case.request
    messages = tuple(
        replace(message, parts=tuple(part for part in message.parts if _measured(part, request)))
        for message in request.messages
    )
    sure = estimate_prompt(replace(request, messages=messages), rules_of(case.model))
    return sure.total - sure.text + int(sure.text * _TEXT_AT_LEAST)


def _measured(part: Part, request: Request) -> bool:
    if isinstance(part, str):
        return True
    if isinstance(part, Frames):
        return bool(part.images) and all(_measured(image, request) for image in part.images)
    if part.kind == "audio":
        return _sane(part.duration_s)
    # Other pixels or frames a second may have been asked for, and the estimate knows nothing of it.
    seen = not request.media_options and _sane(part.width_px) and _sane(part.height_px)
    return seen and (part.kind == "image" or (_sane(part.duration_s) and _sane(part.frames_per_s)))


def _sane(value: float | None) -> bool:
    return value is not None and 0 < value < 1e9  # a broken header may say anything


RULES = (_input_length,)
DOUBTS = (_length_by_guess,)
