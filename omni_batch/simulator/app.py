"""The simulated service as an ASGI application."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from omni_batch.simulator import control, reply
from omni_batch.simulator.api import quota_page, uploads
from omni_batch.simulator.api.chat_handler import ChatHandler
from omni_batch.simulator.api.exchange import Exchange
from omni_batch.simulator.api.service import Service
from omni_batch.simulator.checks import refusal
from omni_batch.simulator.dialects import BatchChat, BatchFiles, Dialect
from omni_batch.simulator.jobs.handler import JOB_PATHS, JobsHandler
from omni_batch.simulator.jobs.store import JobStore
from omni_batch.simulator.options import SimulatorOptions

_Act = Callable[[Exchange, Service], Awaitable[None]]
_HOSTED: Mapping[tuple[str, str], _Act] = {
    ("GET", "/api/v1/uploads"): uploads.give_policy,
    ("POST", uploads.UPLOAD_PATH): uploads.take_file,
    ("GET", "/api/v1/quotas"): quota_page.give_quotas,
}


class App:
    """Answers chat requests, the list of models, a health check, and the hosted service's API."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.service = Service(options)
        self.job_store = JobStore()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await self._route(Exchange(scope, receive, send))
        except (asyncio.CancelledError, ClientDisconnect):
            return  # the server stops, which uvicorn would log as an error; or the client left

    async def _route(self, exchange: Exchange) -> None:
        service = self.service
        if service.options.scriptable and exchange.path.startswith(control.PATH):
            await control.answer(exchange, service)
            return
        dialect = self._dialect(exchange.path)
        match exchange.method, exchange.path.rstrip("/").removeprefix(dialect.base_path):
            case "POST", "/chat/completions":
                await self._chat(exchange, dialect)
            case "GET", path if path.startswith("/models"):
                await self._models(exchange, path.removeprefix("/models").removeprefix("/"))
            case "GET", "":
                requests = service.metrics.counters.requests
                await exchange.respond_json(200, {"status": "ok", "requests": requests})
            case method, path if act := self._beside_chat(method, path, dialect):
                await act(exchange, service)
            case _:
                message = f"No such path: {exchange.method} {exchange.path}"
                refused = refusal.status(404, "NotFound", message)
                await exchange.respond_json(404, dialect.error_body(refused, "0"))

    def _dialect(self, path: str) -> Dialect:
        options = self.service.options
        if options.has_batch_chat and path.startswith(BatchChat.base_path):
            return BatchChat(options)
        return self.service.dialect

    def _beside_chat(self, method: str, path: str, dialect: Dialect) -> _Act | None:
        """What the hosted services have beside chat and models."""
        if self.service.options.has_jobs and path.startswith(JOB_PATHS):
            return partial(self._jobs, path=path)
        return _HOSTED.get((method, path)) if dialect.hosted else None

    async def _jobs(self, exchange: Exchange, service: Service, *, path: str) -> None:
        options = service.options
        dialect = BatchFiles(options) if options.has_batch_chat else service.dialect
        await JobsHandler(service, self.job_store, exchange, dialect).answer(path)

    async def _chat(self, exchange: Exchange, dialect: Dialect) -> None:
        service, body = self.service, _object(await exchange.body())
        headers = dict(exchange.headers.items())
        with service.metrics.track(exchange.path, headers, body or {}) as outcome:
            exchange.before_end = lambda: service.metrics.finish(outcome)
            scripted = service.script.popleft() if service.script else reply.Normal()
            await ChatHandler(service, exchange, outcome, dialect).answer(body, scripted)

    async def _models(self, exchange: Exchange, name: str) -> None:
        """All models, or the one that is named."""
        dialect = self.service.dialect
        rows = [_row(model) for model in dialect.served(name) if name in ("", model)]
        if rows:
            await exchange.respond_json(200, rows[0] if name else {"object": "list", "data": rows})
        else:
            refused = refusal.unknown_model(name).refusal
            await exchange.respond_json(404, dialect.error_body(refused, "0"))


def _object(raw: bytes) -> dict[str, object] | None:
    try:
        body = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return None
    return body if isinstance(body, dict) else None


def _row(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "qwen"}
