"""Limits that a server states in headers: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`.

Pure. Source: OpenAI's guide to rate limits, 2026: limits of a minute; resets as "1m12s" or "20ms".
Model Studio documents no such headers.
"""

import re
from collections.abc import Mapping

from omni_batch.errors import ServerLimits

_LONGEST_WAIT_S = 120.0
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")


def server_limits(headers: Mapping[str, str]) -> ServerLimits | None:
    """Read the headers (lower-case names); None where there are none."""
    if not any(name.startswith("x-ratelimit-") for name in headers):
        return None
    waits_s = [
        wait_s
        for what in ("requests", "tokens")
        if _number(headers.get(f"x-ratelimit-remaining-{what}")) == 0
        and (wait_s := _duration_s(headers.get(f"x-ratelimit-reset-{what}", ""))) is not None
    ]
    return ServerLimits(
        requests_per_minute=_number(headers.get("x-ratelimit-limit-requests")) or None,
        tokens_per_minute=_number(headers.get("x-ratelimit-limit-tokens")) or None,
        wait_s=min(max(waits_s), _LONGEST_WAIT_S) if waits_s else None,
    )


def _duration_s(text: str) -> float | None:
    """Seconds of "6m0s", "1.5s", "20ms" or a bare number of seconds; None for anything else."""
    number = _number(text)
    if number is not None:
        return number
    parts = _DURATION.findall(text)
    if not parts or "".join(value + unit for value, unit in parts) != text.strip():
        return None
    return sum(float(value) * _SECONDS[unit] for value, unit in parts)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
