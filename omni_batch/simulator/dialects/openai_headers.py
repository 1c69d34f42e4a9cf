"""x-ratelimit headers (OpenAI's guide to rate limits, 2026)."""

import math

from omni_batch.simulator.checks.quota import QuotaStatus

USUAL = {"requests": 10_000, "tokens": 30_000_000}
"""Told where the simulator has no limit."""


def limits(quota_status: QuotaStatus) -> dict[str, str]:
    """Limit, remainder and time until the limit is whole again, for requests and tokens."""
    told: dict[str, str] = {}
    for what, left in (("requests", quota_status.requests), ("tokens", quota_status.tokens)):
        limit = USUAL[what] if left is None else left.limit
        remaining = limit if left is None else left.remaining
        told[f"x-ratelimit-limit-{what}"] = f"{limit:.0f}"
        told[f"x-ratelimit-remaining-{what}"] = str(math.floor(remaining))
        told[f"x-ratelimit-reset-{what}"] = _duration(0.0 if left is None else left.reset_s)
    return told


def _duration(seconds: float) -> str:
    """As in "1m12s", "5.2s" or "20ms"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f}m{rest:.0f}s" if minutes else f"{rest:.3g}s"
