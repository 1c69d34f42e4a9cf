"""The thin line that talks: one POST, a stream of chunks, every foreign exception ended here."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.request import getproxies

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from omni_batch import __version__
from omni_batch.config import RetryConfig
from omni_batch.endpoints.body import Body
from omni_batch.endpoints.dialect import Dialect
from omni_batch.errors import EndpointError, StreamError, Unavailable, own_error
from omni_batch.failures import classify, request_id_of
from omni_batch.sse import DONE, MAX_EVENT_BYTES, SseDecoder
from omni_batch.told import told_limits
from omni_batch.types import Chunk

_ERROR_BODY_BYTES = 64 * 1024
_AFTER_DONE_S = 1.0


class Endpoint:
    """One base URL with its key. Safe to share by all requests of one event loop."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        dialect: Dialect,
        retry: RetryConfig,
        connections: int,
    ) -> None:
        self.base_url = base_url
        self.dialect = dialect
        self.http = _http_client(base_url, api_key, retry.connect_timeout_s, connections)
        self._first_byte_s = retry.first_byte_timeout_s or dialect.first_byte_timeout_s
        self._idle_s = retry.idle_timeout_s

    async def aclose(self) -> None:
        """Close all connections."""
        await self.http.aclose()

    @asynccontextmanager
    async def exchange(self, body: Body, *, held_s: int | None = None) -> AsyncIterator["Exchange"]:
        """Send one request; yields once the service has begun to answer it with a stream.

        Args:
            held_s: how long the service should hold it rather than call it a surge.

        Raises:
            EndpointError: it said no, or could not be reached.
            StreamError: it fell silent or broke off, also while the caller reads.
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
                    await _check(response, self.dialect)
                    exchange = Exchange(response, self.dialect, deadline, self._idle_s)
                    yield exchange
        except TimeoutError as exc:
            raise self._silence(exchange) from exc
        except (httpx.HTTPError, aiohttp.ClientError, httpx.StreamError) as exc:
            raise own_error(exc) or _broken(exc, exchange) from exc

    def _headers(self, body: Body, held_s: int | None) -> dict[str, str]:
        hold = self.dialect.hold_header if held_s else None
        held = {hold: str(held_s)} if hold else {}
        return {"Content-Length": str(body.content_length), **body.headers, **held}

    def _silence(self, exchange: "Exchange | None") -> EndpointError | StreamError:
        if exchange is None or not exchange.begun:
            return Unavailable(
                f"no answer within {self._first_byte_s:g} s (retry.first_byte_timeout_s)"
            )
        return StreamError(f"the stream fell silent for {self._idle_s:g} s (retry.idle_timeout_s)")


class Exchange:
    """An answer under way: iterate it once for lists of chunks, one list for each network read."""

    def __init__(
        self,
        response: httpx.Response,
        dialect: Dialect,
        deadline: asyncio.Timeout,
        idle_timeout_s: float,
    ) -> None:
        self.http_status = response.status_code
        self.request_id = request_id_of(response.headers)
        self.told = told_limits(response.headers)
        self.begun = False
        self._response = response
        self._dialect = dialect
        self._deadline = deadline
        self._idle_timeout_s = idle_timeout_s

    async def __aiter__(self) -> AsyncIterator[list[Chunk]]:
        async for chunks in self._events() if self._dialect.streams else self._whole():
            yield chunks
        self._check_whole()

    async def _whole(self) -> AsyncIterator[list[Chunk]]:
        """The one JSON reply of a server that does not stream."""
        data = b""
        async for piece in self._response.aiter_raw():
            self.begun = True
            self._allow(self._idle_timeout_s)
            data += piece
            if len(data) > MAX_EVENT_BYTES:
                raise StreamError(f"the reply passed {MAX_EVENT_BYTES} bytes without an end")
        yield [self._dialect.decode(data), Chunk(done=True)]

    async def _events(self) -> AsyncIterator[list[Chunk]]:
        decoder = SseDecoder()
        stream = self._response.aiter_raw()
        async for data in stream:
            self.begun = True
            self._allow(self._idle_timeout_s)
            if payloads := decoder.feed(data):
                yield [self._dialect.decode(payload) for payload in payloads]
                if DONE in payloads:
                    self._deadline.reschedule(None)
                    await _drain(stream)
                    break
        else:
            if decoder.close():
                yield [Chunk(done=True)]

    def _allow(self, seconds: float) -> None:
        self._deadline.reschedule(asyncio.get_running_loop().time() + seconds)

    def _check_whole(self) -> None:
        # The service's own mark for a reply cut by its time limit (Model Studio error codes).
        if self._response.headers.get("x-dashscope-partialresponse", "").lower() == "true":
            raise StreamError("the service cut the reply at its time limit (partial response)")


async def _drain(stream: AsyncIterator[bytes]) -> None:
    """Read on to the end of the body, which frees the connection for the next request.

    The reply is whole by now: a server that never ends it, or ends it badly, costs a connection.
    """
    with suppress(TimeoutError, httpx.HTTPError, aiohttp.ClientError):
        async with asyncio.timeout(_AFTER_DONE_S):
            async for _ in stream:
                pass


async def _check(response: httpx.Response, dialect: Dialect) -> None:
    content_type = response.headers.get("content-type", "")
    other = ("json", "html") if dialect.streams else ("html",)
    if response.status_code == 200 and not any(name in content_type for name in other):
        return
    body = b""
    async for data in response.aiter_raw():
        body += data
        if len(body) > _ERROR_BODY_BYTES:
            break
    if response.status_code == 200 and b'"error"' not in body[:200]:
        raise StreamError(f"the service answered {content_type}, not a stream: {body[:200]!r}")
    raise classify(
        response.status_code,
        body,
        dict(response.headers),
        quota_is_transient=dialect.quota_is_transient,
    )


def _broken(exc: Exception, exchange: Exchange | None) -> EndpointError | StreamError:
    reason = str(exc) or type(exc).__name__
    if exchange is None or not exchange.begun:
        return Unavailable(f"no connection: {reason}")
    return StreamError(f"the connection broke off: {reason}")


def _http_client(
    base_url: str, api_key: str | None, connect_timeout_s: float, connections: int
) -> httpx.AsyncClient:
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",  # a gateway that compresses events also holds them back
        "User-Agent": f"omni-batch/{__version__}",
    }
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    # aiohttp moves the same stream for two thirds of the CPU, but knows no proxy variables.
    direct = not getproxies() or _is_loopback(base_url)
    return httpx.AsyncClient(
        base_url=base_url,
        headers=headers,
        timeout=httpx.Timeout(None, connect=connect_timeout_s),
        limits=limits,
        transport=AiohttpTransport(limits=limits) if direct else None,
        follow_redirects=False,  # the key goes to no other host
    )


def _is_loopback(base_url: str) -> bool:
    host = httpx.URL(base_url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
