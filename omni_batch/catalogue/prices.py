"""What an item cost, from its real usage. Pure.

When speech is asked for, only the spoken tokens of the output are billed and its text is free;
reasoning costs as text output (Model Studio pricing, worked example, Dec 2025).
"""

import msgspec

from omni_batch.catalogue import Price
from omni_batch.types import Cost, Usage

_PER_TOKENS = 1_000_000


def scaled(price: Price, factor: float) -> Price:
    """The same price list at a discount."""
    amounts = {
        name: value * factor
        for name, value in msgspec.structs.asdict(price).items()
        if isinstance(value, float)
    }
    return msgspec.structs.replace(price, **amounts)


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
    return Cost(amount / _PER_TOKENS, price.currency)
