"""An item to its endpoints: as many attempts as it takes, each on the books."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Protocol

from omni_batch.catalogue.prices import with_cost
from omni_batch.engine.sending.attempt import OneAttempt
from omni_batch.engine.sending.budget_gate import BudgetGate
from omni_batch.engine.sending.retry import with_retries
from omni_batch.engine.sending.router import EndpointHandle, EndpointRouter, Moved
from omni_batch.engine.stop import StopSwitch
from omni_batch.errors import (
    AccountError,
    ContentRefused,
    EndpointError,
    MediaUnreachable,
    Outage,
    Rejected,
    StreamError,
    Unavailable,
)
from omni_batch.format import duration
from omni_batch.planning.plan import Plan
from omni_batch.planning.prepared_item import PreparedItem
from omni_batch.progress.ledger import Ledger
from omni_batch.providers.body import Body
from omni_batch.quota import Permit
from omni_batch.store.disk import when_files_are_free
from omni_batch.store.run_dir import RunDir
from omni_batch.types import Answer, Attempt, Sent

_FETCHES_BY_SERVICE = 2  # then we fetch its media ourselves
_NEVER_THERE_S = 60.0
_FREE_HANG_UPS = 2
"""So often a connection may be closed before the first byte of an answer; then it counts."""


class AttemptLog(Protocol):
    """Where the attempts for one item are written while it is under way.

    Raises:
        StorageError: from both methods, where it can't be written.
    """

    def sent(self, sent: Sent) -> None:
        """It is about to go out; from here on it is in doubt."""

    def ended(self, attempt: Attempt) -> None:
        """It has ended, and the item has not."""


@dataclass(frozen=True, slots=True)
class History:
    """The attempts for one item: those of earlier processes are counted, those of this one held."""

    before: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    log: AttemptLog | None = None

    def keep_last(self) -> None:
        """Write down how the last attempt ended: the item goes on, and its process may die."""
        if self.log is not None and self.attempts:
            self.log.ended(self.attempts[-1])


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends prepared items. Shared by all items of a run."""

    router: EndpointRouter
    directory: RunDir
    plan: Plan
    ledger: Ledger
    budget: BudgetGate
    stopping: StopSwitch

    async def send(self, prepared: PreparedItem, history: History) -> Answer:
        """Send an item until it is answered or can't be. A waiting retry holds no permit.

        Args:
            history: gets every exchange with its bill, or with an estimate of it.

        Raises:
            OmniBatchError: what the last attempt met, or the reason why the run is stopping.
        """
        attempts = _ItemAttempts(self, prepared, history, number=len(history.attempts))
        return await with_retries(
            lambda _: when_files_are_free(attempts.attempt), self.plan.config.retry
        )

    def expected_tokens(self, prepared: PreparedItem) -> float:
        """What an item will take, by what bills have taught so far."""
        spoken = prepared.request.wants_audio
        return self.ledger.estimates.tokens(prepared.work, spoken=spoken)

    def begin(self, prepared: PreparedItem, history: History, attempt: OneAttempt) -> None:
        """Write down what goes out, before it does."""
        if history.log is not None:
            pricing = self.plan.pricing(attempt.endpoint, spoken=prepared.request.wants_audio)
            most = self.ledger.estimates.at_most(prepared.work, spoken=pricing.wants_audio)
            history.log.sent(
                Sent(
                    history.before + attempt.number,
                    attempt.started_at,
                    attempt.endpoint,
                    most.total_tokens,
                    pricing.cost(most),
                )
            )

    def record(self, prepared: PreparedItem, history: History, attempt: Attempt) -> Attempt:
        """Put an exchange on the books, whatever came of it; returns it with its bill."""
        pricing = self.plan.pricing(attempt.endpoint, spoken=prepared.request.wants_audio)
        attempt = with_cost(attempt, prepared.estimate, pricing)
        history.attempts.append(replace(attempt, number=history.before + attempt.number))
        self.ledger.attempt_ended(prepared.item, history.attempts[-1])
        return attempt


