"""What a run shows on Prefect's pages: the text of its progress bar, and a summary at its end."""

import hashlib
import math
import re
from collections.abc import Iterable, Iterator

from prefect.artifacts import acreate_markdown_artifact

from omni_batch.analytics.results import FailureGroup, doubt_groups, failure_groups
from omni_batch.doubts import Doubt, DoubtGroup, DoubtGroups
from omni_batch.endpoint_status import EndpointStatus
from omni_batch.progress import phrases
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.record import read_record
from omni_batch.text import markdown_text, visible

_GROUPS_SHOWN = 20
_HASH_DIGITS = 8


async def publish_summary(directory: RunDir) -> None:
    """Put counts, tokens, failures and paths on one Markdown artifact."""
    record = read_record(directory.record)
    groups = failure_groups(directory) if record.counts.failed else []
    text = summary_markdown(directory, record, groups, doubt_groups(directory))
    key = summary_key(str(record.config["name"]))
    about = "\n\n".join(map(markdown_text, (phrases.outcome(record), record.run_id)))
    await acreate_markdown_artifact(text, key=key, description=about)


def summary_key(name: str) -> str:
    """Under which Prefect keeps the summaries of all runs of a config, as versions of one artifact.

    Keys have small letters, digits and dashes; names that need others are told apart by a hash.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if plain != name:
        plain = f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:_HASH_DIGITS]}".strip("-")
    return f"omni-batch-{plain}"


def summary_markdown(
    directory: RunDir,
    record: RunRecord,
    groups: list[FailureGroup],
    doubts: Iterable[DoubtGroup] = (),
) -> str:
    """The final artifact's text."""
    doubted = [*DoubtGroups(map(Doubt.read, record.warnings)).all(), *doubts]
    root = directory.root.resolve()
    # As text to copy: a page of a server may not open files, and its path may hold any sign.
    paths = [f"    {visible(str(root / name))}" for name in ("results", "audio", "run.json")]
    return "\n".join(
        [
            f"# {record.run_id}",
            "",
            f"{record.config['model']} at {record.endpoint_names}",
            "",
            *([markdown_text(f"{record.state}: {record.reason}"), ""] if record.reason else []),
            "| | |",
            "|---|---:|",
            *(f"| {name} | {value} |" for name, value in phrases.facts(record)),
            "",
            *_endpoints(record),
            *_failures(groups),
            *_doubts(doubted),
            *paths,
        ]
    )


def _endpoints(record: RunRecord) -> list[str]:
    lines = ["| endpoint | answers of 429 | learned |", "|---|---|---|"]
    for endpoint in record.endpoints:
        refused = phrases.refusals(endpoint).removeprefix("429: ")
        closed = f"closed: {endpoint.closed}" if endpoint.closed else ""
        found = phrases.learned(endpoint) or closed
        if refused or found:
            name = markdown_text(endpoint.name)
            lines.append(f"| {name} | {refused} | {markdown_text(found)} |")
    return [*lines, ""] if len(lines) > 2 else []


def _failures(groups: list[FailureGroup]) -> list[str]:
    if not groups:
        return []
    lines = ["| failed | kind | for example |", "|---:|---|---|"]
    for group in groups[:_GROUPS_SHOWN]:
        example = f"{group.example_item_id}: {group.example_message}"
        lines.append(f"| {group.items:,} | {group.error_kind} | {markdown_text(example)} |")
    return [*lines, ""]


def _doubts(groups: list[DoubtGroup]) -> list[str]:
    if not groups:
        return []
    lines = ["| rows | warning | for example |", "|---:|---|---|"]
    for group in groups:
        rows = f"{group.rows:,}" if group.rows else "run"
        example = f"{group.item_id}: {group.message}" if group.item_id else group.message
        lines.append(f"| {rows} | {group.rule} | {markdown_text(example)} |")
    return [*lines, ""]


def percent_done(record: RunRecord) -> float:
    """For the bar; 100 where each item is done, and only there."""
    return math.floor(1000 * record.counts.done / record.items) / 10


def progress_text(record: RunRecord) -> str:
    """The text of the progress bar, in short lines: cards of Prefect's page show some 40 signs."""
    at_work = record.state in ("prepared", "running")
    lines = (*_under_way(record), *_so_far(record)) if at_work else _in_the_end(record)
    return "\n\n".join(markdown_text(line) for line in lines if line)


def _under_way(record: RunRecord) -> Iterator[str]:
    yield f"{record.counts.done:,} of {record.items:,} items"
    yield ", ".join(filter(None, (phrases.left(record), phrases.rate(record))))
    yield from map(_endpoint, record.endpoints)


def _so_far(record: RunRecord) -> Iterator[str]:
    yield phrases.bill(record)
    yield from _rest(record)


def _in_the_end(record: RunRecord) -> Iterator[str]:
    yield phrases.outcome(record)
    yield f"{record.state}: {record.reason}" if record.reason else ""
    yield f"cost: {phrases.cost(record.counts)}"
    yield from _rest(record)


def _rest(record: RunRecord) -> Iterator[str]:
    counts = record.counts
    yield f"{counts.reused:,} reused" if counts.reused else ""
    yield phrases.in_doubt(counts)
    yield f"{counts.failed:,} failed: {phrases.failures(counts)}" if counts.failed else ""


def _endpoint(endpoint: EndpointStatus) -> str:
    used = phrases.use(endpoint)
    going = f"{endpoint.in_flight:,} in flight, {endpoint.waiting:,} waiting"
    standing = phrases.standing(endpoint) or phrases.held(endpoint)
    facts = (used[1] if used else "", going, standing, phrases.refusals(endpoint))
    return f"{endpoint.name}: {'; '.join(filter(None, facts))}"
