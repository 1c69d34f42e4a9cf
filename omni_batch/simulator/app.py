"""The simulated service as an ASGI application."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

import msgspec

from omni_batch.simulator import control, refusal, reply, storage
from omni_batch.simulator.books import Books
from omni_batch.simulator.dialects import BatchChat, Dialect
from omni_batch.simulator.exchange import Exchange, Receive, Scope, Send
from omni_batch.simulator.handling import JSON, Handling
from omni_batch.simulator.listing import give_quotas
from omni_batch.simulator.options import SimulatorOptions
from omni_batch.simulator.service import Service


class App:
    """Answers chat requests, the list of models and a health check."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.service = Service(options)
        self.books = Books(options.keep_requests)
        self.script: deque[reply.Reply] = deque()
        """Thread safe by itself: replies are appended at one end and popped at the other."""

    @property
    def options(self) -> SimulatorOptions:
        """The options in force."""
        return self.service.options

    def change(self, changes: Mapping[str, object]) -> None:
        """Take other options from the next request on."""
        self.service.change(self.options.changed(changes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await self._route(Exchange(scope, receive, send))
        except asyncio.CancelledError:
            return  # the server stops; uvicorn would log the cancellation as an error of ours

    async def _route(self, exchange: Exchange) -> None:
        if self.options.scriptable and exchange.path.startswith(control.PATH):
            await control.answer(exchange, self)
            return
        dialect = self._dialect(exchange.path)
        match exchange.method, exchange.path.rstrip("/").removeprefix(dialect.base_path):
            case "POST", "/chat/completions":
                await self._chat(exchange, dialect)
            case "GET", path if path.startswith("/models"):
                await self._models(exchange, path.removeprefix("/models").removeprefix("/"))
            case "GET", "":
                health = {"status": "ok", "requests": self.books.counters.requests}
                await exchange.respond(200, JSON, msgspec.json.encode(health))
            case "GET", "/api/v1/uploads" if dialect.hosted:
                await storage.give_policy(exchange, self.service, self.books)
            case "POST", storage.UPLOAD_PATH if dialect.hosted:
                await storage.take_file(exchange, self.service, self.books)
            case "GET", "/api/v1/quotas" if dialect.hosted:
                await give_quotas(exchange, self.service)
            case _:
                message = f"No such path: {exchange.method} {exchange.path}"
                refused = refusal.status(404, "NotFound", message)
                await exchange.respond(404, JSON, dialect.error_body(refused, "0"))

    def _dialect(self, path: str) -> Dialect:
        if self.options.dialect == "dashscope" and path.startswith(BatchChat.base_path):
            return BatchChat(self.options)
        return self.service.dialect

    async def _chat(self, exchange: Exchange, dialect: Dialect) -> None:
        body = _object(await exchange.read_body())
        with self.books.open(exchange.path, exchange.headers, body or {}) as outcome:
            exchange.before_end = outcome.settle
            scripted = self.script.popleft() if self.script else reply.Normal()
            handling = Handling(self.service, exchange, outcome, dialect)
            await handling.answer(body, scripted)

    async def _models(self, exchange: Exchange, name: str) -> None:
        """All models, or the one that is named."""
        names = self.service.dialect.served(name)
        rows = [_row(model) for model in names if name in ("", model)]
        if not rows:
            refused = refusal.unknown_model(name).refusal
            body = self.service.dialect.error_body(refused, "0")
            await exchange.respond(404, JSON, body)
            return
        whole = rows[0] if name else {"object": "list", "data": rows}
        await exchange.respond(200, JSON, msgspec.json.encode(whole))


def _object(raw: bytes) -> dict[str, object] | None:
    try:
        body = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return None
    return body if isinstance(body, dict) else None


def _row(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "qwen"}
