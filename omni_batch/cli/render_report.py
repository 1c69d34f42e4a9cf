"""The same facts in a terminal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from omni_batch import format as fmt
from omni_batch.analytics.report.facts import Facts, QuotaUse
from omni_batch.cli.render import pairs_table

_KINDS_SHOWN = 8


def summary(facts: Facts, page: Path) -> RenderableType:
    """Whether the run is well, what it cost, what failed and why, whether the quota was used."""
    head = Text.assemble(
        (f"{facts.run_id}, {facts.state}: ", "bold"),
        (f"{facts.succeeded:,} succeeded", "green"),
        ", ",
        (f"{facts.failed:,} failed", "red" if facts.failed else ""),
        f" of {facts.items:,} items",
    )
    reason = [Text(facts.reason, style="yellow")] if facts.reason else []
    return Group(
        head, *reason, pairs_table(_pairs(facts)), *_failures(facts), Text(f"Page: {page}")
    )


def _pairs(facts: Facts) -> Iterator[tuple[str, Any]]:
    yield "cost", costs(facts)
    yield (
        "tokens",
        f"{fmt.count(facts.prompt_tokens)} in, {fmt.count(facts.completion_tokens)} out",
    )
    yield "speech", fmt.duration(facts.audio_s or None)
    yield "working time", fmt.duration(facts.elapsed_s or None)
    for use in facts.quotas:
        yield f"{use.what} a minute", _quota(use)
    for wait in facts.waits:
        spread = wait.spread
        times = (spread.p50, spread.p90, spread.p99)
        shown = ", ".join(fmt.duration(seconds) for seconds in times)
        yield f"{wait.what}, {wait.endpoint}", f"{shown} (p50, p90, p99)"
    yield (
        "exchanges",
        f"{facts.requests:,}, {facts.retries:,} retries, {facts.rate_limited:,} got 429",
    )


def costs(facts: Facts) -> str:
    """Money in all currencies."""
    return fmt.money(facts.costs) if facts.costs else "unknown"


def _quota(use: QuotaUse) -> str:
    mean = f"{use.mean_per_minute:,.0f} in the mean, {use.peak_per_minute:,.0f} at most"
    if not use.limit_per_minute:
        return f"{mean}; no limit"
    return f"{mean}; {fmt.share(use.used, 1)} of {use.limit_per_minute:,.0f} used"


def _failures(facts: Facts) -> Iterator[Text]:
    for failure in facts.failures[:_KINDS_SHOWN]:
        example = failure.troubles[0].examples[0] if failure.troubles else None
        such = f", such as {example.item_id}:" if example else ""
        yield Text.assemble((f"{failure.items:,} x {failure.kind}", "red"), such)
        if example:
            yield Text(f"  {example.message}")
        yield Text(f"  {failure.remedy}", style="dim")
