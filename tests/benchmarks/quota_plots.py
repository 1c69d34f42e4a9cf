"""One picture for each run: starts and tokens against their limits, and requests in flight."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from tests.benchmarks.quota_figures import RATE_WINDOW_S, per_second, sampled
from tests.benchmarks.quota_scenarios import Case, Outcome
from tests.benchmarks.quota_terms import Diary, Terms

_MOST_BARS = 300
_WIDTH_PX, _HEIGHT_PX, _DPI = 900, 640, 100
# Okabe and Ito's palette, which colour-blind readers can tell apart.
_EACH, _MEAN, _LIMIT, _REFUSED, _STREAMS = "#b9d9ee", "#0072b2", "#000000", "#d55e00", "#009e73"
_STATED, _BELIEVED, _SHADE = "#cc79a7", "#e69f00", "#dddddd"


def draw(outcome: Outcome, folder: Path) -> Path:
    """Write a run's picture and return its path."""
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(_WIDTH_PX / _DPI, _HEIGHT_PX / _DPI), dpi=_DPI)
        starts, tokens, streams = figure.subplots(3, sharex=True, height_ratios=[4, 4, 3])
        _starts(starts, outcome.case, outcome.diary)
        _tokens(tokens, outcome.case, outcome.diary)
        _streams(streams, outcome.diary)
        for axes in (starts, tokens, streams):
            _shade(axes, outcome.case.terms)
            axes.set_xlim(0, outcome.diary.ended_s)
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
        streams.set_xlabel("seconds since the run began")
        _head(figure, outcome, [starts, tokens, streams])
        figure.align_ylabels()
        return _save(figure, folder / f"{outcome.case.name}.png")


def _starts(axes: Axes, case: Case, diary: Diary) -> None:
    rates = per_second([(at_s, 1.0) for at_s in diary.sent_s], diary.ended_s)
    _rates(axes, rates, case.terms, case.terms.requests_per_minute, case.stated.requests_per_minute)
    _in_force(axes, [(at_s, requests) for at_s, requests, _ in diary.in_force])
    axes.set_ylabel("requests sent / s")
    if diary.refused:
        top = axes.get_ylim()[1]
        times_s = [at_s for at_s, _ in diary.refused]
        axes.scatter(
            times_s, [top] * len(times_s), label="429", clip_on=False,
            marker="x", s=34, linewidths=1.4, color=_REFUSED, zorder=5,
        )  # fmt: skip
        axes.set_ylim(top=top)


def _tokens(axes: Axes, case: Case, diary: Diary) -> None:
    rates = per_second(diary.tokens, diary.ended_s)
    _rates(axes, rates, case.terms, case.terms.tokens_per_minute, case.stated.tokens_per_minute)
    _in_force(axes, [(at_s, tokens) for at_s, _, tokens in diary.in_force])
    axes.set_ylabel("tokens / s")


def _streams(axes: Axes, diary: Diary) -> None:
    levels = sampled(diary.in_flight, 0, diary.ended_s)
    axes.plot(range(len(levels)), levels, color=_STREAMS, label="in flight")
    axes.set_ylabel("in flight")


def _rates(
    axes: Axes, rates: Sequence[float], terms: Terms, limit: float | None, stated: float | None
) -> None:
    """LimiterPolicy are per minute; one that is far away is told in words."""
    means = _means(rates)
    bars, width = _binned(rates)
    label = "each second" if width == 1 else f"each {width} s"
    edges = range(0, width * len(bars) + 1, width)
    axes.stairs(bars, edges, fill=True, color=_EACH, label=label)
    axes.plot(range(1, len(means) + 1), means, color=_MEAN, label=f"mean of {RATE_WINDOW_S:.0f} s")
    highest = 2.5 * max(means)
    if limit and limit / 60 <= highest:
        axes.step(*_true(terms, limit / 60, len(rates)), "--", color=_LIMIT, label="true limit")
    elif limit:
        says = f"limit {limit / 60:,.0f} / s: does not bind"
        axes.text(1, 1.02, says, transform=axes.transAxes, ha="right", fontsize=9)
    if stated and stated != limit and stated / 60 <= highest:
        axes.axhline(stated / 60, linestyle=":", color=_STATED, label="stated limit")
    axes.set_ylim(top=1.1 * max(*bars, *means, 1.0))


def _in_force(axes: Axes, rates: Sequence[tuple[float, float | None]]) -> None:
    """What the limiter takes for the limit, as far as it lies within the picture."""
    most = axes.get_ylim()[1]
    shown = [per_minute / 60 if per_minute else math.nan for _, per_minute in rates]
    if any(per_s <= most for per_s in shown):
        times_s = [at_s for at_s, _ in rates]
        axes.step(times_s, shown, where="post", color=_BELIEVED, linewidth=1.2, label="believed")


def _binned(rates: Sequence[float]) -> tuple[list[float], int]:
    """Means over so many seconds that the eye can tell the bars apart."""
    width = math.ceil(len(rates) / _MOST_BARS)
    parts = [rates[first : first + width] for first in range(0, len(rates), width)]
    return [sum(part) / len(part) for part in parts], width


def _true(terms: Terms, per_s: float, until_s: float) -> tuple[list[float], list[float]]:
    """The limit as a step, less what others take."""
    if terms.others_s is None:
        return [0, until_s], [per_s, per_s]
    less = per_s * (1 - terms.others_share)
    return [0, *terms.others_s, until_s], [per_s, per_s, less, per_s]


def _means(rates: Sequence[float]) -> list[float]:
    """Of the seconds before, as far as there are any."""
    width = int(RATE_WINDOW_S)
    parts = [rates[max(0, end - width) : end] for end in range(1, len(rates) + 1)]
    return [sum(part) / len(part) for part in parts]


def _shade(axes: Axes, terms: Terms) -> None:
    for span, label in ((terms.outage_s, "outage"), (terms.others_s, "another client")):
        if span:
            axes.axvspan(*span, color=_SHADE, zorder=0, linewidth=0, label=label)


def _head(figure: Figure, outcome: Outcome, panels: Sequence[Axes]) -> None:
    found = outcome.figures
    title = (
        f"{outcome.case.name}: {found['makespan_s']:,.0f} s, {found['ratio']:.2f} x the bound; "
        f"{found['refused']:,.0f} of {found['sent']:,.0f} requests met 429"
    )
    figure.suptitle(title, x=0.01, y=0.985, ha="left", fontsize=11.5, fontweight="bold")
    named: dict[str, Artist] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    figure.legend(
        named.values(), named.keys(), loc="upper left", bbox_to_anchor=(0.003, 0.955),
        ncol=len(named), frameon=False, fontsize=9.5, columnspacing=1.4, handlelength=1.8,
    )  # fmt: skip
    figure.subplots_adjust(left=0.095, right=0.985, top=0.885, bottom=0.08, hspace=0.2)


def _save(figure: Figure, path: Path) -> Path:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    with Image.open(drawn) as image:  # a palette makes a small file
        image.convert("RGB").quantize(128, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    return path
