"""How a night has ended, told to a URL: once, and whatever comes of it changes nothing."""

import asyncio
import logging

import msgspec

from omni_batch.nights.night import Night
from omni_batch.providers.http_client import HTTP_ERRORS, http_client, reason_of
from omni_batch.text import host_of, redacted

log = logging.getLogger("omni_batch")

_WAIT_S = 10.0
_GOOD = range(200, 300)


async def notify(url: str | None, night: Night) -> None:
    """POST the night as JSON; what goes wrong is logged.

    Args:
        url: `notify` of the config. In messages it is its host only, as the rest may be a secret.
    """
    if url is None:
        return
    try:
        async with asyncio.timeout(_WAIT_S):
            status = await _post(url, redacted(msgspec.json.encode(night.as_dict()).decode()))
    except TimeoutError:
        _warn(url, f"no answer within {_WAIT_S:.0f} seconds")
    except HTTP_ERRORS as exc:
        _warn(url, reason_of(exc))
    except Exception as exc:  # the night has ended, and its end is not changed by how it is told
        _warn(url, f"{type(exc).__name__}")
    else:
        if status not in _GOOD:
            _warn(url, f"HTTP {status}")


async def _post(url: str, body: str) -> int:
    async with http_client("", None, _WAIT_S, 1) as client:
        headers = {"Accept": "*/*"}
        async with client.stream("POST", url, content=body.encode(), headers=headers) as response:
            return response.status_code


def _warn(url: str, why: str) -> None:
    log.warning("notify: %s was not told how the night has ended: %s", host_of(url), why)
