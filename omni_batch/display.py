"""What a person sees in the terminal. Pictures of run.json and of the tables, nothing more."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from omni_batch import analytics
from omni_batch.catalogue import Catalogue, Model
from omni_batch.check import CheckReport
from omni_batch.errors import ConfigError
from omni_batch.redact import one_line
from omni_batch.rundir import RunDir, RunRecord
from omni_batch.rundir.record import read_record

_PLAIN_EVERY_S = 5.0
_ROWS_SHOWN = 20
_WORTH_SAYING = 0.05
_GROUPS_SHOWN = 8

_MODALITIES = ("text", "image", "audio", "video")

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


@contextmanager
def watching(directory: RunDir) -> Iterator[Callable[[str], None]]:
    """Show a run's progress on stderr while the block works on it.

    Yields:
        A function that says what the run is waiting for before it begins.
    """
    if err.is_terminal:
        spinner = Spinner("dots", "Starting")
        with Live(
            get_renderable=lambda: _live(directory, spinner),
            console=err,
            refresh_per_second=4,
            transient=True,
        ):
            yield lambda text: spinner.update(text=text)
        return
    ended = threading.Event()
    thread = threading.Thread(target=_print_lines, args=(directory, ended), daemon=True)
    thread.start()
    try:
        yield lambda text: err.print(text, soft_wrap=True)
    finally:
        ended.set()
        thread.join()


def _live(directory: RunDir, spinner: Spinner) -> RenderableType:
    record = _record(directory)
    return progress(record) if record and record.state == "running" else spinner


def _print_lines(directory: RunDir, ended: threading.Event) -> None:
    while not ended.wait(_PLAIN_EVERY_S):
        record = _record(directory)
        if record is not None and record.state == "running":
            err.print(progress_line(record), soft_wrap=True)


def _record(directory: RunDir) -> RunRecord | None:
    try:
        return read_record(directory.record)
    except ConfigError:
        return None


def progress(record: RunRecord) -> RenderableType:
    """Three lines: what, how far, what it took."""
    counts = record.counts
    head = Text.assemble(
        (record.run_id, "bold"),
        f"  {record.config['model']} at {record.config['endpoint']['name']}",
    )
    bar = Table.grid(padding=(0, 1))
    share = counts.done / record.items
    bar.add_row(
        ProgressBar(total=record.items, completed=counts.done, width=40),
        f"{counts.done:,} of {record.items:,}",
        f"{share:.0%}",
        _left(record),
    )
    state = Text.assemble(
        (f"{counts.succeeded:,} done", "green"),
        f" ({counts.reused:,} reused)  " if counts.reused else "  ",
        (f"{counts.failed:,} failed", "red" if counts.failed else "dim"),
        f"  {counts.in_flight} in flight  {counts.items_per_minute or 0:,.0f} a minute",
        (f"  429: {counts.rate_limited:,}" if counts.rate_limited else "", "yellow"),
    )
    return Group(head, bar, state, Text(_spent(record)))


def progress_line(record: RunRecord) -> str:
    """The same for a log."""
    counts = record.counts
    reused = f"{counts.reused:,} reused, " if counts.reused else ""
    return (
        f"{record.run_id}: {counts.done:,} of {record.items:,} items, {reused}"
        f"{counts.failed:,} failed, "
        f"{counts.in_flight} in flight, {counts.items_per_minute or 0:,.0f} a minute, "
        f"{_spent(record)}{', ' + _left(record) if _left(record) else ''}"
    )


def summary(directory: RunDir) -> RenderableType:
    """How a run ended: counts, what it took, failures by kind with an example each."""
    record = read_record(directory.record)
    counts = record.counts
    lines: list[RenderableType] = [
        Text.assemble(
            (f"{record.state}: ", "bold"),
            (f"{counts.succeeded:,} succeeded", "green"),
            f" ({counts.reused:,} reused)" if counts.reused else "",
            ", ",
            (f"{counts.failed:,} failed", "red" if counts.failed else ""),
            f" of {record.items:,} items in {_duration(counts.elapsed_s)}",
        ),
        Text(f"{counts.requests:,} requests, {counts.retries:,} of them retries"),
        Text(_spent(record)),
    ]
    if abs(counts.text_factor - 1) > _WORTH_SAYING:
        lines.append(Text(f"text took {counts.text_factor:.2f} times the tokens estimated"))
    if record.state in ("prepared", "interrupted", "stopped"):
        lines.append(Text(record.reason or "it was broken off", style="yellow"))
        lines.append(Text(f"Go on with: omni-batch resume {directory.root}"))
    lines += [Text(f"warning: {warning}", style="yellow") for warning in record.warnings]
    groups = analytics.failure_groups(directory) if counts.failed else []
    for group in groups[:_GROUPS_SHOWN]:
        head = (f"{group.items:,} x {group.error_kind}", "red")
        lines.append(Text.assemble(head, f", such as {one_line(group.example_item_id)}:"))
        lines.append(Text(f"  {one_line(group.example_message)}"))
    return Group(*lines)


def results_table(directory: RunDir) -> RenderableType:
    """The first rows of a run, one line each."""
    columns = ["item_id", "status", "text", "audio_s", "total_tokens", "error_message"]
    rows = analytics.results_table(directory, columns).slice(0, _ROWS_SHOWN).to_pylist()
    table = Table(box=None, padding=(0, 1), header_style="bold", expand=True)
    table.add_column("item", no_wrap=True)
    table.add_column("answer", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("speech", justify="right", no_wrap=True)
    table.add_column("tokens", justify="right", no_wrap=True)
    for row in rows:
        failed = row["status"] == "failed"
        table.add_row(
            Text(one_line(row["item_id"])),
            Text(one_line(row["error_message"] if failed else row["text"])),
            f"{row['audio_s']:.1f} s" if row["audio_s"] else "",
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
            str(directory.root),
            record.state,
            f"{record.items:,}",
            f"{counts.failed:,}",
            f"{counts.prompt_tokens + counts.completion_tokens:,}",
            _money(record),
        )
    return table


def check_report(report: CheckReport) -> RenderableType:
    """What a run would do: refused rows, tokens by modality, cost and time."""
    prompt = report.prompt
    cost = None if report.cost is None else f"{report.cost:.4f} {report.currency}"
    time_s = report.shortest_time_s
    facts = pairs_table(
        [
            ("items", report.items),
            ("refused", report.refused_items),
            *([("reused from earlier runs", report.reused_items)] if report.reused_items else []),
            ("prompt tokens, estimated", prompt.total),
            ("  text", prompt.text),
            ("  sound", prompt.audio),
            ("  images", prompt.image),
            ("  video", prompt.video),
            ("completion tokens, a first guess", report.completion_tokens),
            ("cost by both", cost),
            ("time under the quota", "no quota" if time_s is None else _duration(time_s)),
        ]
    )
    refused = [
        Text.assemble((f"{one_line(row.item_id)}: ", "red"), one_line(row.message))
        for row in report.refused[:_ROWS_SHOWN]
    ]
    more = len(report.refused) - len(refused)
    rest = [Text(f"… and {more:,} more; --json lists them all")] if more else []
    warnings = [
        Text(f"warning: {text}{f' ({rows:,} rows)' if rows else ''}", style="yellow")
        for text, rows in list(report.warnings.items())[:_ROWS_SHOWN]
    ]
    return Group(facts, *refused, *rest, *warnings)


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


def model_page(model: Model, date: str) -> RenderableType:
    """Everything the catalogue knows of one model."""
    limits = model.limits
    prices = [
        (f"price, {region}", f"{_price(rates)} {currency} per million tokens")
        for region, by_currency in model.prices.items()
        for currency, rates in by_currency.items()
    ]
    return pairs_table(
        [
            ("model", model.name),
            ("also called", ", ".join(model.aliases)),
            ("takes", ", ".join(model.inputs)),
            ("speech", f"yes, {len(model.voices)} voices" if model.audio_out else "no"),
            ("voices", ", ".join(model.voices)),
            ("thinking", model.thinking),
            ("context", model.context_tokens),
            ("input tokens", model.max_input_tokens),
            ("input tokens, thinking", model.max_input_tokens_thinking),
            ("output tokens", model.max_output_tokens),
            ("requests a minute", model.quota.requests_per_minute),
            ("tokens a minute", model.quota.tokens_per_minute),
            ("sound", _seconds(limits.audio_max_s)),
            ("video", _seconds(limits.video_max_s)),
            (
                "frames",
                f"{limits.frames_min} to {limits.frames_max}" if limits.frames_max else None,
            ),
            *prices,
            ("unverified", ", ".join(model.unverified)),
            ("as of", f"{date}; nothing measured live"),
        ]
    )


def pairs_table(pairs: Iterable[tuple[str, Any]]) -> Table:
    """Names and values; None is shown as a dash."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in pairs:
        shown = "-" if value is None or value == "" else f"{value:,}" if _number(value) else value
        table.add_row(Text(name, style="dim"), str(shown))
    return table


