"""Answers of the service's own API, beside the compatible one: an id, and data or an error."""

import uuid
from collections.abc import Callable, Mapping

from omni_batch.simulator.api.exchange import Exchange
from omni_batch.simulator.checks.refusal import Refused


async def answer(exchange: Exchange, make: Callable[[], Mapping[str, object]]) -> None:
    """Answer with what `make` gives, or as it refuses."""
    request_id = {"request_id": str(uuid.uuid4())}
    try:
        await exchange.respond_json(200, {**request_id, **make()})
    except Refused as refused:
        error = refused.refusal
        content = request_id | {"code": error.code, "message": error.message}
        await exchange.respond_json(error.status, content)
