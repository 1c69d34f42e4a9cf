"""RunReport → charts of a run, as Vega-Lite."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime

from omni_batch import format as fmt
from omni_batch.analytics.report.drawing import Picture, Spec, draw
from omni_batch.analytics.report.facts import (
    Estimate,
    QuotaUse,
    ResponseTime,
    RunReport,
    TimeBucket,
)
from omni_batch.analytics.report.quota_use import at_limit

_BARS_WIDE, _BARS_NARROW = 60, 30
_LIMIT_IN_SIGHT = 2.5
"""A limit this many times above the highest point would press the curve to the floor: that part of
its line is left out."""


def draw_run(report: RunReport) -> dict[str, Picture | None]:
    """All charts of one run by name; None where there is nothing to draw.

    Raises:
        ConfigError: the drawing library is not installed.
    """
    requests, tokens = report.quotas
    buckets = report.timeline
    return {
        "requests": draw(buckets, lambda at, wide: _rate(at, requests), "Requests a minute"),
        "tokens": draw(buckets, lambda at, wide: _rate(at, tokens), "Tokens a minute"),
        "outcomes": draw(buckets, _outcomes, "Requests over time by outcome"),
        "first_event": _draw_times(report, "first event"),
        "exchange": _draw_times(report, "whole exchange"),
        "estimates": draw(
            report.estimates, lambda rows, wide: _ratios(rows), "Billed over estimated"
        ),
    }


def _draw_times(report: RunReport, what: str) -> Picture | None:
    """The endpoint with most requests; the table has the others."""
    times = [times for times in report.response_times if times.what == what]
    most = max(times, key=lambda times: times.seconds.count, default=None)
    return draw([most] if most else [], lambda one, wide: _histogram(one[0]), f"Seconds, {what}")


# --- rates against the quota ---


def _rate(buckets: Sequence[TimeBucket], use: QuotaUse) -> Spec:
    points = [_point(bucket, use) for bucket in buckets]
    line = {"type": "area", "line": {"color": "var(--fill)", "strokeWidth": 1.5}}
    area = {**line, "color": "var(--fill)", "fillOpacity": 0.18, "interpolate": "monotone"}
    limits = _limits(buckets, use)
    in_sight = _LIMIT_IN_SIGHT * max(use.peak_per_minute, 1)
    seen = [limit for _, limit in limits if limit is not None and limit <= in_sight]
    top = 1.2 * max(use.peak_per_minute, *seen, 1)  # room for the label
    rate = {**_amount("rate"), "scale": {"zero": True, "domainMax": top}}
    return {
        "data": {"values": points},
        "layer": [
            {"mark": area, "encoding": {"x": _time(buckets), "y": rate}},
            *(_limit_line(buckets, limits, top) if seen else ()),
            _touch(),
        ],
    }


def _limits(buckets: Sequence[TimeBucket], use: QuotaUse) -> list[tuple[datetime, float | None]]:
    """The limits in force, as the corners of a line of steps."""
    start, end = buckets[0].start, buckets[-1].end
    moments = [start, *(step.since for step in use.limits if start < step.since < end), end]
    return [(at, at_limit(use.limits, at)) for at in moments]


def _limit_line(
    buckets: Sequence[TimeBucket], limits: Sequence[tuple[datetime, float | None]], top: float
) -> list[Spec]:
    """Steps, with the number of the last one in sight."""
    last = [limit for _, limit in limits if limit is not None and limit <= top][-1]
    points = [{"at": at, "limit": limit} for at, limit in limits]
    place = {"x": _time(buckets), "y": {"field": "limit", "type": "quantitative"}}
    steps = {"type": "line", "interpolate": "step-after", "color": "var(--bad-fill)", "clip": True}
    corner = {"align": "right", "baseline": "top", "x": "width", "y": 2}
    text = {"type": "text", "color": "var(--bad)", "text": f"limit {fmt.count(last)}", **corner}
    return [
        {
            "data": {"values": points},
            "mark": {**steps, "strokeDash": [5, 3], "strokeWidth": 1.2},
            "encoding": place,
        },
        {"data": {"values": [{}]}, "mark": text},
    ]


def _touch() -> Spec:
    """Columns that can't be seen, which say the number where the pointer is."""
    place = {"x": {"field": "from", "type": "temporal"}, "x2": {"field": "at"}}
    encoding = {**place, "description": {"field": "says"}}
    return {"mark": {"type": "rect", "opacity": 0}, "encoding": encoding}


def _point(bucket: TimeBucket, use: QuotaUse) -> Spec:
    rate, limit = getattr(bucket, f"{use.what}_per_minute"), at_limit(use.limits, bucket.end)
    of = f" of {fmt.count(limit)}" if limit else ""
    says = f"{bucket.end:%H:%M:%S} UTC: {fmt.count(rate)}{of} {use.what} a minute"
    return {"from": bucket.start, "at": bucket.end, "rate": rate, "says": says}


# --- outcomes over time ---

_OUTCOMES = (
    ("answered", "answered", "var(--fill)"),
    ("retried", "by a retry", "var(--fill-2)"),
    ("rate_limited", "429", "var(--warn-fill)"),
    ("broken", "failed", "var(--bad-fill)"),
)