def print_error(message: str) -> None:
    """What, the value, what to do: on stderr."""
    lines = "\n".join(map(one_line, message.splitlines()))
    err.print(Text.assemble(("Error: ", "bold red"), lines), soft_wrap=True)


def print_note(message: str) -> None:
    """Something to know, on stderr."""
    err.print(message, soft_wrap=True)


def print_line(value: object) -> None:
    """A line of its own on stdout, at once, for programs to read."""
    print(value, flush=True)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _spent(record: RunRecord) -> str:
    counts = record.counts
    cut = counts.estimated_tokens
    unbilled = f" (and about {cut:,} more for cut answers{_guessed(record)})" if cut else ""
    speech = f", {_duration(counts.audio_s)} of speech" if counts.audio_s else ""
    return (
        f"{counts.prompt_tokens:,} tokens in, {counts.completion_tokens:,} out"
        f"{speech}, {_money(record)}{unbilled}"
    )


def _guessed(record: RunRecord) -> str:
    counts = record.counts
    known = counts.currency and counts.estimated_cost
    return f": {counts.estimated_cost:,.4f} {counts.currency}" if known else ""


def _money(record: RunRecord) -> str:
    counts = record.counts
    return f"{counts.cost:,.4f} {counts.currency}" if counts.currency else "cost unknown"


def _left(record: RunRecord) -> str:
    counts = record.counts
    if not counts.items_per_minute or record.state != "running":
        return ""
    return f"{_duration(60 * (record.items - counts.done) / counts.items_per_minute)} left"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_of_hour = divmod(minutes, 60)
    return f"{hours}:{minutes_of_hour:02} h" if hours else f"{minutes}:{rest:02} min"


def _thousands(tokens: int | None) -> str:
    return f"{tokens:,}" if tokens else "-"


def _seconds(limit_s: float | None) -> str | None:
    return f"up to {_duration(limit_s)}" if limit_s else None


def _price(rates: Any) -> str:
    named = {name: value for name, value in msgspec.structs.asdict(rates).items() if value}
    return ", ".join(f"{name} {value:g}" for name, value in named.items())
