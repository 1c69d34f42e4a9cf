"""The figures of a run in words, for the terminal, logs, the report and Prefect's pages."""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from omni_batch import format as fmt
from omni_batch.counts import Counts
from omni_batch.endpoint_status import EndpointStatus, JobStatus
from omni_batch.store.record import RunRecord

_KINDS_SHOWN = 4
_JOBS_SHOWN = 5


def rate(record: RunRecord) -> str:
    """Items a minute, now and on average."""
    now, mean = record.projection.items_per_minute, record.projection.mean_items_per_minute
    if now is None or mean is None:
        return "no item done yet" if record.state == "running" else ""
    average = f" ({fmt.rate(mean)} on average)" if abs(now - mean) > 0.05 * mean else ""
    return f"{fmt.rate(now)} items a minute{average}"


def left(record: RunRecord) -> str:
    """When it will be done; nothing of a run that is not under way."""
    rest = record.items - record.counts.done
    if record.state != "running" or not rest:
        return ""
    if rest <= record.in_flight:
        return f"the last {rest:,} under way" if rest > 1 else "the last one under way"
    left_s = record.projection.left_s
    return "" if left_s is None else f"{_about(left_s)} left"


def facts(record: RunRecord) -> list[tuple[str, str]]:
    """A run in ten lines, as names and values."""
    counts = record.counts
    reused = f" ({counts.reused:,} reused)" if counts.reused else ""
    return [
        ("state", record.state),
        ("items", f"{record.items:,}"),
        ("succeeded", f"{counts.succeeded:,}{reused}"),
        ("failed", f"{counts.failed:,}"),
        ("requests", f"{counts.requests:,}, {_retries(counts)}"),
        ("tokens", f"{counts.prompt_tokens:,} in, {counts.completion_tokens:,} out"),
        ("speech", fmt.duration(counts.audio_s or None)),
        ("cost", cost(counts)),
        *([("budget", limit)] if (limit := budget(record)) else []),
        *([("without a bill", unbilled(counts))] if counts.unbilled_tokens else []),
        *([("in doubt", in_doubt(counts))] if counts.in_doubt else []),
        ("working time", fmt.duration(counts.elapsed_s or None)),
    ]


def outcome(record: RunRecord) -> str:
    """How many items there are and how they ended."""
    counts = record.counts
    said = f"{counts.succeeded:,} succeeded, {counts.failed:,} failed of {record.items:,}"
    return f"{said}; {stay}" if (stay := jobs_go_on(record)) else said


def job(status: JobStatus, now: datetime) -> str:
    """How a job stands: nothing of it can be had before it ends."""
    name = f"job {status.number}" + (f" ({status.id})" if status.id else "")
    done = status.completed + status.failed
    facts = [
        f"{status.status.replace('_', ' ')}",
        f"{done:,} of {status.lines:,} rows done" if done else f"{status.lines:,} rows",
        f"for {fmt.duration((now - status.since).total_seconds())}" if status.since else "",
        f"ends by {status.until:%Y-%m-%d %H:%M} UTC" if status.until else "",
    ]
    return f"{name}: {', '.join(filter(None, facts))}"


def jobs(record: RunRecord, now: datetime) -> list[str]:
    """The jobs that have something left to do, and how many there were."""
    left = [status for status in record.jobs if not status.settled]
    lines = [job(status, now) for status in left[:_JOBS_SHOWN]]
    if len(left) > _JOBS_SHOWN:
        lines.append(f"and {len(left) - _JOBS_SHOWN:,} more jobs")
    return lines


def jobs_go_on(record: RunRecord) -> str:
    """That the service works on while nobody waits for it; empty where it has no job."""
    left = [status for status in record.jobs if status.id and not status.settled]
    if not left or record.state not in ("interrupted", "stopped"):
        return ""
    if len(left) == 1:
        what = f"job {left[0].id} stays at the service and goes on"
    else:
        what = f"{len(left):,} jobs stay at the service and go on, such as {left[0].id}"
    return f"{what}; resume fetches the answers, and nothing is paid for twice"


