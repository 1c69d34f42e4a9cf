"""Vega-Lite → SVG, once: the page needs no program to show a chart.

Colours are the page's CSS variables, so that light and dark come from the style sheet. Each picture
is drawn twice, for wide and for narrow screens, as text in a scaled picture can't be read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from markupsafe import Markup

from omni_batch.errors import ConfigError

Spec = dict[str, Any]

_WIDE_PX, _NARROW_PX = 600, 288
_HEIGHT_PX = 220
_CONFIG: Spec = {
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif",
    "background": None,
    # Browsers set wider fonts than the ones that were measured.
    "padding": {"left": 10, "right": 18, "top": 4, "bottom": 2},
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--soft)",
        "titleColor": "var(--soft)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "gridColor": "var(--grid)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "labelPadding": 5,
    },
    "axisX": {"grid": False},
    "axisY": {"domain": False, "ticks": False, "tickCount": 5},
    "legend": {
        "labelColor": "var(--ink)",
        "titleColor": "var(--soft)",
        "labelFontSize": 12,
        "orient": "top",
        "title": None,
        "symbolType": "square",
        "columnPadding": 34,
        "offset": 6,
    },
    "text": {"color": "var(--ink)", "fontSize": 12},
}


@dataclass(frozen=True, slots=True)
class Picture:
    """One chart for wide and one for narrow screens, as SVG."""

    wide: Markup
    narrow: Markup


def draw(data: Sequence[Any], spec: Callable[[Any, bool], Spec], label: str) -> Picture | None:
    """One chart, twice.

    Args:
        data: what the chart shows; None comes back where it is empty.
        spec: (data, whether it is the wide one) → Vega-Lite without size, colours of the page as
            `var(--fill)`; an encoding `description` is what the pointer shows.
        label: for those who can't see it.

    Raises:
        ConfigError: the drawing library is not installed.
    """
    if not data:
        return None
    wide, narrow = (
        _svg({**spec(data, is_wide), "width": width}, label)
        for is_wide, width in ((True, _WIDE_PX), (False, _NARROW_PX))
    )
    return Picture(wide, narrow)


def _svg(spec: Spec, label: str) -> Markup:
    try:
        import vl_convert
    except ImportError:
        raise ConfigError(
            "report draws its charts with vl-convert, which is not installed: "
            'pip install "omni-batch[report]"'
        ) from None
    whole = {
        "height": _HEIGHT_PX,
        **spec,
        "autosize": {"type": "fit", "contains": "padding"},
        "config": _CONFIG,
    }
    svg: str = vl_convert.vegalite_to_svg(msgspec.json.encode(whole).decode())
    # Vega escapes what it is given; the label is ours.
    return Markup(svg.replace("<svg ", f'<svg role="group" aria-label="{label}" ', 1))
