"""One attempt: an exchange, its chunks through an assembler, its speech into a WAV file."""

import asyncio
from datetime import UTC, datetime

from omni_batch.engine.sending.router import EndpointHandle
from omni_batch.errors import EndpointError, Interrupted, ItemTimeout
from omni_batch.planning.prepared_item import PreparedItem
from omni_batch.providers.body import Body
from omni_batch.providers.client import Exchange
from omni_batch.quota import Permit
from omni_batch.store.audio import SpeechFile
from omni_batch.store.run_dir import RunDir
from omni_batch.stream.assemble import Assembler
from omni_batch.types import Answer, Attempt, Response, WavFile

_TEXT_KEPT_CHARS = 20_000  # of a reply that was cut


class OneAttempt:
    """One request and what came of it. `answer` once, then `record`.

    Args:
        number: which attempt of the item in this process, from 1.
        directory: where speech goes.
    """

    def __init__(
        self, number: int, prepared: PreparedItem, handle: EndpointHandle, directory: RunDir
    ) -> None:
        self.number, self.endpoint = number, handle.name
        self._handle, self._directory = handle, directory
        self._item_name = prepared.item.name
        dialect, redactor = handle.client.dialect, handle.client.redactor
        self._voice = dialect.voice_of(prepared.request)
        self._assembler = Assembler(
            wants_audio=prepared.request.wants_audio,
            audio_tokens_per_s=handle.audio_tokens_per_s,
            thinking=prepared.request.thinking,
            thinks_aloud=dialect.thinks_aloud,
            bill_proves_end=dialect.bill_proves_end,
            words=redactor.text,
            answer_words=redactor.answer,
        )
        self._opened_speech: SpeechFile | None = None
        self._exchange: Exchange | None = None
        self._error: Exception | None = None
        self._first_chunk_s: float | None = None
        self._loop = asyncio.get_running_loop()
        self.started_at, self._started_s = datetime.now(UTC), self._loop.time()

    @property
    def _speech(self) -> SpeechFile:
        """Made at the first sound: an answer of text needs no name for a file."""
        if self._opened_speech is None:
            temporary = self._directory.unfinished_speech(self._item_name)
            self._opened_speech = SpeechFile(temporary, self._directory.disk)
        return self._opened_speech

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began, without those in which this process stood still."""
        return self._loop.time() - self._started_s

    async def answer(self, body: Body, permit: Permit, left_s: float) -> Answer:
        """Send the request and take in the whole reply.

        Args:
            left_s: how long it may take.

        Raises:
            OmniBatchError: what it met; `record` has it too.
        """
        try:
            async with asyncio.timeout(left_s) as limit:
                return await self._answer(body, permit, limit)
        except TimeoutError:
            limit_s = self._handle.item_timeout_s
            self._error = ItemTimeout(
                f"no answer within {limit_s:g} s of attempts (retry.item_timeout_s)"
            )
            raise self._error from None
        except asyncio.CancelledError:
            self._error = Interrupted("it was cut off because the run stopped")
            raise
        except Exception as exc:
            self._error = exc
            raise
        finally:
            if self._opened_speech is not None:
                self._opened_speech.discard()

    async def _answer(self, body: Body, permit: Permit, limit: asyncio.Timeout) -> Answer:
        async with self._handle.client.exchange(body, held_s=permit.held_s) as exchange:
            self._exchange = exchange
            permit.admitted(exchange.server_limits)
            await self._take_in(exchange)
        if not limit.expired():
            limit.reschedule(None)  # it is here, and waits for the disk only
        response, last_sound = self._assembler.finish(exchange.ending)
        if last_sound:
            await self._speech.write(last_sound, self._assembler.sample_rate_hz)
        return Answer(response, await self._save(response), self._voice)

    async def _take_in(self, exchange: Exchange) -> None:
        assembler = self._assembler
        async for chunks in exchange:
            if self._first_chunk_s is None:
                self._first_chunk_s = self.elapsed_s
            for chunk in chunks:
                if sound := assembler.feed(chunk):
                    await self._speech.write(sound, assembler.sample_rate_hz)
            exchange.ends_within_s = assembler.ends_within_s

    async def _save(self, response: Response) -> WavFile | None:
        if response.speech is None:
            return None
        path = self._directory.speech(self._item_name)
        sha256 = await self._speech.commit(path, response.speech.sample_rate_hz)
        relative = path.relative_to(self._directory.root).as_posix()
        return WavFile(relative, response.speech, sha256)

    def record(self) -> Attempt:
        """What is known of it, for the table of attempts."""
        refusal = self._error if isinstance(self._error, EndpointError) else None
        heard = self._exchange or refusal
        return Attempt(
            number=self.number,
            started_at=self.started_at,
            latency_s=self.elapsed_s,
            first_chunk_s=self._first_chunk_s,
            http_status=heard.http_status if heard else None,
            request_id=self._request_id(refusal),
            usage=self._assembler.usage,
            text_chars=self._assembler.text_chars,
            audio_s=self._assembler.audio_s,
            error=self._error,
            endpoint=self.endpoint,
            voice=self._voice,
            text=self._assembler.arrived(_TEXT_KEPT_CHARS) if self._error else None,
        )

    def _request_id(self, refusal: EndpointError | None) -> str | None:
        named = self._exchange.request_id if self._exchange else None
        return named or self._assembler.response_id or (refusal.request_id if refusal else None)
