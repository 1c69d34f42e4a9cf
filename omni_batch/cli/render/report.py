"""The report's figures in a terminal."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from omni_batch import format as fmt
from omni_batch.analytics.report.facts import Percentiles, RunReport
from omni_batch.analytics.report.quota_use import limits_in_words, rates_in_words, used_in_words
from omni_batch.cli.render.pages import doubt_line, pairs_table
from omni_batch.progress import phrases

_KINDS_SHOWN = 8


def report_summary(report: RunReport, page: Path) -> RenderableType:
    """A run in ten lines, whether its quota was used, how long it waited, what failed and why."""
    record = report.record
    head = Text.assemble((f"{record.run_id}, {record.state}: ", "bold"), phrases.outcome(record))
    reason = [Text(record.reason, style="yellow")] if record.reason else []
    pairs = [*phrases.facts(record), *_quotas(report), *_times(report)]
    return Group(
        head,
        *reason,
        pairs_table(pairs),
        *_failures(report),
        *map(doubt_line, report.doubts),
        Text(f"Page: {page}"),
    )


def _quotas(report: RunReport) -> Iterator[tuple[str, str]]:
    for use in report.quotas:
        yield f"{use.what} a minute", f"{rates_in_words(use)}; {limits_in_words(use)}"
        if used := used_in_words(use):
            yield f"{use.what} quota", used
    if report.nearer_quota:
        yield "nearer limit", f"{report.nearer_quota.what} a minute"


def _times(report: RunReport) -> Iterator[tuple[str, str]]:
    several = len({times.endpoint for times in report.response_times}) > 1
    for times in report.response_times:
        at = f", {times.endpoint}" if several else ""
        yield f"{times.what}{at}", _percentiles(times.seconds)
    if report.waits:
        yield "wait of an item", _percentiles(report.waits)


def _percentiles(seconds: Percentiles) -> str:
    shown = ", ".join(map(fmt.duration, (seconds.p50, seconds.p90, seconds.p99)))
    return f"{shown} (p50, p90, p99)"


def _failures(report: RunReport) -> Iterator[Text]:
    for failure in report.failures[:_KINDS_SHOWN]:
        example = failure.patterns[0].examples[0]
        yield Text.assemble(
            (f"{failure.items:,} x {failure.kind}", "red"), f", such as {example.item_id}:"
        )
        yield Text(f"  {example.message}")
        yield Text(f"  {failure.remedy}", style="dim")
