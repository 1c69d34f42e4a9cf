"""The report's figures in a terminal."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from omni_batch import format as fmt
from omni_batch.analytics.report.facts import FieldFigures, Percentiles, RunReport, TypedAnswers
from omni_batch.analytics.report.quota_use import limits_in_words, rates_in_words, used_in_words
from omni_batch.cli.render.pages import doubt_line, pairs_table
from omni_batch.progress import phrases

_KINDS_SHOWN = 8
_VALUES_SHOWN = 4


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
        *_typed_answers(report.annotation),
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


def _typed_answers(typed: TypedAnswers | None) -> Iterator[RenderableType]:
    if typed is None:
        return
    yield Text()
    again = f"{typed.asked_again:,} rows were asked again, {typed.mended:,} of them with success"
    yield Text(
        f"typed answers: {typed.rows:,} fit the schema, {typed.failed:,} do not; "
        f"{again if typed.asked_again else 'no row was asked again'}"
    )
    yield _fields_table(typed)
    for broken in typed.violations:
        place = broken.path or "the whole answer"
        yield Text(f"{broken.rows:,} x broken first at {place}", style="red")
    yield Text()


def _fields_table(typed: TypedAnswers) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("field", overflow="fold")
    table.add_column("what was said", overflow="fold")
    table.add_column("missing", justify="right")
    if typed.has_samples:
        table.add_column("items", justify="right")
        table.add_column("alpha", justify="right")
    for field in typed.fields:
        samples = [_items(field), _alpha(field)] if typed.has_samples else []
        table.add_row(Text(field.field), Text(_said(field)), f"{field.missing:,}", *samples)
    return table


def _said(field: FieldFigures) -> str:
    if field.spread is not None:
        names = ("least", "median", "largest", "mean")
        figures = {name: getattr(field.spread, name) for name in names}
        return ", ".join(f"{n} {v:.4g}" for n, v in figures.items() if v is not None) or fmt.NOTHING
    said = [value for value in field.values if value.rows]
    said.sort(key=lambda value: -value.rows)
    shown = [f"{each.value} {fmt.share(each.share)}" for each in said[:_VALUES_SHOWN]]
    more = len(said) + field.other_values - len(shown)
    if not said and field.different:
        return f"{field.different:,} different texts"
    return ", ".join([*shown, *([f"{more:,} more"] if more else [])]) or fmt.NOTHING


def _items(field: FieldFigures) -> str:
    return fmt.NOTHING if field.items is None else f"{field.items:,}"


def _alpha(field: FieldFigures) -> str:
    return fmt.NOTHING if field.alpha is None else f"{field.alpha:.3f}"


def _failures(report: RunReport) -> Iterator[Text]:
    for failure in report.failures[:_KINDS_SHOWN]:
        example = failure.patterns[0].examples[0]
        yield Text.assemble(
            (f"{failure.items:,} x {failure.kind}", "red"), f", such as {example.item_id}:"
        )
        yield Text(f"  {example.message}")
        yield Text(f"  {failure.remedy}", style="dim")
