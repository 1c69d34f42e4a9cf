"""What a person sees of a run, during it and at its end: run.json in words and bars."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from omni_batch import format as fmt
from omni_batch.analytics import results
from omni_batch.cli.render.console import err, out
from omni_batch.cli.render.pages import doubt_line
from omni_batch.counts import Counts
from omni_batch.doubts import Doubt, DoubtGroups, of_run_and_rows
from omni_batch.endpoint_status import EndpointStatus
from omni_batch.errors import ConfigError, StorageError
from omni_batch.progress import phrases
from omni_batch.progress.current import current_record
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.record import read_record
from omni_batch.store.remote.copies import shown
from omni_batch.text import one_line

_PLAIN_EVERY_S = 10.0
_SILENT_S = 20.0
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
        view = LiveView(directory, spinner)
        with Live(
            get_renderable=view.now,
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
        while current_record(directory).state == "running":
            time.sleep(1.0)


def show(directory: RunDir) -> None:
    """The state of a run, on stdout."""
    record = current_record(directory)
    if record.state != "running":
        out.print()
        out.print(summary(directory, record), crop=False)
        return
    out.print(progress(record))
    if (silent_s := time.time() - directory.record.stat().st_mtime) > _SILENT_S:
        silence = f"No update for {fmt.duration(silent_s)}, though its process holds the run."
        out.print(Text(silence, style="yellow"))


def say_so_far(found: Iterable[tuple[RunRecord, int]]) -> None:
    """On stderr, how many rows there are of runs that lack some; data that is written stays data.

    Args:
        found: as for `phrases.so_far`.
    """
    if said := phrases.so_far(found):
        err.print(one_line(said), soft_wrap=True)


class LiveView:
    """What a terminal shows: what is waited for, and the progress from the run's begin on."""

    def __init__(self, directory: RunDir, waiting: RenderableType) -> None:
        self._directory, self._waiting = directory, waiting
        self._begun = False

    def now(self) -> RenderableType:
        """At this moment. Once it has begun, a run stays in sight until Prefect is done as well."""
        record = _record(self._directory)
        self._begun = self._begun or (record is not None and record.state == "running")
        return progress(record) if record and self._begun else self._waiting


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
    """What, how far, how fast, at what cost; fits 80 columns, and takes no more than 100."""
    counts = record.counts
    endpoint = record.endpoint_names
    names = ", ".join(one_line(endpoint.name) for endpoint in record.endpoints) or endpoint
    head = (f"{record.run_id}", "bold"), f"  {record.config['model']} at {names}"
    lines: list[RenderableType] = [_line(*head), _bar(record), _items(record)]
    if record.jobs:
        lines += map(_line, phrases.jobs(record, datetime.now(UTC)))
    else:
        alone = len(record.endpoints) == 1
        lines += [_endpoint(endpoint, alone=alone) for endpoint in record.endpoints]
    took = [phrases.tokens(counts), phrases.bill(record)]
    lines += map(_line, took if counts.spent else [", ".join(took)])
    if counts.in_doubt:
        lines.append(_line((phrases.in_doubt(counts), "yellow")))
    if counts.failed:
        lines.append(_line(("failed: ", "red"), phrases.failures(counts)))
    return Constrain(Group(*lines), _WIDEST_CHARS)


def _line(*parts: str | tuple[str, str]) -> Text:
    """One line, cut at its end where the terminal is too narrow."""
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _bar(record: RunRecord) -> RenderableType:
    done = record.counts.done
    row = Table.grid(Column(ratio=1), Column(no_wrap=True), padding=(0, 2, 0, 0), expand=True)
    facts = f"{done:,} of {record.items:,}", f"{done / record.items:.0%}", phrases.left(record)
    row.add_row(
        ProgressBar(total=record.items, completed=done), Text("  ".join(filter(None, facts)))
    )
    return row


def _items(record: RunRecord) -> RenderableType:
    retries = record.counts.retries
    retried = f", {retries:,} {'retry' if retries == 1 else 'retries'}"
    return Group(_line(*_outcome(record.counts), retried), _line(phrases.rate(record)))


def _outcome(counts: Counts) -> tuple[str | tuple[str, str], ...]:
    return (
        (f"{counts.succeeded:,} succeeded", "green"),
        f" ({counts.reused:,} reused)" if counts.reused else "",
        ", ",
        (f"{counts.failed:,} failed", "red" if counts.failed else ""),
    )


