"""When to try again. The only importer of tenacity; asks errors two questions and no more."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.wait import wait_random_exponential

from omni_batch.config import RetryConfig
from omni_batch.errors import EndpointError, OmniBatchError

T = TypeVar("T")


async def with_retries(
    attempt: Callable[[int], Awaitable[T]],
    policy: RetryConfig,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Call `attempt(number)` until it succeeds or can't.

    Waits grow with full jitter; a wait that the service names takes their place. An error that uses
    up no attempt (429, an outage) is waited out in the line of the quota, for as long as it takes.

    Raises:
        OmniBatchError: the last attempt's, as it was.
    """
    spent = _Spent(policy.max_attempts)
    backoff = wait_random_exponential(multiplier=policy.first_wait_s, max=policy.max_wait_s)
    retrying = AsyncRetrying(
        retry=retry_if_exception(_is_retryable),
        stop=spent.up,
        wait=lambda state: _wait_s(state, backoff(state)),
        sleep=sleep,
        reraise=True,
    )
    async for trial in retrying:
        with trial:
            return await attempt(trial.retry_state.attempt_number)
    raise RuntimeError("tenacity ended without a result")  # it always returns or raises


class _Spent:
    """Counts the attempts that count."""

    def __init__(self, max_attempts: int) -> None:
        self._max_attempts = max_attempts
        self._used = 0

    def up(self, state: RetryCallState) -> bool:
        error = _error(state)
        if error is None or not error.uses_attempt:
            return False
        self._used += 1
        return self._used >= min(self._max_attempts, error.attempts_at_most or self._max_attempts)


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, OmniBatchError) and error.retryable


def _wait_s(state: RetryCallState, backoff_s: float) -> float:
    error = _error(state)
    if error is not None and not error.uses_attempt:
        return 0.0  # the quota knows how long, and keeps the item's place
    named_s = error.retry_after_s if isinstance(error, EndpointError) else None
    return backoff_s if named_s is None else named_s


def _error(state: RetryCallState) -> OmniBatchError | None:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, OmniBatchError) else None
