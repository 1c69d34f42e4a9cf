"""The HTTP edge: one POST, a stream of chunks. Exceptions of the HTTP libraries end here."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import httpx

from omni_batch.config import RetryConfig
from omni_batch.errors import EndpointError, NoResponse, StreamError, Unavailable, own_error
from omni_batch.providers.api_key import ApiKey, KeyRedactor
from omni_batch.providers.body import Body
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.http_client import HTTP_ERRORS, Poster, failure_of, http_client, hung_up
from omni_batch.providers.unpack import Unpacker
from omni_batch.stream.assemble import Ending
from omni_batch.stream.rate_limit_headers import server_limits
from omni_batch.stream.reply import ReplyDecoder
from omni_batch.stream.service_errors import classify, request_id_of
from omni_batch.types import Chunk

_START_BYTES = 64 * 1024
_MAX_REPLY_BYTES = 2**31
"""Above what the longest speech takes: the bound of a reply that is nothing but padding."""
_AFTER_DONE_S = 1.0
_TO_READ_S = 0.5
"""For what has come while this process could not read, at the end of a timeout."""
_PARTIAL_REPLY = "x-dashscope-partialresponse"
_YES = frozenset({"true", "1", "yes"})


class EndpointClient:
    """One base URL with its key. Safe to share by all requests of one event loop.

    Args:
        redactor: takes keys out of what the service says; None knows this endpoint's only.
    """

    def __init__(
        self,
        base_url: str,
        key: ApiKey | None,
        dialect: Dialect,
        retry: RetryConfig,
        connections: int,
        redactor: KeyRedactor | None = None,
    ) -> None:
        self.http = http_client(base_url, key, retry.connect_timeout_s, connections)
        self._poster = Poster(self.http, "/chat/completions")
        self.dialect = dialect
        self.redactor = redactor or KeyRedactor([key])
        self.idle_timeout_s = retry.idle_timeout_s
        self._first_byte_s = retry.first_byte_timeout_s or dialect.first_byte_timeout_s

    async def aclose(self) -> None:
        """Close all connections."""
        await self.http.aclose()

    @asynccontextmanager
    async def exchange(self, body: Body, *, held_s: int | None = None) -> AsyncIterator["Exchange"]:
        """Send one request; yields once the service has started to answer it.

        Args:
            held_s: how long the service should hold it rather than refuse it as a burst.

        Raises:
            EndpointError: it refused, or could not be reached.
            StreamError: it sent nothing for too long or broke off, also while the caller reads.
        """
        exchange: Exchange | None = None
        try:
            async with (
                _Deadline(self._first_byte_s + (held_s or 0)) as deadline,
                self._poster.stream(body.content(), self._headers(body, held_s)) as response,
            ):
                if not response.is_success:
                    raise await self._refusal(response, body)
                exchange = Exchange(response, self, deadline)
                yield exchange
        except TimeoutError:
            raise self._timed_out(exchange) from None
        except HTTP_ERRORS as exc:
            error = own_error(exc) or failure_of(
                exc, started=_started(exchange), words=self.redactor.text
            )
            if isinstance(error, Unavailable):
                error.unanswered = exchange is None and hung_up(exc)
            raise error from None

    async def _refusal(self, response: httpx.Response, sent: Body) -> EndpointError:
        said = await read_start(response, self.redactor)
        await _hang_up(response)
        return classify(
            response.status_code,
            _redirect(response, self.redactor) or said,
            self.redactor.headers(response.headers.items()),
            quota_is_transient=self.dialect.quota_is_transient,
            fetches_media=self.dialect.fetches_itself and sent.names_urls,
        )

    def _headers(self, body: Body, held_s: int | None) -> dict[str, str]:
        hold = self.dialect.hold_header if held_s else None
        held = {hold: str(held_s)} if hold else {}
        return {"Content-Length": str(body.content_length), **body.headers, **held}

    def _timed_out(self, exchange: "Exchange | None") -> EndpointError | StreamError:
        if not _started(exchange):
            return NoResponse(
                f"no answer within {self._first_byte_s:g} s (retry.first_byte_timeout_s)"
            )
        return StreamError(
            f"the stream sent nothing for {self.idle_timeout_s:g} s (retry.idle_timeout_s)"
        )


class Exchange:
    """An answer in progress: iterate it once for lists of chunks, one for each network read."""

    def __init__(
        self, response: httpx.Response, client: EndpointClient, deadline: "_Deadline"
    ) -> None:
        self.http_status = response.status_code
        self.request_id = client.redactor.text(request_id_of(response.headers) or "") or None
        self.server_limits = server_limits(response.headers)
        self.started = False
        self.ending: Ending = "orderly"
        """How the body ended, once the iteration has."""
        self.ends_within_s: float | None = None
        """For the caller to set: the reply is whole, so its end is waited for no longer."""
        self._response, self._client, self._deadline = response, client, deadline
        self._unpacker = Unpacker(response.headers.get("content-encoding", ""))
        self._decoder = ReplyDecoder(self._error_of, client.redactor.raw)
        self._received_bytes = 0

    async def __aiter__(self) -> AsyncIterator[list[Chunk]]:
        stream = self._response.aiter_raw()
        async for data in stream:
            if chunks := self._chunks(data):
                yield chunks
            if self._decoder.done or self.ends_within_s is not None:
                break
        async for chunks in self._to_its_end(stream):
            yield chunks
        # The service's own mark for a reply cut by its time limit (Model Studio error codes), which
        # gateways pass on under a longer name.
        for name, value in self._response.headers.items():
            if name.endswith(_PARTIAL_REPLY) and value.strip().lower() in _YES:
                raise StreamError("the service cut the reply at its time limit (partial response)")

    async def _to_its_end(self, stream: AsyncIterator[bytes]) -> AsyncIterator[list[Chunk]]:
        """What may follow a whole answer: its bill, the end mark, silence, the end of the body."""
        self._deadline.stop()
        within_s, until_s = None, None
        while not self._decoder.done:
            if within_s != self.ends_within_s:
                within_s = self.ends_within_s
                until_s = within_s and asyncio.get_running_loop().time() + within_s
            if (data := await self._next(stream, until_s)) is None:
                break
            if chunks := self._chunks(data):
                yield chunks
        if self._decoder.done:
            self._deadline.stop()
            await _drain(stream)
        elif chunks := [*self._decoder.feed(self._unpacker.end()), *self._decoder.end()]:
            yield chunks
        if self._decoder.torn and self.ending == "orderly":
            self.ending = "torn"

    async def _next(self, stream: AsyncIterator[bytes], until_s: float | None) -> bytes | None:
        """The next piece; None at the end, however it comes."""
        try:
            async with asyncio.timeout_at(until_s):
                return await anext(stream)
        except StopAsyncIteration:
            return None
        except TimeoutError:
            self.ending = "silent"
        except HTTP_ERRORS:
            self.ending = "broken"
        return None

    def _chunks(self, data: bytes) -> list[Chunk]:
        chunks: list[Chunk] = []
        for piece in self._unpacker.feed(data):
            self._received_bytes += len(piece)
            if self._received_bytes > _MAX_REPLY_BYTES:
                raise StreamError(f"the reply exceeded {_MAX_REPLY_BYTES} bytes without an end")
            chunks += self._decoder.feed(piece)
        if any(chunk.has_content for chunk in chunks):
            self._reset_idle_timer()
        elif not self.started and self._decoder.is_whole_reply:
            self._reset_idle_timer()  # it is one piece, which has begun to come
        return chunks

    def _error_of(self, said: bytes) -> EndpointError:
        redactor = self._client.redactor
        return classify(
            200,  # the status is spent: what was meant stands in the body
            redactor.raw(said),
            redactor.headers(self._response.headers.items()),
            quota_is_transient=self._client.dialect.quota_is_transient,
        )

    def _reset_idle_timer(self) -> None:
        """A part of the answer has come; the next one may take as long again.

        Comments, empty events and empty deltas put nothing off: a server that sends only signs of
        life is silent.
        """
        self.started = True
        self._deadline.put_off(self._client.idle_timeout_s)


class _Deadline:
    """Ends the block with TimeoutError when it is over, but not before what lies unread was read.

    This process may have been stopped for longer than the server was silent.
    """

    def __init__(self, seconds: float) -> None:
        self._timeout = asyncio.timeout(None)
        self._loop = asyncio.get_running_loop()
        self._at_s: float | None = self._loop.time() + seconds
        self._is_last_chance = False
        self._timer = self._loop.call_at(self._at_s, self._look)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(*error)

    def put_off(self, seconds: float) -> None:
        """From now on, so many seconds. Cheap: a timer that fires early is moved."""
        is_off, at_s = self._at_s is None, self._loop.time() + seconds
        self._at_s, self._is_last_chance = at_s, False
        if is_off or at_s < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(at_s, self._look)

    def stop(self) -> None:
        """There is none any more."""
        self._at_s = None
        self._timer.cancel()

    def _look(self) -> None:
        now_s = self._loop.time()
        if self._at_s is None:
            return
        if now_s < self._at_s:
            self._timer = self._loop.call_at(self._at_s, self._look)
        elif not self._is_last_chance:
            self._is_last_chance = True
            self._timer = self._loop.call_later(_TO_READ_S, self._look)
        else:
            self._timeout.reschedule(now_s)


def _started(exchange: Exchange | None) -> bool:
    return exchange is not None and exchange.started


async def _drain(stream: AsyncIterator[bytes]) -> None:
    """Read on to the end of the body, which frees the connection for the next request.

    The reply is whole by now: a server that never ends it, or ends it badly, costs a connection.
    """
    with suppress(TimeoutError, *HTTP_ERRORS):
        async with asyncio.timeout(_AFTER_DONE_S):
            async for _ in stream:
                pass


async def _hang_up(response: httpx.Response) -> None:
    """Many servers hang up behind an error of theirs and don't say so."""
    if response.is_server_error and (stream := response.extensions.get("network_stream")):
        await stream.aclose()


async def read_start(response: httpx.Response, redactor: KeyRedactor) -> bytes:
    """The first 64 KiB of a reply, or a little more, without the keys that it may echo."""
    start, unpacker = b"", Unpacker(response.headers.get("content-encoding", ""))
    with suppress(StreamError):  # packed in a way that is not understood
        async for data in response.aiter_raw():
            for piece in unpacker.feed(data):
                start += piece
                if len(start) > _START_BYTES:
                    return redactor.raw(start)
    return redactor.raw(start + unpacker.end())


def _redirect(response: httpx.Response, redactor: KeyRedactor) -> bytes:
    if not response.has_redirect_location:
        return b""
    place = redactor.text(response.headers["location"].partition("?")[0])[:200]
    return f"it redirects to {place}, which must not get the key; set endpoint.base_url".encode()
