"""One attempt: a slot, an exchange, a fresh assembler, a WAV file. And as many as it takes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from omni_batch.assemble import Assembler
from omni_batch.config import RetryConfig
from omni_batch.deliver import Courier
from omni_batch.endpoints.body import Body
from omni_batch.endpoints.client import Endpoint, Exchange
from omni_batch.errors import EndpointError, MediaUnreachable, RateLimited
from omni_batch.question import Question
from omni_batch.quota import Quota
from omni_batch.retry import with_retries
from omni_batch.rundir.layout import RunDir
from omni_batch.rundir.speech import SpeechFile
from omni_batch.types import Answer, Attempt, Response, WavFile

_FETCHES_BY_SERVICE = 2  # then we fetch its media ourselves


@dataclass(frozen=True, slots=True)
class Service:
    """Whom to ask, how fast, how stubbornly, and what its speech should weigh."""

    endpoint: Endpoint
    courier: Courier
    quota: Quota
    retry: RetryConfig
    audio_tokens_per_s: float | None = None


async def ask(
    service: Service,
    question: Question,
    estimated_tokens: float,
    directory: RunDir,
    *,
    may_send: Callable[[], None],
    record: Callable[[Attempt], None],
) -> Answer:
    """Send a question until it is answered or can't be. A waiting retry holds no slot.

    Args:
        estimated_tokens: prompt and expected completion together, for the quota.
        may_send: called with a slot in hand; raises when the run has begun to stop meanwhile.
        record: called once for each exchange, whatever came of it.

    Raises:
        OmniBatchError: what the last attempt met.
    """

    failed_fetches = 0

    async def attempt(number: int) -> Answer:
        nonlocal failed_fetches
        unreachable = failed_fetches >= _FETCHES_BY_SERVICE
        async with (
            service.courier.delivered(question.request, unreachable=unreachable) as body,
            service.quota.slot(estimated_tokens) as slot,
        ):
            may_send()
            trace = _Trace(number, _assembler(question, service))
            try:
                answer = await _attempt(service.endpoint, question, body, directory, trace)
            except Exception as exc:
                trace.error = exc
                failed_fetches += isinstance(exc, MediaUnreachable)
                if isinstance(exc, RateLimited):
                    service.quota.throttled(exc.retry_after_s)
                raise
            finally:
                if (usage := trace.assembler.usage) is not None:
                    slot.used(usage.total_tokens)
                record(trace.attempt())
            service.quota.succeeded()
            return answer

    return await with_retries(attempt, service.retry)


def _assembler(question: Question, service: Service) -> Assembler:
    return Assembler(
        wants_audio=question.request.wants_audio, audio_tokens_per_s=service.audio_tokens_per_s
    )


async def _attempt(
    endpoint: Endpoint, question: Question, body: Body, directory: RunDir, trace: "_Trace"
) -> Answer:
    item_id = question.item.item_id
    speech = SpeechFile(directory.unfinished_speech(item_id, trace.number), directory.disk)
    try:
        response, last_sound = await _converse(endpoint, body, trace, speech)
        await speech.write(last_sound, trace.assembler.sample_rate_hz)
        return Answer(response, await _save(response, speech, directory, item_id))
    finally:
        speech.discard()


async def _converse(
    endpoint: Endpoint, body: Body, trace: "_Trace", speech: SpeechFile
) -> tuple[Response, bytes]:
    assembler = trace.assembler
    async with endpoint.exchange(body) as exchange:
        trace.exchange = exchange
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
        )

    def _request_id(self, refusal: EndpointError | None) -> str | None:
        named = self.exchange.request_id if self.exchange else None
        return named or self.assembler.response_id or (refusal.request_id if refusal else None)
