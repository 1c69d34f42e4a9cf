"""What a person sees of a run: while it goes on and at its end. Pictures of run.json."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from omni_batch import analytics, wording
from omni_batch.display import err, out
from omni_batch.errors import ConfigError
from omni_batch.pace import Pace
from omni_batch.redact import one_line
from omni_batch.rundir import RunDir, RunRecord
from omni_batch.rundir.record import read_record

_PLAIN_EVERY_S = 10.0
_STALE_S = 20.0
_WIDEST_CHARS = 100
_NAME_CHARS = 24
_QUOTA_BAR_CHARS = 20
_FULL = 0.995
_WORTH_SAYING = 0.05
_GROUPS_SHOWN = 8


@contextmanager
def watching(directory: RunDir) -> Iterator[Callable[[str], None]]:
    """Show a run's progress on stderr while the block works on it.

    Yields:
        A function that says what the run is waiting for before it begins.
    """
    if err.is_terminal and not err.is_dumb_terminal:
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


def watch(directory: RunDir) -> None:
    """Show a run of another process until it ends."""
    with watching(directory):
        while read_record(directory.record).state == "running":
            time.sleep(1.0)


def show(directory: RunDir) -> None:
    """How a run stands, on stdout."""
    record = read_record(directory.record)
    if record.state != "running":
        out.print()
        out.print(summary(directory))
        return
    out.print(progress(record))
    if age := _silent_s(directory):
        out.print(Text(_silence(directory, age), style="yellow"))


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


def _silent_s(directory: RunDir) -> float | None:
    """How long run.json of a run under way has not been written, where that is too long."""
    silent_s = time.time() - directory.record.stat().st_mtime
    return silent_s if silent_s > _STALE_S else None


def _silence(directory: RunDir, silent_s: float) -> str:
    return (
        f"Nothing was heard of it for {wording.duration(silent_s)}. If its process has died, "
        f"go on with: omni-batch resume {directory.root}"
    )


def progress(record: RunRecord) -> RenderableType:
    """What, how far, how fast, at what cost; fits 80 columns, and takes no more than 100."""
    counts = record.counts
    endpoint = record.endpoints
    names = ", ".join(one_line(pace.endpoint) for pace in record.paces) or endpoint
    head = (f"{record.run_id}", "bold"), f"  {record.config['model']} at {names}"
    lines: list[RenderableType] = [_line(*head), _bar(record), _items(record)]
    lines += [_endpoint(pace, alone=len(record.paces) == 1) for pace in record.paces]
    took = [wording.tokens(counts), wording.bill(record)]
    lines += map(_line, took if counts.currency else [", ".join(took)])
    if counts.failed:
        lines.append(_line(("failed: ", "red"), wording.failures(counts)))
    return Constrain(Group(*lines), _WIDEST_CHARS)


def _line(*parts: str | tuple[str, str]) -> Text:
    """One line, cut at its end where the terminal is too narrow."""
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _bar(record: RunRecord) -> RenderableType:
    done = record.counts.done
    row = Table.grid(Column(ratio=1), Column(no_wrap=True), padding=(0, 2, 0, 0), expand=True)
    facts = f"{done:,} of {record.items:,}", f"{done / record.items:.0%}", wording.left(record)
    row.add_row(
        ProgressBar(total=record.items, completed=done), Text("  ".join(filter(None, facts)))
    )
    return row


def _items(record: RunRecord) -> RenderableType:
    counts = record.counts
    outcome = Text.assemble(
        (f"{counts.succeeded:,} succeeded", "green"),
        f" ({counts.reused:,} reused)" if counts.reused else "",
        ", ",
        (f"{counts.failed:,} failed", "red" if counts.failed else ""),
        f", {counts.retries:,} {'retry' if counts.retries == 1 else 'retries'}",
        no_wrap=True,
        overflow="ellipsis",
    )
    return Group(outcome, _line(wording.rate(record)))


def _endpoint(pace: Pace, *, alone: bool) -> RenderableType:
    """How one endpoint is used: its quota as a bar, and what stands in the way."""
    row = Table.grid(
        Column(no_wrap=True, overflow="ellipsis", max_width=_NAME_CHARS),
        Column(width=_QUOTA_BAR_CHARS),
        Column(no_wrap=True, overflow="ellipsis"),
        padding=(0, 2, 0, 0),
    )
    used = wording.use(pace)
    name = "quota" if alone else one_line(pace.endpoint)
    if used is None:
        row.add_row(name, Text("no limit known", style="dim"), "")
    else:
        share, said = used
        style = "yellow" if share >= _FULL else "bar.complete"
        bar = ProgressBar(1.0, min(share, 1.0), complete_style=style, finished_style=style)
        row.add_row(name, bar, said)
    waiting = f", {pace.waiting:,} waiting" if pace.waiting else ""
    stands = one_line(wording.standing(pace))
    style = "red" if pace.closed or pace.down_s else "yellow"
    parts: list[str | tuple[str, str]] = [f"{pace.in_flight:,} in flight{waiting}"]
    for text, look in ((stands, style), (wording.refusals(pace), "yellow")):
        if text:
            parts += ["; ", (text, look)]
    return Group(row, Padding(_line(*parts), (0, 0, 0, 2)))


def progress_line(record: RunRecord) -> str:
    """The same in one line, for a log."""
    counts = record.counts
    failed = f"{counts.failed:,} failed"
    facts = [
        f"{counts.done:,} of {record.items:,} items ({counts.done / record.items:.0%})",
        f"{counts.reused:,} reused" if counts.reused else "",
        f"{failed} ({wording.failures(counts)})" if counts.failed else failed,
        wording.rate(record),
        f"{record.in_flight:,} in flight",
        wording.tokens(counts),
        wording.bill(record),
        wording.left(record),
    ]
    facts += [
        f"{pace.endpoint} {text}"
        for pace in record.paces
        for text in (wording.standing(pace), wording.refusals(pace))
        if text
    ]
    return one_line(f"{record.run_id}: {', '.join(filter(None, facts))}")


def summary(directory: RunDir) -> RenderableType:
    """How a run ended: counts, what it took, what it learned, failures with an example each."""
    record = read_record(directory.record)
    counts = record.counts
    lines: list[RenderableType] = [
        Text.assemble(
            (f"{record.state}: ", "bold"),
            (f"{counts.succeeded:,} succeeded", "green"),
            f" ({counts.reused:,} reused)" if counts.reused else "",
            ", ",
            (f"{counts.failed:,} failed", "red" if counts.failed else ""),
            f" of {record.items:,} items in {wording.duration(counts.elapsed_s)}",
        ),
        Text(_requests(record)),
    ]
    took = [wording.tokens(counts), wording.spent(counts)]
    lines += map(Text, took if counts.estimated_tokens else [", ".join(took)])
    if abs(record.text_factor - 1) > _WORTH_SAYING:
        lines.append(Text(f"text took {record.text_factor:.2f} times the tokens estimated"))
    lines += _endpoint_notes(record)
    if record.state in ("prepared", "interrupted", "stopped"):
        lines.append(Text(record.reason or "it was broken off", style="yellow"))
        lines.append(Text(f"Go on with: omni-batch resume {directory.root}"))
    lines += [Text(f"warning: {warning}", style="yellow") for warning in record.warnings]
    return Group(*lines, *_failure_notes(directory, counts.failed))


def _requests(record: RunRecord) -> str:
    counts = record.counts
    limited = f", {counts.rate_limited:,} answered 429" if counts.rate_limited else ""
    return f"{counts.requests:,} requests, {counts.retries:,} of them retries{limited}"


def _endpoint_notes(record: RunRecord) -> Iterator[RenderableType]:
    for pace in record.paces:
        name = f"{one_line(pace.endpoint)} " if len(record.paces) > 1 else ""
        if learned := wording.learned(pace):
            yield Text(f"{name}learned: {learned}")
        if pace.closed:
            yield Text(f"{name}closed: {one_line(pace.closed)}", style="yellow")


def _failure_notes(directory: RunDir, failed: int) -> Iterator[RenderableType]:
    groups = analytics.failure_groups(directory) if failed else []
    for group in groups[:_GROUPS_SHOWN]:
        head = (f"{group.items:,} x {group.error_kind}", "red")
        yield Text.assemble(head, f", such as {one_line(group.example_item_id)}:")
        yield Text(f"  {one_line(group.example_message)}")
