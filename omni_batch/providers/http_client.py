"""The HTTP libraries: a client for one base URL, and what their exceptions mean."""

import errno
import functools
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from httpx_aiohttp import AiohttpTransport

from omni_batch._version import __version__
from omni_batch.errors import ConfigError, EndpointError, StreamError, Unavailable
from omni_batch.providers.api_key import ApiKey
from omni_batch.providers.environment import Proxies, Proxy
from omni_batch.text import one_line

HTTP_ERRORS = (httpx.HTTPError, aiohttp.ClientError, httpx.StreamError, UnicodeError)
"""Their frames hold the request's headers: ours are raised `from None`, to keep those hidden."""
_IN_WORDS = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset by the other side",
    errno.EPIPE: "closed by the other side",
    errno.ETIMEDOUT: "nobody answers",
    errno.ENETUNREACH: "there is no way to its network",
    errno.EHOSTUNREACH: "there is no way to the host",
    errno.EADDRNOTAVAIL: "this machine has no free port or address for it",
    errno.EACCES: "this machine forbids it",
    errno.EPERM: "this machine forbids it",
    errno.EMFILE: "this process has too many files open",
    errno.ENFILE: "this machine has too many files open",
}
_BEHIND_IT = (
    *(aiohttp.ClientOSError, aiohttp.ServerDisconnectedError, aiohttp.ClientResponseError),
    *(aiohttp.ClientPayloadError, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError),
)
_LINE_BYTES = 64 * 1024
"""Of a reply's head: an answer behind a longer one than the library's 8 kB has been paid for."""
_CHUNKED = re.compile(rb"(?im)^transfer-encoding:[^\r\n]*chunked")
_LENGTH = re.compile(rb"(?im)^content-length:")


class HttpClient(httpx.AsyncClient):
    """Whose one transport can be asked directly as well."""

    def __init__(self, transport: httpx.AsyncBaseTransport, **how: Any) -> None:
        super().__init__(transport=transport, **how)
        self.transport = transport


def http_client(
    base_url: str, key: ApiKey | None, connect_timeout_s: float | None, connections: int
) -> HttpClient:
    """A client for one base URL; every request has the key.

    Raises:
        ConfigError: proxies or certificates of the environment can't be used.
    """
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",  # a gateway that compresses events also holds them back
        "User-Agent": f"omni-batch/{__version__}",
    }
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    client = HttpClient(
        _transport(limits),
        base_url=base_url,
        headers=headers,
        timeout=httpx.Timeout(None, connect=connect_timeout_s),
        follow_redirects=False,  # the key goes to no other host
    )
    if key is not None:
        client.headers["Authorization"] = key.authorization
    return client


class Poster:
    """Posts to one path of a client, with its headers and by its transport.

    The client would look for cookies, redirects, hooks and logins with each request, none of which
    there are: a quarter of the CPU of a whole exchange of 60 events.
    """

    def __init__(self, client: HttpClient, path: str) -> None:
        self._template = client.build_request("POST", path)
        del self._template.headers["content-length"]
        self._transport = client.transport

    @asynccontextmanager
    async def stream(
        self, content: bytes | AsyncIterator[bytes], headers: Mapping[str, str]
    ) -> AsyncIterator[httpx.Response]:
        """Send one request; yields once the service has started to answer it.

        Raises:
            httpx.HTTPError, aiohttp.ClientError: of `HTTP_ERRORS`.
        """
        like = self._template
        # At once: without a length among them httpx would add that the body comes in chunks.
        own = httpx.Headers(like.headers)
        own.update(headers)
        request = httpx.Request("POST", like.url, headers=own, content=content)
        request.extensions = like.extensions
        try:
            response = await self._transport.handle_async_request(request)
        except httpx.RequestError as exc:
            exc.request = request
            raise
        response.request = request
        try:
            yield response
        finally:
            await response.aclose()


