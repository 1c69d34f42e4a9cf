"""Waits and limits that a server states in headers.

Source: OpenAI's guide to rate limits, 2026: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`
are limits of a minute; resets as "1m12s" or "20ms". Other servers and gateways state the moment
instead, as seconds or milliseconds since 1970 or as a date. Model Studio documents no such headers.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import time

from omni_batch.errors import ServerLimits

LONGEST_WAIT_S = 120.0
"""Longer ones are cut: the service's windows clear within a minute."""
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SECONDS |= dict.fromkeys(("us", "µs", "μs"), 1e-6) | {"ns": 1e-9}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[uµμn]s|d|h|m|s)")
_EPOCHS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3), (1e8, 1.0))
"""From which number on it is a moment since 1970, and in which unit: no wait lasts three years."""


def server_limits(headers: Mapping[str, str]) -> ServerLimits | None:
    """Read the headers (lower-case names); None where there are none."""
    if not any(name.startswith("x-ratelimit-") for name in headers):
        return None
    waits_s = [
        wait_s
        for what in ("requests", "tokens")
        if _number(headers.get(f"x-ratelimit-remaining-{what}")) == 0
        and (wait_s := wait_of(headers.get(f"x-ratelimit-reset-{what}", ""))) is not None
    ]
    longest_s = max(waits_s, default=0.0)
    return ServerLimits(
        requests_per_minute=_limit(headers.get("x-ratelimit-limit-requests")),
        tokens_per_minute=_limit(headers.get("x-ratelimit-limit-tokens")),
        # A moment that is past says nothing: the window has begun anew.
        wait_s=min(longest_s, LONGEST_WAIT_S) if longest_s > 0 else None,
    )


def wait_of(text: str, unit_s: float = 1.0) -> float | None:
    """Seconds from now on that a header names, below 0 for a moment that is past.

    Args:
        text: "6m0s", "1.5s", "20ms", a number, a moment since 1970 or a date (ISO 8601 or of HTTP).
        unit_s: of a number that is no moment.

    Returns:
        None for anything else.
    """
    text = text.strip()
    number = _number(text)
    if number is not None:
        epoch_s = next((number * unit for least, unit in _EPOCHS if number >= least), None)
        return number * unit_s if epoch_s is None else epoch_s - time()
    parts = _DURATION.findall(text)
    if parts and "".join(value + unit for value, unit in parts) == text:
        return sum(float(value) * _SECONDS[unit] for value, unit in parts)
    moment = _date(text)
    return None if moment is None else moment.timestamp() - time()


def _limit(text: str | None) -> float | None:
    number = _number(text)
    return number if number and math.isfinite(number) else None


def _date(text: str) -> datetime | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            moment.timestamp()
        except (ValueError, TypeError, IndexError, ArithmeticError, OSError):  # of the parsers
            continue
        return moment
    return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if number >= 0 else None
