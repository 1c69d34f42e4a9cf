"""The running counts of a run, kept while results come in."""

import time
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from omni_batch.errors import RateLimited
from omni_batch.rundir.record import Counts
from omni_batch.types import Attempt, Result


@dataclass(slots=True)
class Tally:
    """What earlier processes did, and what this one does.

    Tokens and money are those of attempts: what a failed one took is on the bill as well, and an
    answer of an earlier run is not.
    """

    elapsed_before_s: float = 0.0
    succeeded: int = 0
    failed: int = 0
    reused: int = 0
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    audio_s: float = 0.0
    cost: float = 0.0
    estimated_tokens: int = 0
    estimated_cost: float = 0.0
    currency: str | None = None
    _done_before: int = 0
    _started_s: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> int:
        """Items with a result."""
        return self.succeeded + self.failed

    def add_result(self, result: Result) -> None:
        """Count one item that has just been finished."""
        answer = result.answer
        self.succeeded += result.succeeded
        self.failed += not result.succeeded
        if result.reused_from is not None:
            self.reused += 1
        elif answer and answer.wav:
            self.audio_s += answer.wav.speech.duration_s
        if result.cost:
            self.currency = result.cost.currency

    def add_attempt(self, attempt: Attempt) -> None:
        """Count one HTTP exchange that has just ended."""
        self.requests += 1
        self.retries += attempt.number > 1
        self.rate_limited += isinstance(attempt.error, RateLimited)
        if attempt.usage:
            self.prompt_tokens += attempt.usage.prompt_tokens
            self.completion_tokens += attempt.usage.completion_tokens
        self.estimated_tokens += attempt.estimated_tokens or 0
        self.cost += attempt.cost.amount if attempt.cost else 0
        self.estimated_cost += attempt.estimated_cost.amount if attempt.estimated_cost else 0
        if money := attempt.cost or attempt.estimated_cost:
            self.currency = money.currency

    def add_tables(self, results: pa.Table, attempts: pa.Table) -> None:
        """Count what an earlier process has written."""
        succeeded = _sum(pc.equal(results["status"], "succeeded"))
        asked = results.filter(pc.is_null(results["reused_from"]))
        self._done_before += results.num_rows
        self.succeeded += succeeded
        self.failed += results.num_rows - succeeded
        self.reused += results.num_rows - asked.num_rows
        self.audio_s += _sum(asked["audio_s"])
        self.prompt_tokens += _sum(attempts["prompt_tokens"])
        self.completion_tokens += _sum(attempts["completion_tokens"])
        self.cost += _sum(attempts["cost"])
        self.estimated_tokens += _sum(attempts["estimated_tokens"])
        self.estimated_cost += _sum(attempts["estimated_cost"])
        for table in (results, attempts):
            self.currency = pc.max(table["currency"]).as_py() or self.currency
        self.requests += attempts.num_rows
        self.retries += _sum(pc.greater(attempts["number"], 1))
        self.rate_limited += _sum(pc.equal(attempts["error_kind"], "rate_limited"))

    def counts(self, in_flight: int = 0, text_factor: float = 1.0) -> Counts:
        """A picture of this moment."""
        here_s = time.monotonic() - self._started_s
        here = self.done - self._done_before
        return Counts(
            succeeded=self.succeeded,
            failed=self.failed,
            reused=self.reused,
            in_flight=in_flight,
            requests=self.requests,
            retries=self.retries,
            rate_limited=self.rate_limited,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            audio_s=round(self.audio_s, 3),
            cost=round(self.cost, 9),
            estimated_tokens=self.estimated_tokens,
            estimated_cost=round(self.estimated_cost, 9),
            currency=self.currency,
            text_factor=round(text_factor, 3),
            items_per_minute=round(60 * here / here_s, 2) if here else None,
            elapsed_s=round(self.elapsed_before_s + here_s, 3),
        )


def _sum(values: pa.ChunkedArray) -> int:
    return pc.sum(values).as_py() or 0
