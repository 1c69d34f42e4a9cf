"""Numbers as a person reads them, with their units: one form of each on every surface. Pure."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime

NOTHING = "\N{EN DASH}"
"""Appears where there is no number; 0 would be one."""


def count(value: float | None) -> str:
    """A whole number with thousands separated."""
    return NOTHING if value is None else f"{value:,.0f}"


def rate(value: float) -> str:
    """A number a minute: one decimal below ten, where it has one."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def short(value: float | None) -> str:
    """Three digits that count: 950, 12.3 k, 4.56 M."""
    if value is None:
        return NOTHING
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{_three_digits(value / size)} {unit}"
    return f"{value:,.0f}" if float(value).is_integer() else _three_digits(value)


def share(part: float | None, whole: float | None = 1) -> str:
    """A part of a whole in per cent; never 100 % while something is missing."""
    if part is None or not whole:
        return NOTHING
    per_cent = 100 * part / whole
    if 0 < per_cent < 0.1:
        return "under 0.1 %"
    if 99.9 < per_cent < 100:
        return "over 99.9 %"
    return f"{per_cent:.0f} %" if per_cent in (0, 100) else f"{per_cent:.1f} %"


def amount(value: float | None, currency: str | None = None, like: float | None = None) -> str:
    """Money of one currency, with as many decimals as it is worth.

    Args:
        like: another amount whose decimals to take, so that a column lines up.
    """
    if value is None:
        return NOTHING
    worth = abs(value if like is None else like)
    decimals = 2 if worth >= 1 or worth == 0 else 4 if worth >= 0.001 else 6
    return f"{value:,.{decimals}f}{f' {currency}' if currency else ''}"


def money(amounts: Mapping[str, float], like: float | None = None) -> str:
    """Money of all currencies side by side: "1.20 USD + 3.40 CNY"; a dash where there is none."""
    shown = [amount(value, currency, like) for currency, value in sorted(amounts.items())]
    return " + ".join(shown) or NOTHING


def estimate(low: float, high: float, unit: str = "") -> str:
    """A number that is not known yet, as exact as it can be: 4,000 to 60,000, about 0.012 USD."""
    ends = list(dict.fromkeys(map(_two_digits, (low, high))))
    shown = " to ".join(ends) if len(ends) > 1 else f"about {ends[0]}"
    return f"{shown}{f' {unit}' if unit else ''}"


def _two_digits(value: float) -> str:
    if not value:
        return "0"
    value = float(f"{value:.1e}")
    digits = 1 - math.floor(math.log10(abs(value)))
    return f"{value:,.{max(0, digits)}f}"


def duration(seconds: float | None) -> str:
    """12 ms, 3.4 s, 2:05 min, 3:20 h, 2 d 3 h."""
    if seconds is None:
        return NOTHING
    if seconds == 0:
        return "0 s"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "under 1 ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours}:{rest:02} h" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def moment(value: datetime | None) -> str:
    """A time to the second, in UTC."""
    return NOTHING if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _three_digits(value: float) -> str:
    decimals = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{decimals}f}"
