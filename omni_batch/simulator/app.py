"""The simulated service as an ASGI application."""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec

from omni_batch.simulator import refusal, reply
from omni_batch.simulator.books import Books
from omni_batch.simulator.exchange import Exchange, Receive, Scope, Send
from omni_batch.simulator.handling import JSON, Handling
from omni_batch.simulator.models import MODELS
from omni_batch.simulator.options import SimulatorOptions
from omni_batch.simulator.quota import Quota

BASE_PATH = "/compatible-mode/v1"


class App:
    """Answers chat requests, the list of models and a health check."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self.books = Books(options.keep_requests)
        self.script: deque[reply.Reply] = deque()
        """Thread safe by itself: replies are appended at one end and popped at the other."""
        self._quota = Quota(options.requests_per_minute, options.tokens_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await self._route(Exchange(scope, receive, send))
        except asyncio.CancelledError:
            return  # the server stops; uvicorn would log the cancellation as an error of ours

    async def _route(self, exchange: Exchange) -> None:
        match exchange.method, exchange.path.rstrip("/").removeprefix(BASE_PATH):
            case "POST", "/chat/completions":
                await self._chat(exchange)
            case "GET", "/models":
                await exchange.respond(200, JSON, _models())
            case "GET", "":
                health = {"status": "ok", "requests": self.books.counters.requests}
                await exchange.respond(200, JSON, msgspec.json.encode(health))
            case _:
                message = f"No such path: {exchange.method} {exchange.path}"
                refused = refusal.status(404, "NotFound", message)
                await exchange.respond(404, JSON, refused.body("0"))

    async def _chat(self, exchange: Exchange) -> None:
        body = _object(await exchange.read_body())
        with self.books.open(exchange.path, exchange.headers, body or {}) as outcome:
            exchange.before_end = outcome.settle
            scripted = self.script.popleft() if self.script else reply.Normal()
            handling = Handling(self.options, self._quota, exchange, outcome)
            await handling.answer(body, scripted)


def _object(raw: bytes) -> dict[str, object] | None:
    try:
        body = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return None
    return body if isinstance(body, dict) else None


def _models() -> bytes:
    rows = [{"id": name, "object": "model", "created": 0, "owned_by": "qwen"} for name in MODELS]
    return msgspec.json.encode({"object": "list", "data": rows})
