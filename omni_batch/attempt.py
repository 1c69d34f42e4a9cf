"""One attempt: a slot, an exchange, a fresh assembler, a WAV file. And as many as it takes."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from omni_batch.assemble import Assembler
from omni_batch.config import RetryConfig
from omni_batch.endpoints.body import Body
from omni_batch.endpoints.client import Endpoint, Exchange
from omni_batch.errors import (
    AccountError,
    ContentRefused,
    EndpointError,
    Interrupted,
    MediaUnreachable,
    Outage,
    Rejected,
    TookTooLong,
    Unavailable,
)
from omni_batch.fleet import Fleet, Moved, Service
from omni_batch.forecast import ExpectedTokens
from omni_batch.question import Question
from omni_batch.quota import Slot
from omni_batch.retry import with_retries
from omni_batch.rundir.layout import RunDir
from omni_batch.rundir.speech import SpeechFile
from omni_batch.types import Answer, Attempt, Response, WavFile

_FETCHES_BY_SERVICE = 2  # then we fetch its media ourselves
_NEVER_THERE_S = 60.0
_TEXT_KEPT_CHARS = 20_000  # of a reply that was cut


async def ask(
    fleet: Fleet,
    question: Question,
    expected: Callable[[], ExpectedTokens],
    directory: RunDir,
    retry: RetryConfig,
    *,
    may_send: Callable[[], None],
    record: Callable[[Attempt], Attempt],
) -> Answer:
    """Send a question until it is answered or can't be. A waiting retry holds no slot.

    Args:
        expected: asked again and again, as estimates get better.
        may_send: called with a slot in hand; raises when the run has begun to stop meanwhile.
        record: called once for each exchange, whatever came of it; returns it with its bill, or
            with an estimate of it.

    Raises:
        OmniBatchError: what the last attempt met.
    """
    asking = _Asking(fleet, question, expected, directory, retry, may_send, record)
    return await with_retries(lambda _: asking.attempt(), retry)


@dataclass(slots=True)
class _Asking:
    """One question under way: what was tried, where, how long."""

    fleet: Fleet
    question: Question
    expected: Callable[[], ExpectedTokens]
    directory: RunDir
    retry: RetryConfig
    may_send: Callable[[], None]
    record: Callable[[Attempt], Attempt]
    number: int = 0
    failed_fetches: int = 0
    spent_s: float = 0.0
    failed_at: set[str] = field(default_factory=set)
    refused_by: set[str] = field(default_factory=set)
    refusal: EndpointError | None = None

    @property
    def fit(self) -> set[str]:
        """Names of the endpoints that may still take the item."""
        return set(self.question.routes) - self.refused_by

    async def attempt(self) -> Answer:
        """Ask one endpoint once."""
        fit = self.fit
        if self.refusal is not None and not self.fleet.is_open(fit):
            raise self.refusal  # the others' keys are at fault, and no reason to end the run
        service = self.fleet.choose(fit, self.failed_at)
        unreachable = self.failed_fetches >= _FETCHES_BY_SERVICE
        try:
            async with (
                service.courier.delivered(self.question.request, unreachable=unreachable) as body,
                service.quota.slot(
                    lambda: self.expected().total, self.question.item.item_id
                ) as slot,
            ):
                return await self._send(service, body, slot)
        except EndpointError as exc:
            self._learn(service, exc)
            raise

    async def _send(self, service: Service, body: Body, slot: Slot) -> Answer:
        self.may_send()
        self.number += 1
        trace = _Trace(self.number, service.name, _assembler(self.question, service))
        left_s = service.item_timeout_s - self.spent_s
        try:
            async with asyncio.timeout(left_s):
                return await _attempt(
                    service.endpoint, self.question, body, slot, self.directory, trace
                )
        except TimeoutError:
            trace.error = TookTooLong(
                f"no answer within {service.item_timeout_s:g} s of attempts (retry.item_timeout_s)"
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
            slot.used(kept.usage.total_tokens if kept.usage else kept.estimated_tokens or 0)

    def _learn(self, service: Service, error: EndpointError) -> None:
        """Where the item should not be sent next. Raises what makes a difference to the retry."""
        self.failed_at = {service.name}
        self.failed_fetches += isinstance(error, MediaUnreachable)
        if isinstance(error, Unavailable) and service.quota.breaker.is_open:
            self._wait_or_leave(service, error)
        if isinstance(error, AccountError) and self.fleet.close(service, error):
            raise Moved(str(error)) from error
        if isinstance(error, Rejected | ContentRefused):
            self.refused_by.add(service.name)
            self.refusal = error
            if self.fit:
                raise Moved(str(error)) from error

    def _wait_or_leave(self, service: Service, error: Unavailable) -> None:
        now_s = asyncio.get_running_loop().time()
        breaker = service.quota.breaker
        down_s, patience_s = breaker.down_s(now_s), self.retry.outage_timeout_s
        if not breaker.was_there:  # more likely a wrong address than an outage
            patience_s = min(patience_s, _NEVER_THERE_S)
        if self.fleet.leave(service, self.fit) or down_s < patience_s:
            return
        raise Outage(
            f"endpoint {service.name} has not answered for {down_s:.0f} s "
            f"(retry.outage_timeout_s): {error}",
            http_status=error.http_status,
        ) from error


def _assembler(question: Question, service: Service) -> Assembler:
    return Assembler(
        wants_audio=question.request.wants_audio, audio_tokens_per_s=service.audio_tokens_per_s
    )


async def _attempt(
    endpoint: Endpoint,
    question: Question,
    body: Body,
    slot: Slot,
    directory: RunDir,
    trace: "_Trace",
) -> Answer:
    item_id = question.item.item_id
    speech = SpeechFile(directory.unfinished_speech(item_id, trace.number), directory.disk)
    try:
        response, last_sound = await _converse(endpoint, body, slot, trace, speech)
        await speech.write(last_sound, trace.assembler.sample_rate_hz)
        return Answer(response, await _save(response, speech, directory, item_id))
    finally:
        speech.discard()


async def _converse(
    endpoint: Endpoint, body: Body, slot: Slot, trace: "_Trace", speech: SpeechFile
) -> tuple[Response, bytes]:
    assembler = trace.assembler
    async with endpoint.exchange(body, held_s=slot.held_s) as exchange:
        trace.exchange = exchange
        slot.admitted(exchange.told)
        async for chunks in exchange:
            trace.hear()
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

    def hear(self) -> None:
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