def so_far(found: Iterable[tuple[RunRecord, int]]) -> str:
    """How many rows there are of runs that lack some; nothing where none lacks any.

    Args:
        found: runs, and how many rows of each there are.
    """
    lacking = [(record, rows) for record, rows in found if rows < record.items]
    if not lacking:
        return ""
    record, rows = lacking[0]
    if len(lacking) == 1:
        return f"{record.run_id} is {record.state}: {rows:,} of {record.items:,} rows so far"
    rows, items = sum(rows for _, rows in lacking), sum(record.items for record, _ in lacking)
    return (
        f"{len(lacking):,} runs are not finished, such as {record.run_id} ({record.state}): "
        f"{rows:,} of their {items:,} rows so far"
    )


def requests(counts: Counts) -> str:
    """Requests, retries and answers of 429."""
    noun = "request" if counts.requests == 1 else "requests"
    return f"{counts.requests:,} {noun}, {_retries(counts)}"


def _retries(counts: Counts) -> str:
    number = f"{counts.retries:,}" if counts.retries else "no"
    limited = f", {counts.rate_limited:,} answered 429" if counts.rate_limited else ""
    return f"{number} {'retry' if counts.retries == 1 else 'retries'}{limited}"


def tokens(counts: Counts) -> str:
    """Tokens and speech."""
    speech = f", {fmt.duration(counts.audio_s)} of speech" if counts.audio_s else ""
    return f"{counts.prompt_tokens:,} tokens in, {counts.completion_tokens:,} out{speech}"


def cost(counts: Counts) -> str:
    """What the service has billed so far."""
    return fmt.money(counts.cost) if counts.cost else "cost unknown"


def budget(record: RunRecord) -> str:
    """What the run may spend: `5 USD, 3,000,000 tokens`; nothing where it has no limit."""
    limits = record.config.get("budget") or {}
    cost, tokens = limits.get("max_cost"), limits.get("max_tokens")
    said = [str(cost) if cost else "", f"{tokens:,} tokens" if tokens else ""]
    return ", ".join(filter(None, [*said, _month(limits.get("month") or {})]))


def _month(limits: Mapping[str, Any]) -> str:
    units = {"max_cost": "", "max_tokens": " tokens", "max_answers": " answers"}
    said = [
        f"{limit if key == 'max_cost' else f'{limit:,}'}{unit}"
        for key, unit in units.items()
        if (limit := limits.get(key))
    ]
    return f"{', '.join(said)} a month" if said else ""


def unbilled(counts: Counts) -> str:
    """What answers that were cut, or came without their usage, may cost besides, by estimate."""
    money = f": {fmt.money(counts.unbilled_cost)}" if counts.unbilled_cost else ""
    return f"about {counts.unbilled_tokens:,} more tokens{money}"


def in_doubt(counts: Counts) -> str:
    """What was sent and lost with its process: `16 requests in doubt, at most 0.02 CNY`."""
    if not counts.in_doubt:
        return ""
    tokens = f"{counts.in_doubt_tokens:,} tokens"
    most = fmt.money(counts.in_doubt_cost) if counts.in_doubt_cost else tokens
    noun = "request" if counts.in_doubt == 1 else "requests"
    return f"{counts.in_doubt:,} {noun} in doubt, at most {most}"


def unbilled_and_in_doubt(counts: Counts) -> str:
    """What may be on the bill besides `cost`."""
    guess = f"{unbilled(counts)} for answers without a bill" if counts.unbilled_tokens else ""
    return "; ".join(filter(None, (guess, in_doubt(counts))))


def spent(counts: Counts) -> str:
    """Money so far, with what answers without a bill may cost; without what is in doubt."""
    if not counts.unbilled_tokens:
        return cost(counts)
    return f"{cost(counts)} ({unbilled(counts)} for answers without a bill)"


def bill(record: RunRecord) -> str:
    """Money so far and in all, with what was sent and has no bill."""
    counts, in_all = record.counts, record.projection.cost
    limit = f"budget {known}" if (known := budget(record)) else ""
    if not counts.spent:
        return ", ".join(filter(None, (spent(counts), limit)))
    shown = [f"{fmt.money(counts.spent)} so far"]
    if in_all:
        shown.append(f"about {fmt.money(in_all)} in all")
    if limit:
        shown.append(limit)
    guess = f" (without a bill: {fmt.money(counts.unbilled_cost)})" if counts.unbilled_cost else ""
    return ", ".join(shown) + guess


