"""One limiter in virtual time, and the services that the laws of quotas are tried on."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from omni_batch.config import QuotaConfig
from omni_batch.endpoint_status import EndpointStatus, Learned
from omni_batch.errors import EndpointError, Limit, RateLimited
from omni_batch.quota import RateLimiter
from tests.support import virtual_time


def limiter(learned: Learned | None = None, **config: Any) -> RateLimiter:
    return RateLimiter(QuotaConfig(**config), learned)


def refusal(limit: Limit = "requests", retry_after_s: float | None = None) -> RateLimited:
    error = RateLimited("slow down", retry_after_s=retry_after_s)
    error.limit = limit
    return error


def now_s() -> float:
    return asyncio.get_running_loop().time()


def run(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """Do it all at once; returns what each returned, or the error it ended with."""

    async def together() -> list[Any]:
        return await asyncio.gather(*work, return_exceptions=True)

    return virtual_time.run(together())


async def request(
    quota: RateLimiter,
    tokens: float = 0,
    *,
    begins_s: float = 0,
    takes_s: float = 0,
    billed: float | None = None,
    error: EndpointError | None = None,
) -> float:
    """Send one; returns when it was let out. With an error it is refused after its time."""
    await asyncio.sleep(begins_s)
    with suppress(EndpointError):
        async with quota.permit(lambda: tokens) as permit:
            started_s = now_s()
            if error is None:
                permit.admitted()
            await asyncio.sleep(takes_s)
            if error is not None:
                raise error
            permit.used(tokens if billed is None else billed)
    return started_s


async def status(quota: RateLimiter, at_s: float) -> EndpointStatus:
    await asyncio.sleep(at_s)
    return quota.status("a", now_s())


class Service:
    """Lets so many requests a second through, with a reserve of one second, and refuses others."""

    def __init__(self, per_s: float) -> None:
        self._per_s = self._level = per_s
        self._filled_s = 0.0
        self.served_s: list[float] = []
        self.refused_s: list[float] = []

    def asked(self) -> None:
        """Take a request in, or refuse it."""
        gained = (now_s() - self._filled_s) * self._per_s
        self._level, self._filled_s = min(self._per_s, self._level + gained), now_s()
        if self._level < 1:
            self.refused_s.append(now_s())
            raise refusal()
        self._level -= 1
        self.served_s.append(now_s())

    async def kept_busy(self, quota: RateLimiter, seconds: float) -> None:
        """As many requests as the limiter lets out, for so long."""

        async def one() -> None:
            with suppress(EndpointError):
                async with quota.permit(lambda: 1) as permit:
                    await asyncio.sleep(0.05)
                    self.asked()
                    permit.admitted()
                    permit.used(1)

        async with asyncio.TaskGroup() as group:
            while now_s() < seconds:
                group.create_task(one())
                await asyncio.sleep(0 if quota.waiting < 20 else 0.1)
