"""The limits a request must pass: requests and tokens a minute, and growth of the rate."""

import math
import time
from dataclasses import replace

from omni_batch.simulator.api.exchange import Exchange
from omni_batch.simulator.api.service import Service
from omni_batch.simulator.checks import refusal
from omni_batch.simulator.checks.chat import Body
from omni_batch.simulator.checks.refusal import Refusal, Refused
from omni_batch.simulator.dialects import Dialect

WAIT_HEADER = "x-dashscope-wait-timeout"
"""With it the service delays a request of a burst instead of refusing it."""
_RECHECK_S = 0.005


class ClientGone(Exception):
    """The client hung up while it waited."""


class Admission:
    """Lets one request in, at once or after a wait."""

    def __init__(self, service: Service, dialect: Dialect, exchange: Exchange) -> None:
        self._service, self._dialect, self._exchange = service, dialect, exchange
        self.model: str | None = None
        """Named by the request; None until it is known."""

    async def admit(self, body: Body) -> None:
        """Return when the request may be answered.

        Raises:
            Refused: over a limit, or the model does not exist.
            ClientGone: the client hung up.
        """
        self.model = self._dialect.model(body).name
        if self._dialect.queued:
            await self._queue(self.model)
        if not self._dialect.limited:
            return
        await self._wait_for_burst(self.model)
        quota, now_s = self._service.quota, time.monotonic()
        if not quota.request_fits(self.model, now_s):
            raise self._too_many(refusal.RATE, quota.wait_s("requests", self.model, now_s))
        if not quota.tokens_fit(self.model, now_s):
            wait_s = quota.wait_s("tokens", self.model, now_s)
            raise self._too_many(self._dialect.out_of_tokens, wait_s)

    async def _queue(self, model: str) -> None:
        """Wait as long as Batch Chat keeps its requests waiting."""
        options, waiting = self._service.options, self._service.waiting
        if waiting[model] >= options.batch_most_waiting:
            raise self._too_many(refusal.BATCH_FULL, 1.0)
        waiting[model] += 1
        try:
            if options.batch_wait_s and await self._exchange.disconnects_within(
                options.batch_wait_s
            ):
                raise ClientGone
        finally:
            waiting[model] -= 1

    async def _wait_for_burst(self, model: str) -> None:
        """Wait for a burst to pass as long as the client is willing to."""
        until_s = time.monotonic() + self._longest_wait_s()
        while not self._service.burst_limit.fits(model, time.monotonic()):
            if time.monotonic() >= until_s:
                raise self._too_many(refusal.BURST, 1.0)
            if await self._exchange.disconnects_within(_RECHECK_S):
                raise ClientGone

    def _longest_wait_s(self) -> float:
        try:
            return float(self._exchange.headers.get(WAIT_HEADER, "0"))
        except ValueError:
            return 0.0

    def _too_many(self, refused: Refusal, wait_s: float) -> Refused:
        retry_after_s = math.ceil(wait_s) if self._service.options.send_retry_after else None
        return Refused(replace(refused, retry_after_s=retry_after_s))