def _transport(limits: httpx.Limits) -> httpx.AsyncBaseTransport:
    proxies = Proxies.of_environment()
    try:
        trusted = httpx.create_ssl_context()
    except (OSError, ValueError) as exc:
        raise ConfigError(
            f"TLS can't be set up: {exc}; look at SSL_CERT_FILE, SSL_CERT_DIR, SSLKEYLOGFILE and "
            "OPENSSL_CONF"
        ) from None
    if not proxies.by_scheme:
        return _direct(trusted, limits)
    return _ByEnvironment(proxies, trusted, limits)


def _direct(trusted: ssl.SSLContext, limits: httpx.Limits) -> AiohttpTransport:
    def session() -> aiohttp.ClientSession:
        connector = _Connector(
            limit=limits.max_connections or 0,
            keepalive_timeout=limits.keepalive_expiry,
            ssl=trusted,
        )
        return aiohttp.ClientSession(
            connector=connector, max_line_size=_LINE_BYTES, max_field_size=_LINE_BYTES
        )

    return AiohttpTransport(verify=trusted, limits=limits, client=session)


class _Connector(aiohttp.TCPConnector):
    """Connections that read replies as servers send them."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self._factory = functools.partial(_ReplyHandler, loop=self._loop)  # type: ignore[assignment]


class _ReplyHandler(ResponseHandler):
    """Two things that aiohttp knows nothing of."""

    _waits_for_head = False

    def set_response_params(self, **params: Any) -> None:
        self._waits_for_head = True
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        if self._waits_for_head:
            self._waits_for_head = False
            data = self._without_a_second_length(data)
        super().data_received(data)

    def feed_data(self, data: Any, size: int = 0) -> None:
        message, _ = data
        if message.code >= httpx.codes.INTERNAL_SERVER_ERROR:
            self.force_close()  # many servers hang up behind such an answer and don't say so
        super().feed_data(data, size)

    def _without_a_second_length(self, data: bytes) -> bytes:
        """Chunks outweigh a length (RFC 9112, 6.3); the connection is not used again."""
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end or not (_CHUNKED.search(head) and _LENGTH.search(head)):
            return data
        self.force_close()
        return _LENGTH.sub(b"X-Not-The-Length:", head) + end + rest


class _ThroughProxy(httpx.ProxyError):
    """A failure on the way through a proxy."""

    def __init__(self, message: str, proxy: Proxy) -> None:
        super().__init__(message)
        self.proxy = proxy


class _ByEnvironment(httpx.AsyncBaseTransport):
    """Each request goes directly, or through the proxy that the environment names for its host.

    httpx reads the same variables, but ends at entries that it can't read, and knows no networks.
    """

    def __init__(self, proxies: Proxies, trusted: ssl.SSLContext, limits: httpx.Limits) -> None:
        self._proxies, self._trusted, self._limits = proxies, trusted, limits
        self._proxy_of: dict[tuple[str, str, int | None], Proxy | None] = {}
        self._transports: dict[Proxy | None, httpx.AsyncBaseTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        proxy = self._proxy(request.url)
        if proxy not in self._transports:
            self._transports[proxy] = self._open(proxy)
        if proxy is None:
            return await self._transports[None].handle_async_request(request)
        try:
            response = await self._transports[proxy].handle_async_request(request)
        except httpx.TransportError as exc:
            raise _ThroughProxy(str(exc), proxy) from exc
        if response.status_code == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
            await response.aclose()
            raise _ThroughProxy("it wants a login, as in http://USER:PASSWORD@HOST:PORT", proxy)
        return response

    async def aclose(self) -> None:
        for transport in self._transports.values():
            await transport.aclose()

    def _proxy(self, url: httpx.URL) -> Proxy | None:
        place = url.scheme, url.host, url.port
        if place not in self._proxy_of:
            try:
                self._proxy_of[place] = self._proxies.for_url(str(url))
            except ConfigError as exc:  # a host that was not known when the run was planned
                raise httpx.ProxyError(str(exc)) from None
        return self._proxy_of[place]

    def _open(self, proxy: Proxy | None) -> httpx.AsyncBaseTransport:
        # aiohttp moves the same stream for two thirds of the CPU, but knows no SOCKS.
        if proxy is None:
            return _direct(self._trusted, self._limits)
        try:
            way = httpx.Proxy(proxy.url)
        except (httpx.InvalidURL, ValueError):
            raise httpx.ProxyError(
                f"{proxy} can't be used; is its login percent-encoded?"
            ) from None
        return httpx.AsyncHTTPTransport(verify=self._trusted, limits=self._limits, proxy=way)


def failure_of(
    exc: Exception, *, started: bool, words: Callable[[str], str] = str
) -> EndpointError | StreamError:
    """What an exception of the HTTP libraries means for a request.

    Args:
        started: whether a part of the answer has come.
        words: makes what the service said fit to be shown.
    """
    reason, there = words(reason_of(exc)), _destination(exc)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(exc)):
        return Unavailable(
            f"the certificate{there and f' of {there}'} is not trusted: {reason}; if it is your "
            "own server, set the environment variable SSL_CERT_FILE to the file of its authority"
        )
    if started:
        return StreamError(f"the connection broke off: {reason}")
    if _is_connected(exc):
        return Unavailable(f"no answer{there and f' from {there}'}: {reason}")
    return Unavailable(f"no connection{there and f' to {there}'}: {reason}")


def hung_up(exc: Exception) -> bool:
    """Whether a connection that stood was closed or reset by the other side."""
    return _is_connected(exc) and not any(
        isinstance(cause, aiohttp.ClientResponseError)
        or (isinstance(cause, httpx.RemoteProtocolError) and "disconnected" not in str(cause))
        for cause in _causes(exc)
    )


def never_sent(exc: Exception) -> bool:
    """Whether no connection came about, so that nobody has heard of the request."""
    refused = isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError)
    return refused and not _is_connected(exc)


def reason_of(exc: Exception) -> str:
    """What an exception of the HTTP libraries says, in one line of plain English."""
    causes = list(_causes(exc))
    for cause in causes:
        if words := _words(cause):
            return words
    if any(isinstance(cause, TimeoutError | httpx.TimeoutException) for cause in causes):
        return "nobody answers"
    return one_line(str(exc))[:300] or type(exc).__name__


def _words(cause: BaseException) -> str | None:
    match cause:
        case aiohttp.ServerDisconnectedError():
            return "the server closed the connection"
        case aiohttp.ClientError():  # some are errors of ssl and of the system by name only
            return None
        case ssl.SSLError() | socket.gaierror() | httpx.RemoteProtocolError():
            return _words_of_protocol(cause)
        case OSError(errno=int(number)):
            return _IN_WORDS.get(number)
        case _:
            return None


def _words_of_protocol(cause: BaseException) -> str | None:
    match cause:
        case ssl.SSLCertVerificationError():
            return cause.verify_message or "no reason given"
        case ssl.SSLError():
            reason = (cause.reason or "no reason given").replace("_", " ").lower()
            return f"TLS failed ({reason}); is it https at this port?"
        case socket.gaierror():
            later = " at the moment" if cause.errno == socket.EAI_AGAIN else ""
            return f"its name can't be resolved{later}"
        case _:
            gone = "disconnected" in str(cause)
            return "the server closed the connection" if gone else None


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """An exception, and all that it came from."""
    waiting, seen = [exc], set[int]()
    while waiting:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        members = cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()
        inner: Any = getattr(cause, "os_error", None)
        waiting += filter(None, (inner, cause.__cause__, cause.__context__, *members))


def _is_connected(exc: Exception) -> bool:
    """Whether it failed behind the connection. The libraries' classes for it overlap."""
    return any(
        isinstance(cause, _BEHIND_IT) and not isinstance(cause, aiohttp.ClientConnectorError)
        for cause in _causes(exc)
    )


def _destination(exc: Exception) -> str:
    """Host, port and proxy of a failed request, as far as they are known."""
    try:
        url = exc.request.url if isinstance(exc, httpx.RequestError) else None
    except RuntimeError:  # none was sent
        url = None
    proxy = f" through {exc.proxy}" if isinstance(exc, _ThroughProxy) else ""
    return f"{url.netloc.decode()}{proxy}" if url else ""
