"""Numbers as a person reads them, with their units. Filters of the templates."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from markupsafe import Markup

NOTHING = "\N{EN DASH}"
"""Stands where there is no number; 0 would be one."""


def count(value: float | None) -> str:
    """A whole number with thousands separated."""
    return NOTHING if value is None else f"{value:,.0f}"


def short(value: float | None) -> str:
    """Three digits that count: 950, 12.3 k, 4.56 M."""
    if value is None:
        return NOTHING
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{_three_digits(value / size)} {unit}"
    return f"{value:,.0f}" if float(value).is_integer() else _three_digits(value)


def share(part: float | None, whole: float | None) -> str:
    """A part of a whole in per cent; never 100 % while something is missing."""
    if part is None or not whole:
        return NOTHING
    per_cent = 100 * part / whole
    if 0 < per_cent < 0.1:
        return "under 0.1 %"
    if 99.9 < per_cent < 100:
        return "over 99.9 %"
    return f"{per_cent:.0f} %" if per_cent in (0, 100) else f"{per_cent:.1f} %"


def money(amount: float | None, currency: str | None = None, like: float | None = None) -> str:
    """An amount with as many decimals as it is worth.

    Args:
        like: another amount whose decimals to take, so that a column lines up.
    """
    if amount is None:
        return NOTHING
    worth = abs(amount if like is None else like)
    decimals = 2 if worth >= 1 or worth == 0 else 4 if worth >= 0.01 else 6
    return f"{amount:,.{decimals}f}{f' {currency}' if currency else ''}"


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


def share_bar(part: float | None, whole: float | None) -> Markup:
    """A small bar beside a number; the number itself says it, so it is hidden from readers."""
    width = 100 * min(1.0, (part or 0) / whole) if whole else 0
    return Markup(
        '<svg class="bar" aria-hidden="true"><rect class="rest" width="100%" height="100%"/>'
        '<rect width="{:.2f}%" height="100%"/></svg>'
    ).format(width)


def _three_digits(value: float) -> str:
    return (
        f"{value:.2f}"
        if abs(value) < 10
        else f"{value:.1f}"
        if abs(value) < 100
        else f"{value:.0f}"
    )


FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "count": count,
        "short": short,
        "share": share,
        "money": money,
        "duration": duration,
        "moment": moment,
        "share_bar": share_bar,
    }
)
