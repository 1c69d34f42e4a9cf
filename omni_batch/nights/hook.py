"""How a night has ended, told to somebody: once, and whatever comes of it changes nothing."""

import asyncio
import logging
from base64 import b64encode
from collections.abc import Awaitable, Callable
from urllib.parse import unquote, urlsplit

import msgspec

from omni_batch.config import NotifyConfig
from omni_batch.nights.night import Night, NoNight
from omni_batch.providers.http_client import HTTP_ERRORS, http_client, reason_of
from omni_batch.text import host_of, redacted

log = logging.getLogger("omni_batch")

TellBlock = Callable[[str, str], Awaitable[str | None]]
"""Has a block (by its name) send a text; answers why it can't."""
_GOOD = range(200, 300)


async def notify(
    who: NotifyConfig | None,
    night: Night | NoNight,
    wait_s: float = 10.0,
    tell_block: TellBlock | None = None,
) -> None:
    """Tell somebody of a night: POST it as JSON, or hand it to a block; what goes wrong is logged.

    Args:
        who: `notify` of the config. Of a URL messages have the host only, the rest may be a secret.
        wait_s: how long it may take, all in all.
        tell_block: has a block notify; there is none without Prefect.
    """
    if who is None:
        return
    name = host_of(who.url) if who.url else f"block {who.block}"
    try:
        async with asyncio.timeout(wait_s):
            why = await _tell(who, night, tell_block)
    except TimeoutError:
        why = f"no answer within {wait_s:g} seconds"
    except HTTP_ERRORS as exc:
        why = reason_of(exc)
    except Exception as exc:  # the night has ended, and its end is not changed by how it is told
        why = type(exc).__name__
    if why:
        log.warning("notify: %s was not told how the night has ended: %s", name, why)


async def _tell(
    who: NotifyConfig, night: Night | NoNight, tell_block: TellBlock | None
) -> str | None:
    """Why it can't be told."""
    if who.url:
        body = redacted(msgspec.json.encode(night.as_dict()).decode())
        status = await _post(who.url, body)
        return None if status in _GOOD else f"HTTP {status}"
    if tell_block is None:
        return "blocks are read by flows of Prefect only (omni-batch schedule); give a URL"
    return await tell_block(str(who.block), redacted("\n".join((night.words, *night.to_do))))


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
