"""All endpoints of a run: who is asked next."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from omni_batch.deliver import Courier
from omni_batch.endpoints.client import Endpoint
from omni_batch.errors import EndpointError, OmniBatchError
from omni_batch.pace import Pace
from omni_batch.quota import Quota

_AVOIDED_S = 10.0
"""So much longer an item waits for an endpoint that has not failed it yet."""


class Moved(OmniBatchError):
    """The item should be sent elsewhere: here it was refused, or nobody answers any more."""

    retryable = True
    uses_attempt = False


@dataclass(slots=True)
class Service:
    """One endpoint at work: whom to ask, how fast, what its speech should weigh."""

    name: str
    endpoint: Endpoint
    courier: Courier
    quota: Quota
    weight: float = 1.0
    item_timeout_s: float = 3600.0
    audio_tokens_per_s: float | None = None
    closed: EndpointError | None = None
    """Why it is no longer asked."""
    begun: int = 0


@dataclass(frozen=True, slots=True)
class Fleet:
    """Sends items where there is room. Shared by all items of a run."""

    services: tuple[Service, ...]

    def choose(self, fit: Collection[str], avoid: Collection[str] = ()) -> Service:
        """The endpoint to ask next: one that is down and due to be probed, else one that is up,
        then the one with the shortest wait, then by weight.

        Args:
            fit: names of those that take the item.
            avoid: names of those that have failed it; asked where all others make it wait.

        Raises:
            EndpointError: all that take the item are closed.
        """
        fitting = [service for service in self.services if service.name in fit]
        open_ones = [service for service in fitting if service.closed is None]
        if not open_ones:
            raise fitting[0].closed or EndpointError(f"no endpoint takes the item: {fit}")
        if len(open_ones) == 1:
            return open_ones[0]
        now_s = asyncio.get_running_loop().time()
        to_probe = (service for service in open_ones if service.quota.wants_probe(now_s))
        chosen = next(to_probe, None) or min(
            open_ones,
            key=lambda service: (
                service.quota.breaker.is_open,
                round(service.quota.backlog_s(now_s) + _AVOIDED_S * (service.name in avoid), 1),
                service.begun / service.weight,
            ),
        )
        chosen.begun += 1
        return chosen

    def close(self, service: Service, reason: EndpointError) -> bool:
        """Ask an endpoint no more; its line is sent elsewhere. False where it was the last one."""
        service.closed = reason
        service.quota.turn_away(Moved(f"{service.name} is closed: {reason}"))
        return any(other.closed is None for other in self.services)

    def is_open(self, fit: Collection[str]) -> bool:
        """Whether any of these is still asked."""
        return any(service.closed is None for service in self.services if service.name in fit)

    def leave(self, service: Service, fit: Collection[str]) -> bool:
        """An endpoint is down: its line is sent elsewhere. False where there is no elsewhere.

        Args:
            fit: names of those that take the item which found it down.
        """
        others = [s for s in self.services if s is not service and s.name in fit]
        up = any(other.closed is None and not other.quota.breaker.is_open for other in others)
        if up:
            service.quota.turn_away(Moved(f"{service.name} is down"))
        return up

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return sum(service.quota.in_flight for service in self.services)

    async def drained(self) -> None:
        """Wait until nothing is in flight."""
        for service in self.services:
            await service.quota.drained()

    def paces(self) -> tuple[Pace, ...]:
        """How all stand."""
        now_s = asyncio.get_running_loop().time()
        return tuple(
            service.quota.pace(service.name, now_s, str(service.closed) if service.closed else None)
            for service in self.services
        )
