"""The HTTP edge to media hosts: public addresses only, checked redirects, errors in our words."""

import ipaddress
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
from yarl import URL

from omni_batch._version import __version__
from omni_batch.errors import MediaError, MediaUnreachable, OmniBatchError
from omni_batch.providers.environment import Proxies
from omni_batch.providers.http_client import reason_of

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429})  # 4xx that mean: later
_HEADERS = {"User-Agent": f"omni-batch/{__version__}", "Accept-Encoding": "identity"}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class WebSession:
    """Asks media hosts. Sends no cookies, netrc logins or credentials.

    Connects to the hosts themselves: proxies of the environment are not used, since behind a
    proxy nobody knows which address is reached.

    Make it where an event loop runs.

    Args:
        allow_private: whether loopback, private and other local addresses may be reached.
        connect_timeout_s: for name, connection and TLS together.
        idle_timeout_s: longest silence while the answer is awaited or read.
        connections: most at once; 0 is no limit.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        connect_timeout_s: float = 15,
        idle_timeout_s: float = 60,
        connections: int = 0,
    ) -> None:
        self._allow_private = allow_private
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, socket_factory=self._socket),
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(connect=connect_timeout_s, sock_read=idle_timeout_s),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.close()

    @asynccontextmanager
    async def opened(
        self, reference: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> AsyncIterator["WebReply"]:
        """The reply to one request, after redirects; unread.

        Raises:
            MediaError: gone, forbidden, compressed, or the URL is not to be used.
            MediaUnreachable: the host failed or timed out.
        """
        url = _checked(reference)
        name = _name(url)
        for _ in range(_MAX_REDIRECTS + 1):
            with _network_errors(name):
                response = await self._http.request(
                    method, url, headers=headers, allow_redirects=False
                )
            async with response:
                if response.status not in _REDIRECTS:
                    _check(response, name, partial_wanted="Range" in (headers or {}))
                    yield WebReply(response, name)
                    return
                url = _checked(response.headers.get("Location", ""), url)
        raise MediaError(
            f"{name} is redirected more than {_MAX_REDIRECTS} times; give its final URL"
        )

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """The socket for one address: checked here, after names and redirects are resolved."""
        family, kind, protocol, _, (host, *_) = address
        if not self._allow_private and not _is_public(host):
            raise _NotPublic
        return socket.socket(family, kind, protocol)


class WebReply:
    """What a host answered: its head, and its body to be read."""

    def __init__(self, response: aiohttp.ClientResponse, name: str) -> None:
        self.name = name
        """Host and path, for messages."""
        self.length_bytes = response.content_length
        """Of the body; None where the host does not say."""
        self.is_partial = response.status == 206
        self.headers = response.headers
        self._response = response

    async def read(self, most_bytes: int) -> bytes:
        """The next bytes; none at the end.

        Raises:
            MediaUnreachable: the host broke off.
        """
        with _network_errors(self.name):
            return await self._response.content.read(most_bytes)


def _check(response: aiohttp.ClientResponse, name: str, *, partial_wanted: bool) -> None:
    status, encoding = response.status, response.headers.get("Content-Encoding", "identity")
    if status >= 500 or status in _PASSING:
        raise MediaUnreachable(f"{name} is not available now (HTTP {status})", http_status=status)
    if status in (404, 410):
        raise MediaError(f"{name} does not exist (HTTP {status}); check the manifest")
    if status in (401, 403):
        raise MediaError(f"{name} is forbidden (HTTP {status}); a signed URL may have expired")
    if status != 200 and not (status == 206 and partial_wanted):
        raise MediaError(f"{name} returned HTTP {status} instead of 200; give its final URL")
    if encoding.lower() not in ("", "identity"):
        raise MediaError(f"{name} is sent compressed ({encoding}); host it uncompressed")


class _NotPublic(OSError):
    """An address that is not to be reached; an OSError so that the next one is tried."""


def _checked(reference: str, base: URL | None = None) -> URL:
    """A URL that may be fetched; `base` is the one that redirected to it."""
    shown = reference.partition("?")[0].rpartition("@")[2][:200]
    try:
        # Kept as it is written where it can be: a signature may cover every byte of it.
        url = URL(reference, encoded=reference.isascii() and " " not in reference)
        url = base.join(url) if base else url
        usable = reference.isprintable() and bool(url.host) and url.port != 0
    except ValueError:
        raise MediaError(f"{shown!r} is not a URL; correct it") from None
    if url.scheme not in ("http", "https") or not usable:
        raise MediaError(f"{shown!r} can't be fetched; give an http or https URL")
    if url.raw_user is not None or url.raw_password is not None:
        raise MediaError(f"{_name(url)} contains a login, which is never sent; give a signed URL")
    return url


def _name(url: URL) -> str:
    """Host and path, without the query, which may hold a signature."""
    return f"{url.host_port_subcomponent}{url.raw_path}"[:200]


def _is_public(host: str) -> bool:
    """Whether an address belongs to the open Internet, by the IPv4 address within it if any."""
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        nat64 = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
        teredo = address.teredo[1] if address.teredo else None
        if inner := address.ipv4_mapped or address.sixtofour or teredo or nat64:
            return _is_public(str(inner))
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


@contextmanager
def _network_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        raise _translated(exc, name) from exc


def _translated(exc: Exception, name: str) -> OmniBatchError:
    match exc:
        case aiohttp.ClientConnectorError(os_error=_NotPublic()):
            return MediaError(
                f"{name} leads to an address that is not public; give a public URL, or set "
                "media.allow_private_downloads"
            )
        case aiohttp.ClientConnectorCertificateError():
            return MediaError(f"{name} has no valid certificate: {reason_of(exc)}")
        case ValueError():
            return MediaError(f"{name} is not a URL that can be fetched; correct it")
        case TimeoutError():
            return MediaUnreachable(f"{name} sent nothing for too long")
        case aiohttp.ClientResponseError(message=reason):  # its text contains the whole URL
            return MediaUnreachable(f"{name} did not answer in HTTP: {reason}")
        case _:
            unused = Proxies.of_environment().by_scheme and "; media are fetched without a proxy"
            return MediaUnreachable(f"{name} is not available now: {reason_of(exc)}{unused or ''}")