def failures(counts: Counts) -> str:
    """Kinds of failures, the most frequent first: `20 media_error, 3 timed_out, 2 others`."""
    kinds = sorted(counts.failures.items(), key=lambda kind: (-kind[1], kind[0]))
    said = [f"{number:,} {kind}" for kind, number in kinds[:_KINDS_SHOWN]]
    if rest := sum(number for _, number in kinds[_KINDS_SHOWN:]):
        said.append(f"{rest:,} others")
    return ", ".join(said)


def use(endpoint: EndpointStatus) -> tuple[float, str] | None:
    """How much of the nearer limit was used within the last minute; None where none is known."""
    limits = (
        (endpoint.requests_last_minute, endpoint.requests_per_minute, "requests"),
        (endpoint.tokens_last_minute, endpoint.tokens_per_minute, "tokens"),
    )
    known = [(used / limit, used, limit, unit) for used, limit, unit in limits if limit]
    if not known:
        return None
    share, used, limit, unit = max(known)
    return share, f"{fmt.rate(used)} of {fmt.rate(limit)} {unit} a minute"


def standing(endpoint: EndpointStatus) -> str:
    """Why an endpoint is not asked, in plain words."""
    if endpoint.closed:
        return f"closed: {endpoint.closed}"
    if endpoint.down_s:
        return f"down for {_whole(endpoint.down_s)}, tried again and again"
    if not endpoint.paused_s:
        return ""
    reason = "after 429" if endpoint.paused_after_429 else "as the server says its limit is used up"
    return f"paused for {_whole(endpoint.paused_s)} {reason}"


_HELD = {
    "requests": "the limit of requests a minute",
    "tokens": "the limit of tokens a minute",
    "ramp": "the rate of starts, which rises slowly",
    "turn": "other runs that use the account",
    "in_flight": "the number in flight (quota.max_in_flight)",
    "media": "the next items, which are being prepared",
}
_WORTH_TELLING = 0.2


def held(endpoint: EndpointStatus) -> str:
    """What holds the endpoint back now, where `standing` does not say it."""
    if endpoint.held_by == "media" and not endpoint.in_flight:
        return ""
    return f"held by {what}" if (what := _HELD.get(endpoint.held_by or "")) else ""


def untried(endpoint: EndpointStatus, elapsed_s: float) -> str:
    """That a number which nobody stated held the run back, and was never refused."""
    if endpoint.rate_limited:
        return ""
    numbers = (
        ("requests", endpoint.stated_requests_per_minute),
        ("tokens", endpoint.stated_tokens_per_minute),
    )
    for unit, stated in numbers:
        bound = endpoint.held_s.get(unit, 0.0) > _WORTH_TELLING * elapsed_s
        name = f"{unit}_per_minute"
        if stated and bound and name in endpoint.defaults:
            return (
                f"held to the catalogue's {fmt.rate(stated)} {unit} a minute, of which none was "
                f"refused; if the account has more, state it: quota.{name}"
            )
    return ""


def refusals(endpoint: EndpointStatus) -> str:
    """Answers of 429 by the limit they named: `429: requests 12, tokens 3`."""
    classes = sorted(endpoint.rate_limited.items(), key=lambda entry: (-entry[1], entry[0]))
    said = ", ".join(f"{limit} {number:,}" for limit, number in classes)
    return f"429: {said}" if said else ""


def learned(endpoint: EndpointStatus) -> str:
    """What was learned of an endpoint's limits: `588 requests a minute (stated 1,200)`."""
    if endpoint.learned.handed_on:
        return ""
    known = (
        (endpoint.learned.requests_per_minute, endpoint.stated_requests_per_minute, "requests"),
        (endpoint.learned.tokens_per_minute, endpoint.stated_tokens_per_minute, "tokens"),
    )
    said = [
        f"{fmt.rate(found)} {unit} a minute "
        f"({f'stated {fmt.rate(stated)}' if stated else 'none stated'})"
        for found, stated, unit in known
        if found is not None
    ]
    if doubling_s := endpoint.learned.burst_doubling_s:
        said.append(f"starts may double in {doubling_s:g} s")
    return ", ".join(said)


def _whole(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds < 60 else fmt.duration(seconds)


def _about(seconds: float) -> str:
    """No more exact than it can be."""
    return f"{max(5, 5 * round(seconds / 5))} s" if seconds < 60 else fmt.duration(seconds)
