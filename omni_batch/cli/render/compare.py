"""Two runs side by side, in the terminal and for the page."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from rich.console import RenderableType, group
from rich.table import Table
from rich.text import Text

from omni_batch.analytics.agreement import ClassFigures
from omni_batch.analytics.compare import Comparison, Side, TextChange, VariantComparison
from omni_batch.analytics.truth import Quality
from omni_batch.format import NOTHING, amount, count, duration, money, share

_LEFT = "red strike"
_RIGHT = "green"
_MISTAKES_SHOWN = 20

Show = Callable[[float | None], str]


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of both runs, and the difference."""

    label: str
    left: str
    right: str
    difference: str


def comparison_lines(comparison: Comparison) -> list[Line]:
    """Totals of both runs as `status` shows them, and medians."""
    return _lines_of(comparison.left, comparison.right)


def _lines_of(a: Side, b: Side) -> list[Line]:
    named = [("run", a.run_id, b.run_id), ("model", a.model, b.model)]
    named.append(("endpoint", a.endpoint, b.endpoint))
    if a.variant or b.variant:
        named.insert(1, ("variant", a.variant, b.variant))
    words = [Line(name, str(x), str(y), "" if x == y else "changed") for name, x, y in named]
    x, y = a.counts, b.counts
    return [
        *words,
        _line("items", x.done, y.done, count),
        _line("reused", x.reused, y.reused, count),
        _line("failed", x.failed, y.failed, count),
        _line("requests", x.requests, y.requests, count),
        _line("retries", x.retries, y.retries, count),
        _line("tokens in", x.prompt_tokens, y.prompt_tokens, count),
        _line("tokens out", x.completion_tokens, y.completion_tokens, count),
        _line("tokens of an item, median", a.tokens_median, b.tokens_median, count),
        *_costs(a, b),
        _line("speech", x.audio_s, y.audio_s, duration),
        _line("request, median", a.request_s_median, b.request_s_median, duration),
        _line("request, slowest 5 % from", a.request_s_p95, b.request_s_p95, duration),
        _line("wait of an item, median", a.wait_s_median, b.wait_s_median, duration),
        _line("wait of an item, longest 5 % from", a.wait_s_p95, b.wait_s_p95, duration),
        _line("working time", x.elapsed_s, y.elapsed_s, duration),
    ]


@group()
def variants_report(found: VariantComparison) -> Iterator[RenderableType]:
    """All variants side by side, and how far each two of them agree, for a person."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("")
    for side in found.variants:
        table.add_column(Text(side.variant or ""), justify="right", overflow="fold")
    lines = [{line.label: line.left for line in _lines_of(side, side)} for side in found.variants]
    for label in dict.fromkeys(label for of_side in lines for label in of_side):
        figures = (Text(of_side.get(label, NOTHING)) for of_side in lines)
        table.add_row(Text(label, style="dim"), *figures)
    yield table
    for pair in found.pairs:
        yield Text()
        yield Text(f"A is {pair.left.variant}, B is {pair.right.variant}", style="bold")
        yield from _changes(pair)


@group()
def comparison_report(c: Comparison) -> Iterator[RenderableType]:
    """All of it, for a person."""
    yield _lines_table(c)
    yield Text()
    yield from _changes(c)


def _changes(c: Comparison) -> Iterator[RenderableType]:
    """From item to item."""
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


def _lines_table(comparison: Comparison) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("")
    for name in ("A", "B", "A to B"):
        table.add_column(name, justify="right", overflow="fold")
    for line in comparison_lines(comparison):
        table.add_row(
            Text(line.label, style="dim"), Text(line.left), Text(line.right), Text(line.difference)
        )
    return table


@group()
def quality_report(found: Quality, variant: str | None = None) -> Iterator[RenderableType]:
    """How right a run, or one variant of it, is on one field, for a person."""
    if variant is not None:
        yield Text(f"variant {variant}", style="bold")
    left_out = (
        f"{found.without_answer:,} without an answer, {found.without_truth:,} without a truth"
    )
    yield Text(f"{found.field}: {found.items:,} compared; {left_out}")
    if found.accuracy is not None:
        yield Text(f"accuracy {found.accuracy:.1%}, kappa {_figure(found.kappa)}")
    if found.mean_error is not None:
        error, absolute = _figure(found.mean_error), _figure(found.mean_absolute_error)
        yield Text(f"mean error {error} (answer minus truth), mean absolute error {absolute}")
    if found.classes:
        yield Text()
        yield _class_table(found.classes.values())
    if any(true != said for true, said, _ in found.confusion):
        yield Text()
        yield _confusion_table(found.confusion)


def _class_table(classes: Iterable[ClassFigures]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for name in ("label", "precision", "recall", "f1", "in truth"):
        table.add_column(name, justify="left" if name == "label" else "right")
    for each in classes:
        figures = map(_figure, (each.precision, each.recall, each.f1))
        table.add_row(Text(each.label), *figures, f"{each.support:,}")
    return table


def _confusion_table(confusion: tuple[tuple[str, str, int], ...]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold", title_justify="left")
    table.add_column("truth")
    table.add_column("answer")
    table.add_column("items", justify="right")
    mistakes = [each for each in confusion if each[0] != each[1]]
    for true, said, items in sorted(mistakes, key=lambda each: -each[2])[:_MISTAKES_SHOWN]:
        table.add_row(Text(true), Text(said), f"{items:,}")
    return table


def _agreement_table(comparison: Comparison) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold", title_justify="left")
    for name in ("annotation", "items", "agreed", "kappa", "mean difference", "Jaccard"):
        table.add_column(name, justify="left" if name == "annotation" else "right")
    for found in comparison.agreement:
        agreed = NOTHING if found.agreed is None else share(found.agreed, found.items)
        figures = map(_figure, (found.kappa, found.mean_error, found.jaccard))
        table.add_row(Text(found.field), f"{found.items:,}", agreed, *figures)
    return table


def _figure(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


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
    styles = {"same": "", side: style}
    shown = [part for part in change.segments if part.kind in styles]
    return Text.assemble(*((part.text, styles[part.kind]) for part in shown))


def _line(label: str, left: float | None, right: float | None, show: Show) -> Line:
    return Line(label, show(left), show(right), _difference(left, right, show))


def _difference(left: float | None, right: float | None, show: Show) -> str:
    if left is None or right is None:
        return ""
    if left == right:
        return "same"
    sign = "+" if right > left else "-"
    share = f" ({(right - left) / left:+.1%})" if left else ""
    return f"{sign}{show(abs(right - left))}{share}"


def _costs(left: Side, right: Side) -> Iterator[Line]:
    """Amounts of one currency have a difference; others stand side by side."""
    both = left.counts.cost, right.counts.cost
    currencies = set(both[0]) | set(both[1])
    if len(currencies) > 1:
        difference = f"{'several' if both[0].keys() == both[1].keys() else 'different'} currencies"
        yield Line("cost", money(both[0]), money(both[1]), difference)
        return
    currency = next(iter(currencies), "")
    show = partial(amount, currency=currency)
    yield _line("cost", both[0].get(currency), both[1].get(currency), show)
    yield _line("cost of an item, median", left.cost_median, right.cost_median, show)
