"""Plan → connections: a client, a rate limiter and a way for media to each endpoint of a run."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import NamedTuple

from omni_batch.endpoint_status import Learned
from omni_batch.engine.sending.router import EndpointHandle
from omni_batch.errors import StorageError
from omni_batch.planning.learned_limits import fresh
from omni_batch.planning.plan import Plan
from omni_batch.planning.resolved_endpoint import ResolvedEndpoint
from omni_batch.providers.api_key import ApiKey, KeyRedactor
from omni_batch.providers.client import EndpointClient
from omni_batch.providers.delivery import MediaDelivery
from omni_batch.providers.profiles import SIMULATED_KEY, Profile, read_api_key
from omni_batch.providers.upload import Uploader
from omni_batch.providers.web.download import Downloader
from omni_batch.quota import RateLimiter
from omni_batch.quota.sharing import LineTurns, MachineTurns, Turns
from omni_batch.quota.sharing.machine import account_id
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.locks.line import take_turn
from omni_batch.store.trust.secret import secret_path

_log = logging.getLogger(__name__)


async def connect(
    plan: Plan, directory: RunDir, record: RunRecord, stack: AsyncExitStack
) -> tuple[EndpointHandle, ...]:
    """Handles of all endpoints of a plan.

    Args:
        record: as the last process has left it.
        stack: closes them.
    """
    moving = asyncio.Semaphore(plan.room.moves)
    learned = {status.name: fresh(status.learned) for status in record.endpoints}
    profiles = {endpoint.label: endpoint.profile for endpoint in plan.endpoints}
    reached = {name: stack.enter_context(_reached(each)) for name, each in profiles.items()}
    redactor = KeyRedactor(place.key for place in reached.values())
    return tuple(
        _connect(
            *(plan, endpoint, reached[endpoint.label], redactor, directory),
            *(learned.get(endpoint.name), record, moving, stack),
        )
        for endpoint in plan.endpoints
    )


class _Reached(NamedTuple):
    base_url: str
    key: ApiKey | None


def _connect(
    plan: Plan,
    endpoint: ResolvedEndpoint,
    place: _Reached,
    redactor: KeyRedactor,
    directory: RunDir,
    learned: Learned | None,
    record: RunRecord,
    moving: asyncio.Semaphore,
    stack: AsyncExitStack,
) -> EndpointHandle:
    base_url, key = place
    media, patience = plan.config.media, {"first_byte_timeout_s": endpoint.first_byte_timeout_s}
    retry = plan.config.retry.model_copy(update=patience)
    client = EndpointClient(
        base_url, key, endpoint.dialect, retry, endpoint.max_in_flight, redactor
    )
    stack.push_async_callback(client.aclose)
    downloader = Downloader(
        directory.downloads,
        max_bytes=media.download_max_bytes,
        allow_private=media.allow_private_downloads,
        connect_timeout_s=retry.connect_timeout_s,
    )
    stack.push_async_callback(downloader.aclose)
    storage = endpoint.profile.storage_url or base_url
    uploader = Uploader(storage, key, endpoint.config.model, client.http, redactor=redactor)
    turns = _turns(endpoint, place, directory, record)
    limiter = RateLimiter(endpoint.quota, learned, turns, endpoint.default_limits)
    stack.push_async_callback(limiter.aclose)
    return EndpointHandle(
        name=endpoint.name,
        client=client,
        delivery=MediaDelivery(media, endpoint.dialect, uploader, downloader, moving, plan.sources),
        limiter=limiter,
        weight=endpoint.entry.weight,
        item_timeout_s=endpoint.item_timeout_s,
        audio_tokens_per_s=endpoint.audio_tokens_per_s,
    )


def _turns(
    endpoint: ResolvedEndpoint, place: _Reached, directory: RunDir, record: RunRecord
) -> Turns | None:
    """With whom the account is shared: the other partitions, or what runs on this machine; nobody
    shares a simulator of one's own.
    """
    if endpoint.profile.embedded:
        return None
    if record.slice is not None:
        return LineTurns(partial(take_turn, directory.line(endpoint.name)), record.slice.of)
    try:
        folder = secret_path().parent
    except StorageError as exc:
        _log.warning("runs on this machine do not share the quota: %s", exc)
        return None
    key = place.key.value if place.key else None
    return MachineTurns(account_id(place.base_url, key, endpoint.config.model), folder)


@contextmanager
def _reached(profile: Profile) -> Iterator[_Reached]:
    """Base URL and key; starts the bundled simulator where it is the endpoint."""
    if profile.base_url is not None:
        yield _Reached(profile.base_url, read_api_key(profile))
        return
    from omni_batch.simulator import Simulator, SimulatorOptions

    with Simulator(SimulatorOptions(keep_requests=0)) as simulator:
        yield _Reached(simulator.base_url, SIMULATED_KEY)
