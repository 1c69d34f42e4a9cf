"""What is said of a run: in the terminal, in logs, on Prefect's pages. Words for run.json."""

import math

from omni_batch.counts import Counts
from omni_batch.endpoint_status import EndpointStatus
from omni_batch.store.record import RunRecord

_KINDS_SHOWN = 4


def duration(seconds: float) -> str:
    """A time of any length."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_of_hour = divmod(minutes, 60)
    return f"{hours}:{minutes_of_hour:02} h" if hours else f"{minutes}:{rest:02} min"


def money(amount: float, currency: str | None) -> str:
    """An amount, with as many places as it needs."""
    if currency is None:
        return "cost unknown"
    return f"{amount:,.2f} {currency}" if amount >= 100 else f"{amount:,.4f} {currency}"


def rate(record: RunRecord) -> str:
    """Items a minute, now and on average."""
    now, mean = record.projection.items_per_minute, record.projection.mean_items_per_minute
    if now is None or mean is None:
        return "no item done yet" if record.state == "running" else ""
    average = f" ({_count(mean)} on average)" if abs(now - mean) > 0.05 * mean else ""
    return f"{_count(now)} items a minute{average}"


def left(record: RunRecord) -> str:
    """When it will be done; nothing of a run that is not under way."""
    rest = record.items - record.counts.done
    if record.state != "running" or not rest:
        return ""
    if rest <= record.in_flight:
        return f"the last {rest:,} under way" if rest > 1 else "the last one under way"
    left_s = record.projection.left_s
    return "" if left_s is None else f"{_about(left_s)} left"


def tokens(counts: Counts) -> str:
    """Tokens and speech."""
    speech = f", {duration(counts.audio_s)} of speech" if counts.audio_s else ""
    return f"{counts.prompt_tokens:,} tokens in, {counts.completion_tokens:,} out{speech}"


def spent(counts: Counts) -> str:
    """Money so far, with what cut answers may cost."""
    told = money(counts.cost, counts.currency)
    if not counts.estimated_tokens:
        return told
    guess = f"{counts.estimated_tokens:,} more for cut answers"
    if not counts.currency:
        return f"{told} (about {guess})"
    return f"{told} (about {guess}: {money(counts.estimated_cost, counts.currency)})"


def bill(record: RunRecord) -> str:
    """Money so far and in all, what cut answers may cost included."""
    cost, counts = record.projection.cost, record.counts
    if counts.currency is None:
        return spent(counts)
    facts = [f"{money(counts.spent, counts.currency)} so far"]
    if cost is not None:
        facts.append(f"about {money(cost, counts.currency)} in all")
    guess = money(counts.estimated_cost, counts.currency)
    return ", ".join(facts) + (f" (cut answers: {guess})" if counts.estimated_tokens else "")


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
    return share, f"{_count(used)} of {_count(limit)} {unit} a minute"


def standing(endpoint: EndpointStatus) -> str:
    """Why an endpoint is not asked, in plain words."""
    if endpoint.closed:
        return f"closed: {endpoint.closed}"
    if endpoint.down_s:
        return f"down for {_whole(endpoint.down_s)}, tried again and again"
    return f"paused for {_whole(endpoint.paused_s)} after 429" if endpoint.paused_s else ""


def refusals(endpoint: EndpointStatus) -> str:
    """Answers of 429 by the limit they named: `429: requests 12, tokens 3`."""
    classes = sorted(endpoint.rate_limited.items(), key=lambda entry: (-entry[1], entry[0]))
    said = ", ".join(f"{limit} {number:,}" for limit, number in classes)
    return f"429: {said}" if said else ""


def learned(endpoint: EndpointStatus) -> str:
    """What was found out of an endpoint's limits: `588 requests a minute (stated 1,200)`."""
    known = (
        (endpoint.learned.requests_per_minute, endpoint.stated_requests_per_minute, "requests"),
        (endpoint.learned.tokens_per_minute, endpoint.stated_tokens_per_minute, "tokens"),
    )
    said = [
        f"{_count(found)} {unit} a minute ({f'stated {_count(stated)}' if stated else 'unstated'})"
        for found, stated, unit in known
        if found is not None
    ]
    if doubling_s := endpoint.learned.burst_doubling_s:
        said.append(f"starts may double in {doubling_s:g} s")
    return ", ".join(said)


def _count(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"


def _whole(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds < 60 else duration(seconds)


def _about(seconds: float) -> str:
    """No more exact than it can be."""
    return f"{max(5, 5 * round(seconds / 5))} s" if seconds < 60 else duration(seconds)
