"""The HTTP edge: one POST, a stream of chunks. Exceptions of the HTTP libraries end here."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import httpx

from omni_batch.config import RetryConfig
from omni_batch.errors import EndpointError, NoResponse, StreamError, own_error
from omni_batch.providers.api_key import ApiKey
from omni_batch.providers.body import Body
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.http_client import HTTP_ERRORS, failure_of, http_client
from omni_batch.stream.rate_limit_headers import server_limits
from omni_batch.stream.service_errors import classify, request_id_of
from omni_batch.text import one_line
from omni_batch.types import Chunk

_START_BYTES = 64 * 1024
_MAX_REPLY_BYTES = 2**31
"""Above what the longest speech takes: the bound of a reply that is nothing but padding."""
_AFTER_DONE_S = 1.0


class EndpointClient:
    """One base URL with its key. Safe to share by all requests of one event loop."""

    def __init__(
        self,
        base_url: str,
        key: ApiKey | None,
        dialect: Dialect,
        retry: RetryConfig,
        connections: int,
    ) -> None:
        self.http = http_client(base_url, key, retry.connect_timeout_s, connections)
        self.dialect, self.key = dialect, key
        self.idle_timeout_s = retry.idle_timeout_s
        self._first_byte_s = retry.first_byte_timeout_s or dialect.first_byte_timeout_s

    async def aclose(self) -> None:
        """Close all connections."""
        await self.http.aclose()

    @asynccontextmanager
    async def exchange(self, body: Body, *, held_s: int | None = None) -> AsyncIterator["Exchange"]:
        """Send one request; yields once the service has started to answer it with a stream.

        Args:
            held_s: how long the service should hold it rather than refuse it as a burst.

        Raises:
            EndpointError: it refused, or could not be reached.
            StreamError: it sent nothing for too long or broke off, also while the caller reads.
        """
        exchange: Exchange | None = None
        try:
            async with asyncio.timeout(self._first_byte_s + (held_s or 0)) as deadline:
                async with self.http.stream(
                    "POST",
                    "/chat/completions",
                    content=body.content(),
                    headers=self._headers(body, held_s),
                ) as response:
                    await _check(response, self, body)
                    exchange = Exchange(response, self, deadline)
                    yield exchange
        except TimeoutError:
            raise self._timed_out(exchange) from None
        except HTTP_ERRORS as exc:
            raise own_error(exc) or failure_of(exc, started=_started(exchange)) from None

    def refusal(self, response: httpx.Response, said: bytes, sent: Body) -> EndpointError:
        """What an answer means that is no reply.

        Args:
            said: the beginning of its body.
            sent: the request.
        """
        return classify(
            response.status_code,
            said,
            response.headers,
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
        self.request_id = request_id_of(response.headers)
        self.server_limits = server_limits(response.headers)
        self.started = False
        self.ending: Ending = "orderly"
        """How the body ended, once the iteration has."""
        self.ends_within_s: float | None = None
        """For the caller to set: the reply is whole, so its end is waited for no longer."""
        self._response, self._client, self._deadline = response, client, deadline
        self._decoder = ReplyDecoder(self._error_of, self._words)
        self._received_bytes = 0

    async def __aiter__(self) -> AsyncIterator[list[Chunk]]:
        pieces = _unpacked(self._response)
        async for data in pieces:
            if chunks := self._chunks(data):
                yield chunks
                if self._decoder.done or self.ends_within_s is not None:
                    break
        if not self._decoder.done:
            async for chunks in self._to_its_end(pieces):
                yield chunks
        if self._decoder.done:
            self._deadline.stop()
            await _drain(pieces)
        # The service's own mark for a reply cut by its time limit (Model Studio error codes). A
        # gateway passes it on under a longer name.
        for name, value in self._response.headers.items():
            if name.endswith(_PARTIAL_REPLY) and value.strip().lower() not in _NO:
                raise StreamError("the service cut the reply at its time limit (partial response)")

    async def _to_its_end(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[list[Chunk]]:
        """What may follow the end of the answer: a bill, an end mark, silence."""
        self._deadline.stop()
        while not self._decoder.done:
            data = await self._next(pieces)
            if data is None:
                break
            if chunks := self._chunks(data):
                yield chunks
        if not self._decoder.done and (chunks := self._decoder.end()):
            yield chunks
        if self._decoder.torn and self.ending == "orderly":
            self.ending = "torn"

    async def _next(self, pieces: AsyncIterator[bytes]) -> bytes | None:
        """The next piece; None at the end, however it comes."""
        try:
            async with asyncio.timeout(self.ends_within_s):
                return await anext(pieces)
        except StopAsyncIteration:
            pass
        except TimeoutError:
            self.ending = "silent"
        except (httpx.HTTPError, aiohttp.ClientError):
            self.ending = "broken"
        return None

    def _chunks(self, data: bytes) -> list[Chunk]:
        self._received_bytes += len(data)
        if self._received_bytes > _MAX_REPLY_BYTES:
            raise StreamError(f"the reply exceeded {_MAX_REPLY_BYTES} bytes without an end")
        chunks = self._decoder.feed(data)
        if any(chunk.has_content for chunk in chunks):
            self._reset_idle_timer()
        elif not self.started and self._decoder.is_whole_reply:
            self._reset_idle_timer()  # it is one piece, which has begun to come
        return chunks

    def _error_of(self, said: bytes) -> EndpointError:
        return classify(
            200,  # the status is spent: what was meant stands in the body
            self._words(said),
            self._response.headers,
            quota_is_transient=self._client.dialect.quota_is_transient,
        )

    def _words(self, said: bytes) -> bytes:
        key = self._client.key
        return key.cut_out_of(said) if key else said

    def _reset_idle_timer(self) -> None:
        """A part of the answer has come; the next one may take as long again.

        Comments, empty events and empty deltas put nothing off: a server that sends only signs of
        life is silent.
        """
        self.started = True
        self._deadline.put_off(self._client.idle_timeout_s)


async def _unpacked(response: httpx.Response) -> AsyncIterator[bytes]:
    unpacker = Unpacker(response.headers.get("content-encoding", ""))
    async for data in response.aiter_raw():
        for piece in unpacker.feed(data):
            yield piece
    for piece in unpacker.end():
        yield piece


def _started(exchange: Exchange | None) -> bool:
    return exchange is not None and exchange.started


async def _drain(stream: AsyncIterator[bytes]) -> None:
    """Read on to the end of the body, which frees the connection for the next request.

    The reply is whole by now: a server that never ends it, or ends it badly, costs a connection.
    """
    with suppress(TimeoutError, httpx.HTTPError, aiohttp.ClientError):
        async with asyncio.timeout(_AFTER_DONE_S):
            async for _ in stream:
                pass


async def _check(response: httpx.Response, client: EndpointClient, sent: Body) -> None:
    # The headers get no name: they may echo the key, and a traceback shows the values of all names.
    succeeded = response.status_code == 200
    encoding = response.headers.get("content-encoding", "identity").lower()
    packed = encoding not in ("", "identity")  # never unpacked: it may be a bomb
    if succeeded and packed:
        raise StreamError(
            f"the service sent a reply compressed as {encoding[:20]!r}, which was not requested"
        )
    content_type = response.headers.get("content-type", "")
    other = ("json", "html") if client.dialect.streams else ("html",)
    if succeeded and not any(name in content_type for name in other):
        return
    body = b"" if packed else await read_start(response, client.key)
    if succeeded and b'"error"' not in body[:200]:
        start = one_line(body[:200].decode(errors="replace"))
        raise StreamError(f"the service returned {content_type[:80]}, not a stream: {start!r}")
    raise client.refusal(response, body or _redirect(response), sent)


async def read_start(response: httpx.Response, key: ApiKey | None) -> bytes:
    """The first 64 KiB of a reply, or a little more, without the key that it may echo."""
    start = b""
    async for data in response.aiter_raw():
        start += data
        if len(start) > _START_BYTES:
            break
    return key.cut_out_of(start) if key else start


def _redirect(response: httpx.Response) -> bytes:
    if not response.has_redirect_location:
        return b""
    host = response.headers["location"].partition("?")[0][:200]
    return f"it redirects to {host}, which must not get the key; set endpoint.base_url".encode()
