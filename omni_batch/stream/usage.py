"""Tokens as billed: the wire's usage object in, `Usage` out. Pure and forgiving.

Every detail object and every member may be null or absent (Model Studio chat reference, 2026). An
invalid object yields None: a paid answer is never lost over its bill.
"""

from collections.abc import Mapping
from typing import Any

from omni_batch.types import Usage

_MAX_TOKENS = 2**40


def parse_usage(wire: Any) -> Usage | None:
    """Read a usage object; None when its totals are missing or invalid."""
    if not isinstance(wire, Mapping):
        return None
    prompt, completion = _count(wire, "prompt_tokens"), _count(wire, "completion_tokens")
    if prompt is None or completion is None:
        return None
    inputs, outputs = _details(wire, "prompt"), _details(wire, "completion")
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=_count(wire, "total_tokens") or prompt + completion,
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
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    return int(value) if whole and value is not None and 0 <= value < _MAX_TOKENS else None
