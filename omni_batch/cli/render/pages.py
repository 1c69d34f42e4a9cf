"""What single commands show in the terminal: checks, runs, rows, models."""

from collections.abc import Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from omni_batch import format as fmt
from omni_batch.analytics import results
from omni_batch.catalogue import Catalogue, Model
from omni_batch.catalogue.describe import STAR, describe
from omni_batch.doubts import DoubtGroup
from omni_batch.planning.check import CheckReport, VariantEstimate
from omni_batch.progress import phrases
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.remote.copies import shown
from omni_batch.text import one_line

_ROWS_SHOWN = 20
_NAMES_WIDE = 18

_MODALITIES = ("text", "image", "audio", "video")


def results_table(directory: RunDir) -> RenderableType:
    """The first rows of a run, one line each."""
    columns = [*results.NAMING, "status", "text", "audio_s", "total_tokens", "error_message"]
    rows = results.results_table(directory, columns).slice(0, _ROWS_SHOWN).to_pylist()
    table = Table(box=None, padding=(0, 1), header_style="bold", expand=True)
    table.add_column("item", no_wrap=True)
    table.add_column("answer", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("speech", justify="right", no_wrap=True)
    table.add_column("tokens", justify="right", no_wrap=True)
    for row in rows:
        failed = row["status"] == "failed"
        table.add_row(
            Text(one_line(results.name_of(row))),
            Text(one_line(row["error_message"] if failed else row["text"])),
            fmt.duration(row["audio_s"]) if row["audio_s"] else "",
            f"{row['total_tokens']:,}" if row["total_tokens"] else "",
            style="red" if failed else "",
        )
    return table


def runs_table(runs: Iterable[tuple[RunDir, RunRecord]]) -> Table:
    """Runs, one line each."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("run", overflow="fold")  # to be copied, so never cut short
    table.add_column("state")
    for name in ("items", "failed", "tokens", "cost"):
        table.add_column(name, justify="right")
    for directory, record in runs:
        counts = record.counts
        table.add_row(
            shown(directory.root),
            record.state,
            f"{record.items:,}",
            f"{counts.failed:,}",
            f"{counts.prompt_tokens + counts.completion_tokens:,}",
            phrases.cost(counts),
        )
    return table


def check_report(report: CheckReport) -> RenderableType:
    """What a run would do: refused rows, tokens by modality, cost and time."""
    prompt = report.prompt
    tokens = fmt.estimate(report.completion_tokens_low, report.completion_tokens_high)
    cost = None
    if report.cost_low is not None and report.cost_high is not None:
        cost = fmt.estimate(report.cost_low, report.cost_high, report.currency or "")
    time_s = report.shortest_time_s
    facts = pairs_table(
        [
            ("items", report.items),
            ("refused", report.refused_items),
            *([("reused from earlier runs", report.reused_items)] if report.reused_items else []),
            *([("same question as another row", report.same_items)] if report.same_items else []),
            *_fitted(report),
            ("prompt tokens, estimated", prompt.total),
            ("  text", prompt.text),
            ("  sound", prompt.audio),
            ("  images", prompt.image),
            ("  video", prompt.video),
            ("completion tokens", f"{tokens} ({report.estimated_by})"),
            ("cost by both", cost),
            ("time under the quota", "no quota" if time_s is None else fmt.duration(time_s)),
        ]
    )
    refused = [
        Text.assemble((f"{one_line(row.name)}: ", "red"), one_line(row.message))
        for row in report.refused[:_ROWS_SHOWN]
    ]
    more = len(report.refused) - len(refused)
    rest = [Text(f"… and {more:,} more; --json lists them all")] if more else []
    warnings = [doubt_line(group) for group in report.warnings]
    variants = [_variants_table(report.variants)] if report.variants else []
    return Group(facts, *variants, *refused, *rest, *warnings)


def _fitted(report: CheckReport) -> list[tuple[str, Any]]:
    """How many rows have media that would be made to fit, and what that saves."""
    if not report.fitted_items:
        return []
    saved = report.image_tokens_saved
    cost = fmt.amount(report.cost_saved) if report.cost_saved else None
    rows: list[tuple[str, Any]] = [("made to fit", report.fitted_items)]
    shown = f"{saved:,}" + (f" ({cost} {report.currency or ''})".replace(" )", ")") if cost else "")
    return [*rows, *([("  image tokens saved", shown)] if saved > 0 else [])]


def _variants_table(variants: Iterable[VariantEstimate]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("variant", "model", "items", "prompt tokens", "completion tokens", "cost"):
        table.add_column(name, overflow="fold")
    for each in variants:
        tokens = fmt.estimate(each.completion_tokens_low, each.completion_tokens_high)
        cost = "-"
        if each.cost_low is not None and each.cost_high is not None:
            cost = fmt.estimate(each.cost_low, each.cost_high, each.currency or "")
        numbers = f"{each.items:,}", f"{each.prompt_tokens:,}", tokens, cost
        table.add_row(each.variant, each.model, *numbers)
    return table


def doubt_line(group: DoubtGroup) -> Text:
    """What one rule doubts: how many rows, and one of them."""
    rows = f"{group.rows:,} {'row' if group.rows == 1 else 'rows'}: " if group.rows else ""
    such = f", such as {one_line(group.item_id)}" if group.item_id and group.rows > 1 else ""
    text = f"warning: {rows}{one_line(group.message)} ({group.rule}{such})"
    return Text(text, style="yellow")


def models_table(known: Catalogue) -> RenderableType:
    """All models, one line each."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for name in ("model", "takes", "speech", "thinking", "in", "out"):
        table.add_column(name, justify="right" if name in ("in", "out") else "left")
    for name in sorted(known.models):
        model = known.models[name]
        table.add_row(
            name,
            "any" if len(model.inputs) == len(_MODALITIES) else ", ".join(model.inputs),
            "yes" if model.audio_out else "no",
            model.thinking,
            _thousands(model.max_input_tokens),
            _thousands(model.max_output_tokens),
        )
    note = f"Tokens in and out; material of {known.date}, nothing measured live."
    return Group(table, Text(note, style="dim"))


def model_page(model: Model, known: Catalogue) -> RenderableType:
    """Everything the catalogue knows of one model."""
    parts: list[RenderableType] = []
    sections = describe(model, known.dialects)
    for section in sections:
        if section.title:
            parts.append(Text(f"\n{section.title}", style="bold"))
        parts.append(_facts_table(section.facts))
    starred = any("*" in value for section in sections for _, value in section.facts)
    legend = f"\n{STAR}" if starred else ""
    note = f"{legend}\nMaterial of {known.date}; nothing measured live."
    return Group(*parts, Text(note, style="dim"))


def _facts_table(facts: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(width=_NAMES_WIDE, overflow="fold")
    table.add_column()
    for name, value in facts:
        table.add_row(Text(name, style="dim"), Text(value))
    return table


def pairs_table(pairs: Iterable[tuple[str, Any]]) -> Table:
    """Names and values; None is shown as a dash."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    for name, value in pairs:
        shown = f"{value:,}" if isinstance(value, int | float) else value or "-"
        table.add_row(name, shown)
    return table


def _thousands(tokens: int | None) -> str:
    return f"{tokens:,}" if tokens else "-"