@dataclass(slots=True)
class _ItemAttempts:
    """One item under way: what was tried, where, how long."""

    sender: Sender
    prepared: PreparedItem
    history: History
    number: int = 0
    failed_fetches: int = 0
    hang_ups: int = 0
    spent_s: float = 0.0
    failed_at: set[str] = field(default_factory=set)
    refused_by: set[str] = field(default_factory=set)
    refusal: EndpointError | None = None

    @property
    def router(self) -> EndpointRouter:
        """The endpoints of the run."""
        return self.sender.router

    @property
    def eligible(self) -> set[str]:
        """Names of the endpoints that may still take the item."""
        return set(self.prepared.endpoints) - self.refused_by

    async def attempt(self) -> Answer:
        """Ask one endpoint once."""
        eligible = self.eligible
        if self.refusal is not None and not self.router.is_open(eligible):
            raise self.refusal  # the others' keys are at fault, and no reason to end the run
        handle = self.router.choose(eligible, self.failed_at)
        unreachable = self.failed_fetches >= _FETCHES_BY_SERVICE
        group = handle.name, self.prepared.request.wants_audio
        try:
            async with (
                self.sender.budget.reserved(group, self.prepared.work),
                handle.delivery.delivered(self.prepared.request, unreachable=unreachable) as body,
                handle.limiter.permit(
                    lambda: self.sender.expected_tokens(self.prepared), self.prepared.item.item_id
                ) as permit,
            ):
                return await self._send(handle, body, permit)
        except (EndpointError, StreamError) as exc:
            self.history.keep_last()
            if isinstance(exc, EndpointError):
                self._learn(handle, exc)
            raise

    async def _send(self, handle: EndpointHandle, body: Body, permit: Permit) -> Answer:
        self.sender.stopping.raise_if_on()
        if self.sender.ledger.on_trial:  # since it began to wait for its permit
            permit.used(0)
            raise Moved("no request starts until those under way have ended")
        self.number += 1
        left_s = handle.item_timeout_s - self.spent_s
        attempt = OneAttempt(self.number, self.prepared, handle, self.sender.directory)
        self.sender.begin(self.prepared, self.history, attempt)
        self.sender.ledger.attempt_started()
        try:
            return await attempt.answer(body, permit, left_s)
        finally:
            self.spent_s += attempt.elapsed_s
            kept = self.sender.record(self.prepared, self.history, attempt.record())
            if kept.usage:
                permit.used(kept.usage.total_tokens, kept.usage.completion_tokens)
            else:
                permit.used(kept.estimated_tokens or 0)

    def _learn(self, handle: EndpointHandle, error: EndpointError) -> None:
        """Where the item should not be sent next. Raises what makes a difference to the retry."""
        self.failed_at = {handle.name}
        self.failed_fetches += isinstance(error, MediaUnreachable)
        if isinstance(error, Unavailable) and error.unanswered:
            self.hang_ups += 1
            error.uses_attempt = error.uses_attempt and self.hang_ups > _FREE_HANG_UPS
        if isinstance(error, Unavailable) and handle.limiter.breaker.is_open:
            self._wait_or_move(handle, error)
        if isinstance(error, AccountError) and self.router.disable(handle, error):
            raise Moved(str(error)) from error
        if isinstance(error, Rejected | ContentRefused):
            self.refused_by.add(handle.name)
            self.refusal = error
            if self.eligible:
                raise Moved(str(error)) from error

    def _wait_or_move(self, handle: EndpointHandle, error: Unavailable) -> None:
        now_s = asyncio.get_running_loop().time()
        breaker = handle.limiter.breaker
        down_s, patience_s = breaker.down_s(now_s), self.sender.plan.config.retry.outage_timeout_s
        if not breaker.was_there:  # more likely a wrong address than an outage
            patience_s = min(patience_s, _NEVER_THERE_S)
        if self.router.mark_down(handle, self.eligible) or down_s < patience_s:
            return
        raise Outage(
            f"endpoint {handle.name} has not answered for {duration(down_s)} "
            f"(retry.outage_timeout_s): {error}",
            http_status=error.http_status,
        ) from error
