"""What a request cost: by its usage, or by estimate where the reply broke off before it. Pure.

When speech is asked for, only the spoken tokens of the output are billed and its text is free;
reasoning costs as text output (Model Studio pricing, worked example, Dec 2025). A stream that was
cut is billed for what was generated before the stop arrived ("Streaming output", 2025-12 to
2026-11): the prompt, and at least as much of the answer as had arrived here.
"""

import math
from dataclasses import dataclass, replace

import msgspec

from omni_batch.catalogue import Price
from omni_batch.catalogue.tokens import PromptEstimate, text_tokens
from omni_batch.errors import Interrupted, ItemTimeout, NoResponse, StreamError
from omni_batch.types import Attempt, Cost, Usage

_PER_TOKENS = 1_000_000
_DECIMALS = 12  # beyond them is only the noise of binary fractions
_TOKENS_PER_CHAR = 0.25  # of an answer that is not at hand


def scaled(price: Price, factor: float) -> Price:
    """The same price list at a discount."""
    facts = msgspec.structs.asdict(price).items()
    rates = {name: value * factor for name, value in facts if isinstance(value, float)}
    return msgspec.structs.replace(price, **rates)


def cost_of(usage: Usage, price: Price, *, wants_audio: bool) -> Cost:
    """Money for one request; what the catalogue has no price for counts as nothing."""
    seen = (usage.prompt_image_tokens or 0) + (usage.prompt_video_tokens or 0)
    heard = usage.prompt_audio_tokens or 0
    text_in = max(0, usage.prompt_tokens - seen - heard)
    # A discount for cached input is known of text only, so media are taken to be read anew.
    cached = min(text_in, usage.cached_tokens or 0) if price.cached_in is not None else 0
    if wants_audio:
        spoken = usage.completion_audio_tokens
        # Details may be null; then all of the output counts as speech, so that no budget is passed.
        output = (usage.completion_tokens if spoken is None else spoken) * (price.audio_out or 0)
    else:
        rate = price.text_out_media if seen or heard else price.text_out
        output = usage.completion_tokens * (rate or 0)
    prompt = (text_in - cached) * (price.text_in or 0) + cached * (price.cached_in or 0)
    prompt += heard * (price.audio_in or 0)
    amount = prompt + seen * (price.image_in or 0) + output
    return Cost(round(amount / _PER_TOKENS, _DECIMALS), price.currency)


@dataclass(frozen=True, slots=True)
class Pricing:
    """What a run pays by."""

    price: Price | None
    wants_audio: bool
    audio_tokens_per_s: float | None = None

    def cost(self, usage: Usage | None) -> Cost | None:
        """Money for one exchange; None where no usage or no price is known."""
        if usage is None or self.price is None:
            return None
        return cost_of(usage, self.price, wants_audio=self.wants_audio)


def with_cost(attempt: Attempt, prompt: PromptEstimate, pricing: Pricing) -> Attempt:
    """The attempt with its cost, or with an estimate where the service was at work without a bill.

    Args:
        prompt: what its request was expected to take.
    """
    if attempt.usage is not None:
        return replace(attempt, cost=pricing.cost(attempt.usage))
    if not _was_at_work(attempt):
        return attempt
    spoken = math.ceil(attempt.audio_s * (pricing.audio_tokens_per_s or 0))
    usage = estimated_usage(prompt, spoken + _text_tokens(attempt), spoken)
    return replace(attempt, estimated_tokens=usage.total_tokens, estimated_cost=pricing.cost(usage))


def was_answered(attempt: Attempt) -> bool:
    """True when an answer had begun, whatever became of it; a refusal is none."""
    if attempt.http_status is not None:
        return 200 <= attempt.http_status < 300
    return isinstance(attempt.error, StreamError)


def _was_at_work(attempt: Attempt) -> bool:
    """True when an answer had begun, or was waited for in vain; a refusal costs nothing."""
    waited_for = isinstance(attempt.error, Interrupted | NoResponse | ItemTimeout)
    return was_answered(attempt) or (attempt.http_status is None and waited_for)


def estimated_usage(
    prompt: PromptEstimate, completion: int, audio_tokens: int | None = None
) -> Usage:
    """The expected bill for a prompt and an answer of that many tokens.

    Args:
        completion: tokens of text and speech together.
        audio_tokens: those of speech among them; None where they aren't known apart.
    """
    return Usage(
        prompt_tokens=prompt.total,
        completion_tokens=completion,
        total_tokens=prompt.total + completion,
        prompt_audio_tokens=prompt.audio,
        prompt_image_tokens=prompt.image,
        prompt_video_tokens=prompt.video,
        completion_audio_tokens=audio_tokens,
    )


def _text_tokens(attempt: Attempt) -> int:
    kept = attempt.text
    per_char = text_tokens(kept) / len(kept) if kept else _TOKENS_PER_CHAR
    return math.ceil(attempt.text_chars * per_char)
