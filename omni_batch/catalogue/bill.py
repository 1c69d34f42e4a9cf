"""What an attempt took: by its usage, or by estimate where it was cut before the usage came. Pure.

Nobody documents whether a stream that broke off is billed, so it is taken to be: the prompt, and as
much of the answer as had arrived.
"""

import math
from dataclasses import dataclass, replace

from omni_batch.catalogue import Price
from omni_batch.catalogue.prices import cost_of
from omni_batch.catalogue.tokens import PromptEstimate, text_tokens
from omni_batch.errors import Interrupted, ItemTimeout, NoResponse
from omni_batch.types import Attempt, Cost, Usage

_TOKENS_PER_CHAR = 0.25  # of an answer that is not at hand


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


def with_cost(attempt: Attempt, prompt: PromptEstimate, tariff: Pricing) -> Attempt:
    """The attempt with its cost, or with an estimate where the service was at work without a bill.

    Args:
        prompt: what its request was expected to take.
    """
    if attempt.usage is not None:
        return replace(attempt, cost=tariff.cost(attempt.usage))
    if not _was_at_work(attempt):
        return attempt
    usage = _estimate(attempt, prompt, tariff)
    return replace(attempt, estimated_tokens=usage.total_tokens, estimated_cost=tariff.cost(usage))


def _was_at_work(attempt: Attempt) -> bool:
    """True when an answer had begun, or was waited for in vain; a refusal costs nothing."""
    if attempt.http_status is not None:
        return attempt.http_status == 200
    return isinstance(attempt.error, Interrupted | NoResponse | ItemTimeout)


def _estimate(attempt: Attempt, prompt: PromptEstimate, tariff: Pricing) -> Usage:
    spoken = math.ceil(attempt.audio_s * (tariff.audio_tokens_per_s or 0))
    completion = spoken + _text_tokens(attempt)
    return Usage(
        prompt_tokens=prompt.total,
        completion_tokens=completion,
        total_tokens=prompt.total + completion,
        prompt_audio_tokens=prompt.audio,
        prompt_image_tokens=prompt.image,
        prompt_video_tokens=prompt.video,
        completion_audio_tokens=spoken,
    )


def _text_tokens(attempt: Attempt) -> int:
    kept = attempt.text
    per_char = text_tokens(kept) / len(kept) if kept else _TOKENS_PER_CHAR
    return math.ceil(attempt.text_chars * per_char)
