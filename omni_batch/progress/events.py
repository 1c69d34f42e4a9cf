"""What is logged of a run, under the logger `omni_batch`.

INFO: a line for each event of the run. WARNING: a line for each failed item, with its kind and
codes. DEBUG: a line for each attempt, with its message. Every line has `event`, `run_id`, `item_id`
and `fields` as attributes of its record. No line holds a key; below DEBUG none holds a text of a
row or an answer.
"""

import logging
from collections.abc import Iterator
from typing import Any

from omni_batch.endpoint_status import EndpointStatus, Learned
from omni_batch.errors import EndpointError, error_kind, error_message
from omni_batch.progress import phrases
from omni_batch.store.record import RunRecord
from omni_batch.text import one_line
from omni_batch.types import Attempt, Item, Result

log = logging.getLogger("omni_batch")
log.addHandler(logging.NullHandler())  # without a handler nothing is printed

_SUMS = ("succeeded", "failed", "reused", "requests", "retries", "rate_limited", "cost")
_MOVED = 0.1  # share by which a limit has to change to be worth a line
Line = tuple[str, str, dict[str, Any]]
"""Event, message, fields."""


class RunLog:
    """An observer that logs."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._said: dict[str, Learned] = {}

    def on_attempt_end(self, item: Item, attempt: Attempt) -> None:
        """Log an attempt, at DEBUG."""
        if not log.isEnabledFor(logging.DEBUG):
            return
        usage = attempt.usage
        fields = {
            "number": attempt.number,
            "endpoint": attempt.endpoint,
            "latency_s": round(attempt.latency_s, 3),
            "first_chunk_s": attempt.first_chunk_s and round(attempt.first_chunk_s, 3),
            "total_tokens": usage.total_tokens if usage else None,
            "error_message": error_message(attempt.error),
            **_failure(attempt),
        }
        outcome = fields["error_kind"] or "succeeded"
        self._log(logging.DEBUG, "attempt", f"attempt {attempt.number} {outcome}", fields, item)

    def on_item_end(self, result: Result) -> None:
        """Log an item that failed, at WARNING."""
        if result.error is None:
            return
        last = result.attempts[-1] if result.attempts else None
        fields = {
            "attempts": result.attempts_before + len(result.attempts),
            "latency_s": round(result.latency_s, 3),
            **(_failure(last) if last else {}),
            "error_kind": error_kind(result.error),
        }
        message = f"item failed: {fields['error_kind']}"
        self._log(logging.WARNING, "item_failed", message, fields, result.item)

    def on_snapshot(self, before: RunRecord, now: RunRecord) -> None:
        """Log what has changed, at INFO."""
        of_endpoints = (*self._learned(before, now), *_standing_events(before, now))
        for event, message, fields in (*_run_events(before, now), *of_endpoints):
            self._log(logging.INFO, event, message, fields)

    def _learned(self, before: RunRecord, now: RunRecord) -> Iterator[Line]:
        known = {endpoint.name: endpoint.learned for endpoint in before.endpoints}
        for endpoint in now.endpoints:
            said = self._said.setdefault(endpoint.name, known.get(endpoint.name, Learned()))
            if _differs(said, endpoint.learned) and not endpoint.learned.handed_on:
                self._said[endpoint.name] = endpoint.learned
                fields = {"endpoint": endpoint.name, "learned": phrases.learned(endpoint)}
                yield "limit_learned", f"{endpoint.name} learned: {fields['learned']}", fields

    def _log(
        self, level: int, event: str, message: str, fields: dict[str, Any], item: Item | None = None
    ) -> None:
        item_id = item.item_id if item else None
        ids = {"event": event, "run_id": self._run_id, "item_id": item_id}
        name = one_line(item.name) if item else self._run_id
        if item is not None:
            of_item = {"variant": item.variant, "sample": item.sample}
            fields |= {key: value for key, value in of_item.items() if value is not None}
        log.log(level, "%s: %s", name, message, extra={**ids, "fields": fields})


def _failure(attempt: Attempt) -> dict[str, Any]:
    error = attempt.error
    code = error.code if isinstance(error, EndpointError) else None
    return {
        "error_kind": error_kind(error),
        "error_code": code and one_line(code)[:100],
        "http_status": attempt.http_status,
        "request_id": attempt.request_id,
    }


def _run_events(before: RunRecord, now: RunRecord) -> Iterator[Line]:
    counts, reason = now.counts, now.reason and one_line(now.reason)
    if before.state != "running" and now.state == "running":
        done = {"items": now.items, "done": counts.done}
        fields: dict[str, Any] = {**done, "in_doubt": counts.in_doubt}
        facts = f"{counts.done:,} of {now.items:,} items are done", phrases.in_doubt(counts)
        yield "run_started", f"started: {', '.join(filter(None, facts))}", fields
    if reason and not before.reason and now.state == "running":
        yield "run_stopping", f"stops: {reason}", {"reason": reason}
    if before.state == "running" and now.state != "running":
        fields = {**{name: getattr(counts, name) for name in _SUMS}, "reason": reason}
        message = f"{now.state}: {phrases.outcome(now)}" + (f"; {reason}" if reason else "")
        yield f"run_{now.state}", message, fields


def _standing_events(before: RunRecord, now: RunRecord) -> Iterator[Line]:
    known = {endpoint.name: endpoint for endpoint in before.endpoints}
    for endpoint in now.endpoints if now.state == "running" else ():
        name, last = endpoint.name, known.get(endpoint.name, EndpointStatus(endpoint.name))
        if endpoint.closed and not last.closed:
            reason = one_line(endpoint.closed)
            fields = {"endpoint": name, "reason": reason}
            yield "endpoint_closed", f"{name} is closed: {reason}", fields
        if endpoint.down_s and not last.down_s:
            yield "endpoint_down", f"{name} is down", {"endpoint": name}
        if last.down_s and not endpoint.down_s:
            yield "endpoint_up", f"{name} is up again", {"endpoint": name}


def _differs(said: Learned, learned: Learned) -> bool:
    pairs = zip(_numbers(said), _numbers(learned), strict=True)
    return any(now and (not last or abs(now - last) > _MOVED * last) for last, now in pairs)


def _numbers(learned: Learned) -> tuple[float | None, ...]:
    return learned.requests_per_minute, learned.tokens_per_minute, learned.burst_doubling_s
