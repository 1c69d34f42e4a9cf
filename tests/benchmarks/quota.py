"""How well is a quota used?  python -m tests.benchmarks.quota [--scenario NAME ...] [--plots DIR]

The real limiter in virtual time against a modelled service: hours of runs in a minute. Each figure
is held against its target; a miss makes the exit code 1. The bound is what a client would need that
knew the true limit and used it evenly to the last unit: the time the limits ask for, then the
answers that are still under way. `--real` runs whole pipelines against the simulator as well.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks import quota_cost
from tests.benchmarks.quota_figures import Figures
from tests.benchmarks.quota_scenarios import CASES, Case, Targets, missed, run_case

_STANDARD = (
    ("makespan_s", "took s", "{:,.0f}"),
    ("bound_s", "bound s", "{:,.0f}"),
    ("ratio", "ratio", "{:.3f}"),
    ("ratio_to_mean_latency", "plain", "{:.3f}"),
    ("refused", "429", "{:.0f}"),
    ("refused_share", "of all", "{:.1%}"),
    ("warm_up_s", "warm s", "{:.0f}"),
    ("in_flight", "in flight", "{:.0f}"),
)
_LOWEST = {"in_flight_low", "in_flight_p5"}
"""Figures of which the smallest is the worst."""


def main() -> int:
    """Run, print, tell whether all targets were met."""
    options = _options()
    wanted = [case for case in CASES if _is_wanted(case.name, options.scenario)]
    work = partial(_work, seeds=options.seeds, plots=options.plots, ideal=options.ideal)
    with ProcessPoolExecutor() as pool:
        rows = list(zip(wanted, pool.map(work, wanted), strict=True))
    results = [(case.name, case.targets, figures) for case, figures in rows]
    if _is_wanted("cost", options.scenario):
        results.append(("cost", quota_cost.TARGETS, quota_cost.measure()))
    if options.real:
        from tests.benchmarks import quota_real

        results += quota_real.run_all(options.plots, options.scenario)
    if options.json:
        print(json.dumps([_told(*result) for result in results], indent=1))
    else:
        _print(results)
    return int(any(missed(targets, figures) for _, targets, figures in results))


def _options() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.quota", description=__doc__)
    parser.add_argument("--scenario", nargs="+", metavar="NAME", help="cases that begin so")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw the first seed's runs")
    parser.add_argument("--seeds", type=int, default=1, help="repeat, and tell the worst")
    parser.add_argument("--ideal", action="store_true", help="a perfect client, not the limiter")
    parser.add_argument("--real", action="store_true", help="whole pipelines as well, in real time")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    return parser.parse_args()


def _is_wanted(name: str, beginnings: list[str] | None) -> bool:
    return beginnings is None or name.startswith(tuple(beginnings))


def _work(case: Case, seeds: int, plots: Path | None, ideal: bool) -> Figures:
    if plots is not None:
        from tests.benchmarks.quota_plots import draw

        plots.mkdir(parents=True, exist_ok=True)
        draw(run_case(case, 0, ideal=ideal), plots)
    return _worst([run_case(case, seed, ideal=ideal).figures for seed in range(seeds)])


def _worst(found: list[Figures]) -> Figures:
    names = dict.fromkeys(name for figures in found for name in figures)
    return {
        name: (min if name in _LOWEST else max)(
            figures[name] for figures in found if name in figures
        )
        for name in names
    }


def _told(name: str, targets: Targets, figures: Figures) -> dict[str, object]:
    finite = {key: round(n, 4) if math.isfinite(n) else None for key, n in figures.items()}
    return {"name": name, "figures": finite, "targets": targets, "missed": missed(targets, figures)}


def _print(results: Iterable[tuple[str, Targets, Figures]]) -> None:
    table = Table("case", box=None, pad_edge=False)
    for _, title, _ in _STANDARD:
        table.add_column(title, justify="right")
    for title in ("least-most", "p5-p95", "ideal", "beside", "missed"):
        table.add_column(title)
    for name, targets, figures in results:
        standard = [form.format(figures.get(key, math.nan)) for key, _, form in _STANDARD]
        spreads = [
            _span(figures, "in_flight_low", "in_flight_high"),
            _span(figures, "in_flight_p5", "in_flight_p95"),
            _span(figures, "ideal_in_flight_low", "ideal_in_flight_high"),
        ]
        misses = missed(targets, figures)
        verdict = ", ".join(f"{key} {figures[key]:.3g} > {targets[key]:g}" for key in misses)
        cells = [*standard, *spreads, _beside(figures), verdict]
        table.add_row(name, *("" if "nan" in cell.split("%") else cell for cell in cells))
    console = Console(width=None if sys.stdout.isatty() else 250, highlight=False)
    console.print(table)
    console.print("Spreads are of the number in flight, as shares of its mean, after warm-up.")


def _span(figures: Figures, low: str, high: str) -> str:
    return f"{figures[low]:.2f}-{figures[high]:.2f}" if low in figures else ""


def _beside(figures: Figures) -> str:
    shown = {name for name, _, _ in _STANDARD} | {"sent"}
    return ", ".join(
        f"{name} {value:.3g}"
        for name, value in figures.items()
        if name not in shown
        and "in_flight" not in name.replace("sent_in", "")
        and (value or name != "failed")
    )


if __name__ == "__main__":
    sys.exit(main())
