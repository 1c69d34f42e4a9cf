"""How a night has ended, told to a URL: once, and whatever comes of it changes nothing."""

import asyncio
import logging
from base64 import b64encode
from urllib.parse import unquote, urlsplit

import msgspec

from omni_batch.nights.night import Night
from omni_batch.providers.http_client import HTTP_ERRORS, http_client, reason_of
from omni_batch.text import host_of, redacted

log = logging.getLogger("omni_batch")

_GOOD = range(200, 300)


async def notify(url: str | None, night: Night, wait_s: float = 10.0) -> None:
    """POST the night as JSON; what goes wrong is logged.

    Args:
        url: `notify` of the config. In messages it is its host only, as the rest may be a secret.
        wait_s: how long it may take, all in all.
    """
    if url is None:
        return
    try:
        async with asyncio.timeout(wait_s):
            status = await _post(url, redacted(msgspec.json.encode(night.as_dict()).decode()))
    except TimeoutError:
        _warn(url, f"no answer within {wait_s:g} seconds")
    except HTTP_ERRORS as exc:
        _warn(url, reason_of(exc))
    except Exception as exc:  # the night has ended, and its end is not changed by how it is told
        _warn(url, f"{type(exc).__name__}")
    else:
        if status not in _GOOD:
            _warn(url, f"HTTP {status}")


async def _post(url: str, body: str) -> int:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    headers = {"Accept": "*/*", **_login(parts.username, parts.password)}
    async with (
        http_client("", None, None, 1) as client,
        client.stream(
            *("POST", parts._replace(netloc=host).geturl()), content=body.encode(), headers=headers
        ) as response,
    ):
        return response.status_code


def _login(user: str | None, password: str | None) -> dict[str, str]:
    """What a URL has before its host, as a header."""
    if user is None:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _warn(url: str, why: str) -> None:
    log.warning("notify: %s was not told how the night has ended: %s", host_of(url), why)
