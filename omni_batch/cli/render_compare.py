"""Two runs side by side, in the terminal and for the page."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from omni_batch.analytics.compare import Comparison, TextChange
from omni_batch.format import NOTHING, amount, count, duration

_LEFT = "red strike"
_RIGHT = "green"


@dataclass(frozen=True, slots=True)
class Fact:
    """One line: what both runs say, and the difference."""

    label: str
    left: str
    right: str
    difference: str


def comparison_facts(comparison: Comparison) -> list[Fact]:
    """Totals and medians of both runs."""
    left, right = comparison.left, comparison.right
    words = [("model", left.model, right.model), ("endpoint", left.endpoint, right.endpoint)]
    named = [
        Fact(label, str(a), str(b), "" if a == b else "changed")
        for label, a, b in [("run", left.run_id, right.run_id), *words]
    ]
    numbers: list[tuple[str, str, Callable[..., str]]] = [
        ("items", "items", count),
        ("failed", "failed", count),
        ("requests", "attempts", count),
        ("tokens in", "prompt_tokens", count),
        ("tokens out", "completion_tokens", count),
        ("tokens of an item, median", "total_tokens_median", count),
        ("speech", "audio_s", duration),
        ("time of an item, median", "latency_s_median", duration),
        ("time of an item, slowest 5 % from", "latency_s_p95", duration),
        ("time of all items", "latency_s", duration),
    ]
    measured = [
        _fact(label, getattr(left, name), getattr(right, name), show)
        for label, name, show in numbers
    ]
    return [*named, *measured, *_costs(comparison)]


def comparison_report(comparison: Comparison) -> RenderableType:
    """All of it, for a person."""
    return Group(*_parts(comparison))


def _parts(c: Comparison) -> Iterator[RenderableType]:
    yield _facts_table(c)
    yield Text()
    yield Text(
        f"{c.both:,} items in both, {c.only_left:,} only in A, {c.only_right:,} only in B; "
        f"{c.text_changed:,} texts changed, {c.status_changed:,} changed their status"
    )
    for name, ids, of in (
        ("A", c.only_left_items, c.only_left),
        ("B", c.only_right_items, c.only_right),
    ):
        if ids:
            yield Text(f"only in {name}: {', '.join(ids)}{' …' if of > len(ids) else ''}")
    for change in c.status_changes:
        head = f"{change.item_id}: {change.left_status} → {change.right_status}"
        yield Text.assemble((head, "yellow"), f"  {change.error_message or ''}")
    if c.agreement:
        yield _agreement_table(c)
    if c.text_changes:
        yield _changes_table(c.text_changes)


def _facts_table(comparison: Comparison) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("")
    for name in ("A", "B", "A to B"):
        table.add_column(name, justify="right", overflow="fold")
    for fact in comparison_facts(comparison):
        table.add_row(
            Text(fact.label, style="dim"), Text(fact.left), Text(fact.right), Text(fact.difference)
        )
    return table


def _agreement_table(comparison: Comparison) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold", title_justify="left")
    for name in ("annotation", "items", "agreed", "kappa"):
        table.add_column(name, justify="left" if name == "annotation" else "right")
    for found in comparison.agreement:
        kappa = NOTHING if found.kappa is None else f"{found.kappa:.3f}"
        agreed = f"{found.agreed / found.items:.1%}"
        table.add_row(Text(found.field), f"{found.items:,}", agreed, kappa)
    return table


def _changes_table(changes: list[TextChange]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold", expand=True)
    table.add_column("item", overflow="fold")
    table.add_column("changed", justify="right", no_wrap=True)
    table.add_column("A", ratio=1, overflow="fold")
    table.add_column("B", ratio=1, overflow="fold")
    for change in changes:
        table.add_row(
            Text(change.item_id),
            f"{change.change:.0%}",
            _side(change, "left", _LEFT),
            _side(change, "right", _RIGHT),
        )
    return table


def _side(change: TextChange, side: str, style: str) -> Text:
    parts = [
        (segment.text, "" if segment.kind == "same" else style)
        for segment in change.segments
        if segment.kind in ("same", side)
    ]
    return Text.assemble(*parts)


def _fact(label: str, left: Any, right: Any, show: Callable[..., str]) -> Fact:
    return Fact(label, show(left), show(right), _difference(left, right, show))


def _difference(left: float | None, right: float | None, show: Callable[..., str]) -> str:
    if left is None or right is None:
        return ""
    if left == right:
        return "same"
    sign = "+" if right > left else "-"
    share = f" ({(right - left) / left:+.1%})" if left else ""
    return f"{sign}{show(abs(right - left))}{share}"


def _costs(comparison: Comparison) -> Iterator[Fact]:
    left, right = comparison.left, comparison.right
    if left.currency == right.currency:

        def show(value: float | None) -> str:
            return amount(value, left.currency)

        yield _fact("cost", left.cost, right.cost, show)
        yield _fact("cost of an item, median", left.cost_median, right.cost_median, show)
        return
    costs = amount(left.cost, left.currency), amount(right.cost, right.currency)
    yield Fact("cost", *costs, "in other money")