def _endpoint(endpoint: EndpointStatus, *, alone: bool) -> RenderableType:
    """How one endpoint is used: its quota as a bar, and what keeps requests waiting."""
    row = Table.grid(
        Column(no_wrap=True, overflow="ellipsis", max_width=_NAME_CHARS),
        Column(width=_QUOTA_BAR_CHARS),
        Column(no_wrap=True, overflow="ellipsis"),
        padding=(0, 2, 0, 0),
    )
    used = phrases.use(endpoint)
    name = "quota" if alone else one_line(endpoint.name)
    if used is None:
        row.add_row(name, Text("no limit known", style="dim"), "")
    else:
        share, said = used
        style = "yellow" if share >= _FULL else "bar.complete"
        bar = ProgressBar(1.0, min(share, 1.0), complete_style=style, finished_style=style)
        row.add_row(name, bar, said)
    waiting = f", {endpoint.waiting:,} waiting" if endpoint.waiting else ""
    obstacle = one_line(phrases.standing(endpoint))
    style = "red" if endpoint.closed or endpoint.down_s else "yellow"
    held = f", {text}" if (text := phrases.held(endpoint)) and not obstacle else ""
    parts: list[str | tuple[str, str]] = [f"{endpoint.in_flight:,} in flight{waiting}{held}"]
    for text, look in ((obstacle, style), (phrases.refusals(endpoint), "yellow")):
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
        f"{failed} ({phrases.failures(counts)})" if counts.failed else failed,
        phrases.rate(record),
        "" if record.jobs else f"{record.in_flight:,} in flight",
        *phrases.jobs(record, datetime.now(UTC)),
        phrases.tokens(counts),
        phrases.bill(record),
        phrases.in_doubt(counts),
        phrases.left(record),
    ]
    facts += [
        f"{endpoint.name} {text}"
        for endpoint in record.endpoints
        for text in (phrases.standing(endpoint), phrases.refusals(endpoint))
        if text
    ]
    return one_line(f"{record.run_id}: {', '.join(filter(None, facts))}")


def summary(directory: RunDir, record: RunRecord) -> RenderableType:
    """How a run ended: counts, what it took, what it learned, failures with an example each."""
    counts = record.counts
    lines: list[RenderableType] = [
        Text.assemble(
            (f"{record.state}: ", "bold"),
            *_outcome(counts),
            f" of {record.items:,} items in {fmt.duration(counts.elapsed_s)}",
        ),
        Text(phrases.requests(counts)),
    ]
    took = [phrases.tokens(counts), phrases.spent(counts)]
    lines += map(Text, took if counts.unbilled_tokens else [", ".join(took)])
    if counts.in_doubt:
        lines.append(Text(phrases.in_doubt(counts), style="yellow"))
    if limit := phrases.budget(record):
        lines.append(Text(f"budget {limit}"))
    if abs(record.text_factor - 1) > _WORTH_SAYING:
        lines.append(Text(f"text took {record.text_factor:.2f} times the tokens estimated"))
    lines += _endpoint_notes(record)
    if record.state in ("prepared", "interrupted", "stopped"):
        lines.append(Text(record.reason or "it did not finish", style="yellow"))
        if stay := phrases.jobs_go_on(record):
            lines.append(Text(stay, style="yellow"))
        # In one piece however long it is, to be copied.
        remedy = f"Go on with: omni-batch resume {shown(directory.root)}"
        lines.append(Text(remedy, no_wrap=True, overflow="ignore"))
    return Group(*lines, *_notes(directory, record))


def _notes(directory: RunDir, record: RunRecord) -> list[RenderableType]:
    """What failed and what is doubted."""
    of_run = DoubtGroups(map(Doubt.read, record.warnings)).all()
    try:
        doubts = of_run_and_rows(of_run, results.doubt_groups(directory))
        return [*_failure_notes(directory, record.counts.failed), *map(doubt_line, doubts)]
    except StorageError as exc:  # what can be said of the run is said all the same
        known = str(exc) in (record.reason or "")
        said = [] if known else [Text(one_line(str(exc)), style="yellow")]
        return [*said, *map(doubt_line, of_run)]


def _endpoint_notes(record: RunRecord) -> Iterator[RenderableType]:
    for endpoint in record.endpoints:
        name = f"{one_line(endpoint.name)} " if len(record.endpoints) > 1 else ""
        if learned := phrases.learned(endpoint):
            yield Text(f"{name}learned: {learned}")
        if untried := phrases.untried(endpoint, record.counts.elapsed_s):
            yield Text(f"{name}{untried}")
        if endpoint.closed:
            yield Text(f"{name}closed: {one_line(endpoint.closed)}", style="yellow")


def _failure_notes(directory: RunDir, failed: int) -> Iterator[RenderableType]:
    groups = results.failure_groups(directory) if failed else []
    for group in groups[:_GROUPS_SHOWN]:
        head = (f"{group.items:,} x {group.error_kind}", "red")
        yield Text.assemble(head, f", such as {one_line(group.example_item_id)}:")
        yield Text(f"  {one_line(group.example_message)}")
