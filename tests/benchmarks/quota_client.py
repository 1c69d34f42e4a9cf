"""The way of an item past the limiter, as the engine and its gate have it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from omni_batch.catalogue.tokens import PromptEstimate
from omni_batch.config import RetryConfig
from omni_batch.endpoint_status import EndpointStatus
from omni_batch.engine.sending.retry import with_retries
from omni_batch.errors import OmniBatchError, StreamError
from omni_batch.progress.spending.estimates import TokenEstimates
from omni_batch.progress.spending.workload import Range, Workload
from omni_batch.types import Usage
from tests.benchmarks.quota_service import Service, now_s
from tests.benchmarks.quota_terms import Diary, Item

IDLE_TIMEOUT_S = RetryConfig().idle_timeout_s
_FIRST_GUESS = Range(20, 250, 1000)


class Door(Protocol):
    """What `omni_batch.quota.RateLimiter` is to its callers."""

    def permit(
        self, expected_tokens: Callable[[], float], item_id: Any = None
    ) -> AbstractAsyncContextManager[Any]:
        """The right to one request."""

    def status(self, endpoint: str, now_s: float) -> EndpointStatus:
        """The limits in force, and how many requests are in flight and wait."""


class Ideal:
    """Starts each item at its ideal moment: what the figures of a perfect client would be."""

    def __init__(self, starts_s: list[float]) -> None:
        self._starts_s = starts_s

    @asynccontextmanager
    async def permit(self, _: Callable[[], float], item_id: Any = None) -> AsyncIterator["Ideal"]:
        """Wait for the moment; after a refusal, for a second."""
        await asyncio.sleep(self._starts_s[item_id] - now_s())
        self._starts_s[item_id] = now_s() + 1
        yield self

    def status(self, endpoint: str, now_s: float) -> EndpointStatus:
        """Nothing had to be found out."""
        return EndpointStatus(endpoint)

    def admitted(self) -> None:
        """It knew."""

    def used(self, tokens: float) -> None:
        """It knew that, too."""


async def work_off(items: list[Item], quota: Door, service: Service, most_begun: int) -> Diary:
    """Ask for all items, retries included; the diary is the service's."""
    forecast = TokenEstimates()
    gate = asyncio.Semaphore(most_begun)
    mean_tokens = sum(item.tokens for item in items) / len(items)
    others = asyncio.create_task(service.serve_others(mean_tokens))

    async def one(item: Item) -> None:
        try:
            await ask(item, quota, service, forecast)
        except OmniBatchError as error:
            service.diary.failed.append(f"item {item.number} at {now_s():.1f} s: {error!r}")
        finally:
            gate.release()

    async with asyncio.TaskGroup() as group:
        for item in items:
            await gate.acquire()
            group.create_task(one(item))
    others.cancel()
    service.diary.ended_s = now_s()
    return service.diary


async def ask(item: Item, quota: Door, service: Service, forecast: TokenEstimates) -> None:
    """One item until it is answered or can't be."""
    work = Workload(1, PromptEstimate(text=item.estimated_prompt_tokens), _FIRST_GUESS)

    def prompt_tokens() -> float:
        return work.prompt.text * forecast.text_factor

    async def attempt(number: int) -> None:
        async with (
            quota.permit(
                lambda: forecast.tokens(work, spoken=False), item_id=item.number
            ) as permit,
            service.exchange(item) as stream,
        ):
            permit.admitted()
            status = quota.status("", now_s())
            known = (now_s(), status.requests_per_minute, status.tokens_per_minute)
            service.diary.in_force.append(known)
            try:
                async with asyncio.timeout(IDLE_TIMEOUT_S):
                    permit.used(await stream.rest())
            except TimeoutError:
                permit.used(prompt_tokens() + stream.written)
                raise StreamError("stalled") from None
            except StreamError:
                permit.used(prompt_tokens() + stream.written)
                raise

    await with_retries(attempt, RetryConfig())
    usage = Usage(item.prompt_tokens, item.completion_tokens, item.tokens, item.prompt_tokens)
    forecast.learn(item.estimated_prompt_tokens, usage, spoken=False)
