"""All endpoints of a run: who is asked next."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from omni_batch.endpoint_status import EndpointStatus
from omni_batch.errors import EndpointError, OmniBatchError
from omni_batch.providers.client import EndpointClient
from omni_batch.providers.delivery import MediaDelivery
from omni_batch.quota import RateLimiter

_AVOIDED_S = 10.0
"""So much longer an item waits for an endpoint that has not failed it yet."""


class Moved(OmniBatchError):
    """The item should be sent elsewhere: this endpoint refused it, or is down."""

    retryable = True
    uses_attempt = False


@dataclass(slots=True)
class EndpointHandle:
    """One endpoint at work: whom to ask, how fast, what its speech should weigh."""

    name: str
    client: EndpointClient
    delivery: MediaDelivery
    limiter: RateLimiter
    weight: float = 1.0
    item_timeout_s: float = 3600.0
    audio_tokens_per_s: float | None = None
    closed: EndpointError | None = None
    """Why it is no longer used."""
    started: int = 0
    """Items sent to it so far."""


@dataclass(frozen=True, slots=True)
class EndpointRouter:
    """Sends items where there is room. Shared by all items of a run."""

    handles: tuple[EndpointHandle, ...]

    def choose(self, eligible: Collection[str], avoid: Collection[str] = ()) -> EndpointHandle:
        """The endpoint to ask next: one that is down and due to be probed, else one that is up,
        then the one with the shortest wait, then by weight.

        Args:
            eligible: names of those that take the item.
            avoid: names of those that have failed it; asked where all others make it wait.

        Raises:
            EndpointError: all that take the item are closed.
        """
        eligibleting = [handle for handle in self.handles if handle.name in eligible]
        open_ones = [handle for handle in eligibleting if handle.closed is None]
        if not open_ones:
            raise eligibleting[0].closed or EndpointError(f"no endpoint takes the item: {eligible}")
        if len(open_ones) == 1:
            return open_ones[0]
        now_s = asyncio.get_running_loop().time()
        to_probe = (handle for handle in open_ones if handle.limiter.wants_probe(now_s))
        chosen = next(to_probe, None) or min(
            open_ones,
            key=lambda handle: (
                handle.limiter.breaker.is_open,
                round(handle.limiter.backlog_s(now_s) + _AVOIDED_S * (handle.name in avoid), 1),
                handle.started / handle.weight,
            ),
        )
        chosen.started += 1
        return chosen

    def disable(self, handle: EndpointHandle, reason: EndpointError) -> bool:
        """Use an endpoint no more; its queue is sent elsewhere. False where it was the last one."""
        handle.closed = reason
        handle.limiter.reject_waiting(Moved(f"{handle.name} is closed: {reason}"))
        return any(other.closed is None for other in self.handles)

    def is_open(self, eligible: Collection[str]) -> bool:
        """Whether any of these is still used."""
        return any(handle.closed is None for handle in self.handles if handle.name in eligible)

    def mark_down(self, handle: EndpointHandle, eligible: Collection[str]) -> bool:
        """An endpoint is down: its queue is sent elsewhere. False where no other endpoint is up.

        Args:
            eligible: names of those that take the item which found it down.
        """
        others = [other for other in self.handles if other is not handle and other.name in eligible]
        up = any(other.closed is None and not other.limiter.breaker.is_open for other in others)
        if up:
            handle.limiter.reject_waiting(Moved(f"{handle.name} is down"))
        return up

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return sum(handle.limiter.in_flight for handle in self.handles)

    async def drained(self) -> None:
        """Wait until nothing is in flight."""
        for handle in self.handles:
            await handle.limiter.drained()

    def statuses(self) -> tuple[EndpointStatus, ...]:
        """How each of them is used now."""
        now_s = asyncio.get_running_loop().time()
        return tuple(
            handle.limiter.status(handle.name, now_s, str(handle.closed) if handle.closed else None)
            for handle in self.handles
        )