def _outcomes(buckets: tuple[TimeBucket, ...], wide: bool) -> Spec:
    size = -(-len(buckets) // (_BARS_WIDE if wide else _BARS_NARROW))
    bars = [buckets[at : at + size] for at in range(0, len(buckets), size)]
    colours = {"domain": [row[1] for row in _OUTCOMES], "range": [row[2] for row in _OUTCOMES]}
    return {
        "data": {"values": [piece for bar in bars for piece in _pieces(bar)]},
        "mark": {"type": "rect", "stroke": "var(--paper)", "strokeWidth": 0.5},
        "encoding": {
            "x": {**_time(buckets), "field": "from"},
            "x2": {"field": "to"},
            "y": _amount("top"),
            "y2": {"field": "bottom"},
            "color": {
                "field": "outcome",
                "type": "nominal",
                "scale": colours,
                "legend": {"columns": 4 if wide else 2},
            },
            "description": {"field": "says"},
        },
    }


def _pieces(bar: Sequence[TimeBucket]) -> Iterator[Spec]:
    """The pieces of one bar, one upon the other."""
    top = 0
    start, end = bar[0].start, bar[-1].end
    for field, name, _ in _OUTCOMES:
        bottom, top = top, top + sum(getattr(bucket, field) for bucket in bar)
        if top > bottom:
            yield {
                "from": start,
                "to": end,
                "outcome": name,
                "bottom": bottom,
                "top": top,
                "says": f"{start:%H:%M:%S} UTC: {top - bottom:,} {name}",
            }


# --- latency ---


def _histogram(times: ResponseTime) -> Spec:
    rows = [
        {
            "from": bar.start,
            "to": bar.end,
            "count": bar.count,
            "none": 0,
            "says": f"{fmt.duration(bar.start)} to {fmt.duration(bar.end)}: {bar.count:,}",
        }
        for bar in times.bins
    ]
    x = {"type": "quantitative", "title": None, "scale": _LOG, "axis": _SECONDS}
    bars = {"type": "rect", "color": "var(--fill)", "stroke": "var(--paper)", "strokeWidth": 1}
    size = {"y": _amount("count"), "y2": {"field": "none"}, "description": {"field": "says"}}
    encoding = {"x": {**x, "field": "from"}, "x2": {"field": "to"}, **size}
    return {
        "data": {"values": rows},
        "layer": [{"mark": bars, "encoding": encoding}, _percentiles(times, x)],
    }


def _percentiles(times: ResponseTime, x: Spec) -> Spec:
    named = [(name, getattr(times.seconds, name)) for name in ("p50", "p90", "p99")]
    marks = [{"at": value, "says": f"{name}: {fmt.duration(value)}"} for name, value in named]
    rule = {"type": "rule", "color": "var(--ink)", "strokeDash": [3, 3]}
    encoding = {"x": {**x, "field": "at"}, "description": {"field": "says"}}
    return {"data": {"values": marks}, "mark": rule, "encoding": encoding}


_LOG: Spec = {"type": "log", "base": 2, "nice": False}
_SECONDS: Spec = {
    "labelExpr": "datum.value < 1 ? format(datum.value * 1000, '.2~r') + ' ms'"
    " : format(datum.value, ',') + ' s'",
    "labelOverlap": True,
    "labelSeparation": 12,
    "tickCount": 6,
}


# --- estimates ---


def _ratios(rows: Sequence[Estimate]) -> Spec:
    values = [{"modality": row.modality, "says": _says(row), **asdict(row.ratio)} for row in rows]
    x = {
        "type": "quantitative",
        "title": "billed / estimated",
        "scale": {"zero": False, "nice": True},
        "axis": {"grid": True, "format": ".2f", "tickCount": 5},
    }
    axis = {"labelColor": "var(--ink)", "ticks": False, "domain": False}
    modality = {"field": "modality", "type": "nominal", "title": None, "sort": None, "axis": axis}
    row = {"y": modality, "description": {"field": "says"}}
    right = {"type": "rule", "color": "var(--soft)", "strokeDash": [3, 3]}
    band = {"type": "rule", "color": "var(--fill-2)", "strokeWidth": 8, "strokeCap": "round"}
    dot = {"type": "point", "filled": True, "size": 80, "opacity": 1, "color": "var(--fill)"}
    span = {"x": {**x, "field": "p10"}, "x2": {"field": "p90"}}
    return {
        "data": {"values": values},
        "height": 60 + 36 * len(values),
        "layer": [
            {"mark": right, "encoding": {"x": {**x, "datum": 1}}},
            {"mark": band, "encoding": {**row, **span}},
            {"mark": dot, "encoding": {**row, "x": {**x, "field": "p50"}}},
        ],
    }


def _says(row: Estimate) -> str:
    spread = f"{row.ratio.p10:.2f} to {row.ratio.p90:.2f} for 8 of 10 items"
    return f"{row.modality}: billed {row.ratio.p50:.2f} times the estimate in the middle, {spread}"


# --- what they share ---


def _time(buckets: Sequence[TimeBucket]) -> Spec:
    span_s = (buckets[-1].end - buckets[0].start).total_seconds()
    pattern = "%H:%M:%S" if span_s < 600 else "%H:%M" if span_s < 2 * 86_400 else "%b %d"
    return {
        "field": "at",
        "type": "temporal",
        "title": "UTC",
        "scale": {"type": "utc"},
        "axis": {
            "format": pattern,
            "tickCount": 5,
            "labelOverlap": True,
            "labelSeparation": 12,
            "labelFlush": True,
        },
    }


def _amount(field: str) -> Spec:
    short = "replace(format(datum.value, '~s'), /([kMG])$/, ' $1')"
    axis = {"labelExpr": f"datum.value < 1000 ? datum.value : {short}", "format": ","}
    return {
        "field": field,
        "type": "quantitative",
        "title": None,
        "axis": axis,
        "scale": {"zero": True},
    }
