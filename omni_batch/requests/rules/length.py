"""Rules on the length of the prompt. Pure.

Tokens of media follow published formulas; tokens of text and of media behind a URL are guessed.
A prompt that is too long only by a guess makes a warning.
"""

from collections.abc import Iterator
from dataclasses import replace

from omni_batch.catalogue import Model
from omni_batch.catalogue.tokens import estimate_prompt
from omni_batch.doubts import Doubt
from omni_batch.requests.rules.context import Finding, RuleContext, Violation
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


def _input_length(context: RuleContext) -> Iterator[Finding]:
    model = context.model
    if model is None:
        return
    fact = "max_input_tokens"
    if context.thinking and model.max_input_tokens_thinking is not None:
        fact = "max_input_tokens_thinking"
    cap = getattr(model, fact)
    if cap is None or context.estimate.total <= cap:
        return
    message = _too_long(context, cap)
    if _at_least(context.request, model) > cap:
        yield Violation("input-too-long", message, fact)
    else:
        yield Doubt("input-too-long", f"{message} (part of this is a guess)")


def _too_long(context: RuleContext, cap: int) -> str:
    estimate = context.estimate
    counts = {kind: count for kind in _SMALLER if (count := getattr(estimate, kind))}
    shares = ", ".join(f"{kind} {count:,}" for kind, count in counts.items())
    remedy = _SMALLER[max(counts, key=lambda kind: counts[kind])]
    plain = context.model.max_input_tokens if context.model else None
    when = " while it thinks" if context.thinking else ""
    if context.thinking and plain is not None and cap < estimate.total <= plain:
        when += f" ({plain:,} without)"
        remedy = f"set request.thinking: false, or {remedy}"
    return (
        f"the prompt takes about {estimate.total:,} tokens ({shares}); {context.name} reads "
        f"{cap:,} at most{when}: {remedy}"
    )


def _at_least(request: Request, model: Model) -> int:
    """Tokens that rest on no guess, as those of media do where nobody states the model's rules."""
    stated = not model.is_unverified("tokens")
    messages = tuple(
        replace(
            message, parts=tuple(part for part in message.parts if _sure(part, request, stated))
        )
        for message in request.messages
    )
    sure = estimate_prompt(replace(request, messages=messages), model.tokens)
    return sure.total - sure.text + int(sure.text * _TEXT_AT_LEAST)


def _sure(part: Part, request: Request, stated: bool) -> bool:
    return isinstance(part, str) or (stated and _measured(part, request))


def _measured(part: Part, request: Request) -> bool:
    if isinstance(part, str):
        return True
    if isinstance(part, Frames):
        return bool(part.images) and all(_measured(image, request) for image in part.images)
    if part.duration_guessed:
        return False
    if part.kind == "audio":
        return _sane(part.duration_s)
    # Other pixels or frames a second may have been asked for, and the estimate knows nothing of it.
    seen = not request.media_options and _sane(part.width_px) and _sane(part.height_px)
    return seen and (part.kind == "image" or (_sane(part.duration_s) and _sane(part.frames_per_s)))


def _sane(value: float | None) -> bool:
    return value is not None and 0 < value < 1e9  # a broken header may say anything


RULES = (_input_length,)
