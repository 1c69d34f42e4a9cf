"""One attempt: a permit, an exchange, a fresh assembler, a WAV file. And its retries."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from omni_batch.config import RetryConfig
from omni_batch.engine.retry import with_retries
from omni_batch.engine.router import EndpointHandle, EndpointRouter, Moved
from omni_batch.errors import (
    AccountError,
    ContentRefused,
    EndpointError,
    Interrupted,
    ItemTimeout,
    MediaUnreachable,
    Outage,
    Rejected,
    Unavailable,
)
from omni_batch.planning.prepared_item import PreparedItem
from omni_batch.progress.estimates import ExpectedTokens
from omni_batch.providers.body import Body
from omni_batch.providers.client import EndpointClient, Exchange
from omni_batch.quota import Permit
from omni_batch.store.audio import SpeechFile
from omni_batch.store.run_dir import RunDir
from omni_batch.stream.assemble import Assembler
from omni_batch.types import Answer, Attempt, Response, WavFile

_FETCHES_BY_SERVICE = 2  # then we fetch its media ourselves
_NEVER_THERE_S = 60.0
_TEXT_KEPT_CHARS = 20_000  # of a reply that was cut


async def send(
    router: EndpointRouter,
    prepared: PreparedItem,
    expected: Callable[[], ExpectedTokens],
    directory: RunDir,
    retry: RetryConfig,
    *,
    raise_if_stopping: Callable[[], None],
    record: Callable[[Attempt], Attempt],
) -> Answer:
    """Send an item until it is answered or can't be. A waiting retry holds no permit.

    Args:
        expected: asked again and again, as estimates get better.
        raise_if_stopping: called with a permit in hand; raises when the run is stopping.
        record: called once for each exchange, whatever came of it; returns it with its bill, or
            with an estimate of it.

    Raises:
        OmniBatchError: what the last attempt met.
    """
    asking = _ItemAttempts(router, prepared, expected, directory, retry, raise_if_stopping, record)
    return await with_retries(lambda _: asking.attempt(), retry)


@dataclass(slots=True)
class _ItemAttempts:
    """One item under way: what was tried, where, how long."""

    router: EndpointRouter
    prepared: PreparedItem
    expected: Callable[[], ExpectedTokens]
    directory: RunDir
    retry: RetryConfig
    raise_if_stopping: Callable[[], None]
    record: Callable[[Attempt], Attempt]
    number: int = 0
    failed_fetches: int = 0
    spent_s: float = 0.0
    failed_at: set[str] = field(default_factory=set)
    refused_by: set[str] = field(default_factory=set)
    refusal: EndpointError | None = None

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
        try:
            async with (
                handle.delivery.delivered(self.prepared.request, unreachable=unreachable) as body,
                handle.limiter.permit(
                    lambda: self.expected().total, self.prepared.item.item_id
                ) as permit,
            ):
                return await self._send(handle, body, permit)
        except EndpointError as exc:
            self._learn(handle, exc)
            raise

    async def _send(self, handle: EndpointHandle, body: Body, permit: Permit) -> Answer:
        self.raise_if_stopping()
        self.number += 1
        trace = _Trace(self.number, handle.name, _assembler(self.prepared, handle))
        left_s = handle.item_timeout_s - self.spent_s
        try:
            async with asyncio.timeout(left_s):
                return await _attempt(
                    handle.client, self.prepared, body, permit, self.directory, trace
                )
        except TimeoutError:
            trace.error = ItemTimeout(
                f"no answer within {handle.item_timeout_s:g} s of attempts (retry.item_timeout_s)"
            )
            raise trace.error from None
        except asyncio.CancelledError:
            trace.error = Interrupted("it was cut off because the run stopped")
            raise
        except Exception as exc:
            trace.error = exc
            raise
        finally:
            self.spent_s += time.monotonic() - trace.started_s
            kept = self.record(trace.attempt())
            permit.used(kept.usage.total_tokens if kept.usage else kept.estimated_tokens or 0)

    def _learn(self, handle: EndpointHandle, error: EndpointError) -> None:
        """Where the item should not be sent next. Raises what makes a difference to the retry."""
        self.failed_at = {handle.name}
        self.failed_fetches += isinstance(error, MediaUnreachable)
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
        down_s, patience_s = breaker.down_s(now_s), self.retry.outage_timeout_s
        if not breaker.was_there:  # more likely a wrong address than an outage
            patience_s = min(patience_s, _NEVER_THERE_S)
        if self.router.mark_down(handle, self.eligible) or down_s < patience_s:
            return
        raise Outage(
            f"endpoint {handle.name} has not answered for {down_s:.0f} s "
            f"(retry.outage_timeout_s): {error}",
            http_status=error.http_status,
        ) from error


def _assembler(prepared: PreparedItem, handle: EndpointHandle) -> Assembler:
    return Assembler(
        wants_audio=prepared.request.wants_audio, audio_tokens_per_s=handle.audio_tokens_per_s
    )


async def _attempt(
    endpoint: EndpointClient,
    prepared: PreparedItem,
    body: Body,
    permit: Permit,
    directory: RunDir,
    trace: "_Trace",
) -> Answer:
    item_id = prepared.item.item_id
    speech = SpeechFile(directory.unfinished_speech(item_id, trace.number), directory.disk)
    try:
        response, last_sound = await _stream(endpoint, body, permit, trace, speech)
        await speech.write(last_sound, trace.assembler.sample_rate_hz)
        return Answer(response, await _save(response, speech, directory, item_id))
    finally:
        speech.discard()


async def _stream(
    endpoint: EndpointClient, body: Body, permit: Permit, trace: "_Trace", speech: SpeechFile
) -> tuple[Response, bytes]:
    assembler = trace.assembler
    async with endpoint.exchange(body, held_s=permit.held_s) as exchange:
        trace.exchange = exchange
        permit.admitted(exchange.server_limits)
        async for chunks in exchange:
            trace.mark_first_chunk()
            for chunk in chunks:
                if sound := assembler.feed(chunk):
                    await speech.write(sound, assembler.sample_rate_hz)
    return assembler.finish()


async def _save(
    response: Response, speech: SpeechFile, directory: RunDir, item_id: str
) -> WavFile | None:
    if response.speech is None:
        return None
    path = directory.speech(item_id)
    sha256 = await speech.commit(path, response.speech.sample_rate_hz)
    return WavFile(path.relative_to(directory.root).as_posix(), response.speech, sha256)


@dataclass(slots=True)
class _Trace:
    """What is known of an attempt while it goes on."""

    number: int
    endpoint: str
    assembler: Assembler
    exchange: Exchange | None = None
    error: Exception | None = None
    first_chunk_s: float | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started_s: float = field(default_factory=time.monotonic)

    def mark_first_chunk(self) -> None:
        if self.first_chunk_s is None:
            self.first_chunk_s = time.monotonic() - self.started_s

    def attempt(self) -> Attempt:
        refusal = self.error if isinstance(self.error, EndpointError) else None
        spoke = self.exchange or refusal
        return Attempt(
            number=self.number,
            started_at=self.started_at,
            latency_s=time.monotonic() - self.started_s,
            first_chunk_s=self.first_chunk_s,
            http_status=spoke.http_status if spoke else None,
            request_id=self._request_id(refusal),
            usage=self.assembler.usage,
            text_chars=self.assembler.text_chars,
            audio_s=self.assembler.audio_s,
            error=self.error,
            endpoint=self.endpoint,
            text=self.assembler.arrived(_TEXT_KEPT_CHARS) if self.error else None,
        )

    def _request_id(self, refusal: EndpointError | None) -> str | None:
        named = self.exchange.request_id if self.exchange else None
        return named or self.assembler.response_id or (refusal.request_id if refusal else None)
