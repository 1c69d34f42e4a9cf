"""The HTTP libraries: a client for one base URL, and what their exceptions mean."""

import ipaddress
from urllib.request import getproxies

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from omni_batch._version import __version__
from omni_batch.errors import EndpointError, StreamError, Unavailable
from omni_batch.providers.api_key import ApiKey
from omni_batch.text import one_line

HTTP_ERRORS = (httpx.HTTPError, aiohttp.ClientError, httpx.StreamError, UnicodeError)
"""Their frames hold the request's headers: ours are raised `from None`, to keep those hidden."""


def reason_of(exc: Exception) -> str:
    """What an exception of the HTTP libraries says, in one line."""
    return one_line(str(exc))[:300] or type(exc).__name__


def failure_of(exc: Exception, *, started: bool) -> EndpointError | StreamError:
    """What an exception of the HTTP libraries means for a request.

    Args:
        started: whether a part of the answer has come.
    """
    reason = reason_of(exc)
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return Unavailable(
            f"the service's certificate is not trusted: {reason}; if it is your own server, set "
            "the environment variable SSL_CERT_FILE to the file of its authority"
        )
    if not started:
        return Unavailable(f"no connection: {reason}")
    return StreamError(f"the connection broke off: {reason}")


def http_client(
    base_url: str, key: ApiKey | None, connect_timeout_s: float, connections: int
) -> httpx.AsyncClient:
    """A client for one base URL; every request has the key."""
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",  # a gateway that compresses events also holds them back
        "User-Agent": f"omni-batch/{__version__}",
    }
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    # aiohttp moves the same stream for two thirds of the CPU, but knows no proxy variables.
    direct = not getproxies() or _is_loopback(base_url)
    client = httpx.AsyncClient(
        base_url=base_url,
        headers=headers,
        timeout=httpx.Timeout(None, connect=connect_timeout_s),
        limits=limits,
        transport=AiohttpTransport(limits=limits) if direct else None,
        follow_redirects=False,  # the key goes to no other host
    )
    if key is not None:
        client.headers["Authorization"] = key.authorization
    return client


def _is_loopback(base_url: str) -> bool:
    host = httpx.URL(base_url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
