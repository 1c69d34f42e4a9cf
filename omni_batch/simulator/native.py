"""Answers of the service's own API, beside the compatible one: an id, and data or an error."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

import msgspec

from omni_batch.simulator.exchange import Exchange
from omni_batch.simulator.refusal import Refused

_JSON = {"content-type": "application/json"}


async def answer(exchange: Exchange, make: Callable[[], Mapping[str, object]]) -> None:
    """Answer with what `make` gives, or as it refuses."""
    whole: dict[str, object] = {"request_id": str(uuid.uuid4())}
    status = 200
    try:
        whole |= make()
    except Refused as refused:
        wrong = refused.refusal
        status = wrong.status
        whole |= {"code": wrong.code, "message": wrong.message}
    await exchange.respond(status, _JSON, msgspec.json.encode(whole))
