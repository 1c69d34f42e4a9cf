"""Fewer requests in flight where the system's limit of open files has no room for all."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from omni_batch.doubts import Doubt
from omni_batch.errors import ConfigError
from omni_batch.planning.resolved_endpoint import ResolvedEndpoint
from omni_batch.quota.open_files import Room, files_of, room_for

_HOW = (
    "raise it (ulimit -n, LimitNOFILE= of systemd, --ulimit nofile= of containers; its hard "
    "limit counts)"
)


def fitted(
    endpoints: Sequence[ResolvedEndpoint],
) -> tuple[tuple[ResolvedEndpoint, ...], Room]:
    """The endpoints with as many requests in flight as there is room for, in equal shares.

    Raises:
        ConfigError: not one request for each endpoint fits.
    """
    wanted = sum(endpoint.max_in_flight for endpoint in endpoints)
    room = room_for(wanted, served_here=any(endpoint.profile.embedded for endpoint in endpoints))
    if room.in_flight >= wanted:
        return tuple(endpoints), room
    if room.in_flight < len(endpoints):
        raise ConfigError(
            f"this process may have {room.limit} files open, too few for a single request at each "
            f"endpoint: {_HOW} to {files_of(wanted)}"
        )
    share = room.in_flight / wanted
    return tuple(
        replace(endpoint, most_in_flight=max(1, int(endpoint.max_in_flight * share)))
        for endpoint in endpoints
    ), room


def room_doubts(endpoints: Sequence[ResolvedEndpoint], room: Room) -> Iterator[Doubt]:
    """That fewer requests are in flight than were asked for, and why."""
    wanted = sum(endpoint.wanted_in_flight for endpoint in endpoints)
    fits = sum(endpoint.max_in_flight for endpoint in endpoints)
    if fits < wanted:
        yield Doubt(
            "open-files-limit",
            f"this process may have {room.limit} files open, so at most {fits} requests are in "
            f"flight instead of {wanted}: {_HOW} to {files_of(wanted)}, or lower "
            f"quota.max_in_flight to {fits}",
        )
