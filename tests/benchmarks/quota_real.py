"""Whole pipelines in real time, against the simulator as a process of its own."""

import asyncio
import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pyarrow.parquet as pq

from omni_batch.config import Config, QuotaConfig
from omni_batch.endpoint_status import Learned
from omni_batch.engine.pipeline import execute
from omni_batch.engine.run import Run
from omni_batch.errors import Limit
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.store import RunDir
from tests.benchmarks.bench import config, simulator
from tests.benchmarks.quota_figures import Figures
from tests.benchmarks.quota_scenarios import (
    RPM,
    STRICT,
    Case,
    Outcome,
    Targets,
    figures_of,
    terms_of,
)
from tests.benchmarks.quota_terms import Diary, Item, Terms

_ITEMS = 400
_IDLE_TIMEOUT_S = 5.0
_FAULTS: dict[str, Any] = {"cut": 0.05, "stall": 0.05, "error_500": 0.05}

_ALL = {"failed": 0.0, "unaccounted": 0.0}


def _stated(factor: float = 1.0) -> QuotaConfig:
    return QuotaConfig(requests_per_minute=RPM * factor, tokens_per_minute=1e12, max_in_flight=256)


CASES = (
    *(
        Case(f"real-strict-{window}", terms_of(RPM, None, window), _stated(), {**_ALL, **STRICT})
        for window in ("sliding-second", "whole-second", "bucket-1")
    ),
    Case("real-known", Terms(RPM), _stated(), {**_ALL, "ratio": 1.10, "refused": 0}, _ITEMS),
    Case("real-double", Terms(RPM), _stated(2), {**_ALL, "ratio": 1.15, "refused_share": 0.02}),
    Case("real-faults", Terms(RPM, **_FAULTS), _stated(), {**_ALL, "extra_per_fault": 1.2}, _ITEMS),
    Case("real-outage", Terms(RPM, outage_s=(15, 25)), _stated(), {**_ALL, "back_after_s": 10}),
)


def run_all(
    plots: Path | None, beginnings: list[str] | None
) -> Iterator[tuple[str, Targets, Figures]]:
    """Run each case whose name begins so, minutes in all."""
    for case in CASES:
        if beginnings and not case.name.startswith(tuple(beginnings)):
            continue
        whole = dataclasses.replace(case, items=_ITEMS)
        with tempfile.TemporaryDirectory() as folder:
            outcome = _run(whole, Path(folder))
        if plots is not None:
            from tests.benchmarks.quota_plots import draw

            draw(outcome, plots)
        yield case.name, case.targets, outcome.figures


def _run(case: Case, folder: Path) -> Outcome:
    terms = case.terms
    pace: dict[str, Any] = {"requests_per_minute": RPM}
    pace |= {"first_chunk_s": 1.0, "chunk_interval_s": 0.3}
    pace |= {"window": terms.window} | ({"burst": terms.burst} if terms.burst else {})
    with simulator(**pace, scriptable=True) as base_url:
        if terms.cut:
            _tell(base_url, {"faults": _FAULTS})
        directory = prepare_run(make_plan(_config(case, folder, base_url)))
        asyncio.run(execute(directory, background=_Breakdown(base_url, terms.outage_s)))
        counters = httpx.get(urljoin(base_url, "/simulator/counters")).json()
    attempts, results = _table(directory, "attempts"), _table(directory, "results")
    diary = _diary(attempts)
    diary.failed = [row["item_id"] for row in results if row["status"] != "succeeded"]
    diary.faults = sum(counters["faults"].values()) if terms.cut else 0
    found = figures_of(case, _items(attempts), diary)
    found["unaccounted"] = abs(counters["requests"] - len(attempts))
    return Outcome(case, found, diary, Learned())


def _config(case: Case, folder: Path, base_url: str) -> Config:
    settings = config(folder, base_url, case.items, speech=False, in_flight=1)
    retry = settings.retry.model_copy(update={"idle_timeout_s": _IDLE_TIMEOUT_S})
    return settings.model_copy(update={"quota": case.stated, "retry": retry})


class _Breakdown:
    """Goes on beside the run and lets the service fail for a while."""

    def __init__(self, base_url: str, outage_s: tuple[float, float] | None) -> None:
        self._base_url, self._outage_s = base_url, outage_s

    async def __call__(self, _: Run) -> None:
        """Wait, break it, wait, mend it."""
        if self._outage_s is None:
            return
        begin_s, end_s = self._outage_s
        await asyncio.sleep(begin_s)
        await asyncio.to_thread(_tell, self._base_url, {"faults": {"error_503": 1.0}})
        await asyncio.sleep(end_s - begin_s)
        await asyncio.to_thread(_tell, self._base_url, {"faults": {}})


def _tell(base_url: str, options: dict[str, Any]) -> None:
    httpx.post(urljoin(base_url, "/simulator/options"), json=options).raise_for_status()


def _table(directory: RunDir, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(directory.root / name).to_pylist()
    return rows


def _diary(attempts: Sequence[dict[str, Any]]) -> Diary:
    """What the attempts table tells, from the first request on."""
    first = min(row["started_at"] for row in attempts)
    known = (
        ((row["started_at"] - first).total_seconds(), row["latency_s"], row) for row in attempts
    )
    rows = sorted(known, key=lambda parts: parts[:2])
    diary = Diary(ended_s=max(at_s + latency_s for at_s, latency_s, _ in rows))
    changes = []
    limit: Limit = "requests"
    for at_s, latency_s, row in rows:
        diary.sent_s.append(at_s)
        if row["error_kind"] == "rate_limited":
            diary.refused.append((at_s + latency_s, limit))
        elif row["error_kind"] == "unavailable":
            diary.down_s.append(at_s + latency_s)
        else:
            diary.admitted_s.append(at_s)
            diary.tokens.append((at_s + latency_s, row["total_tokens"] or 0))
            changes += [(at_s, 1), (at_s + latency_s, -1)]
    diary.tokens.sort()
    changes.sort()
    levels = accumulate(change for _, change in changes)
    diary.in_flight += [(at_s, level) for (at_s, _), level in zip(changes, levels, strict=True)]
    return diary


def _items(attempts: Sequence[dict[str, Any]]) -> list[Item]:
    """Those that were answered, in the order of the manifest."""
    good = sorted(
        (row for row in attempts if row["error_kind"] is None), key=lambda row: row["row_number"]
    )
    return [
        Item(number, row["prompt_tokens"], 0, row["completion_tokens"], row["latency_s"])
        for number, row in enumerate(good)
    ]
