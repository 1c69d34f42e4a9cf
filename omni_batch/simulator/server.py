"""The simulator as a running server: in the background of a program, or on its own."""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import FrameType
from typing import Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from omni_batch.simulator.api.upload_store import Stored
from omni_batch.simulator.app import App
from omni_batch.simulator.dialects import BY_NAME, BatchChat, DashScope
from omni_batch.simulator.jobs.script import CALLS, CallScript, JobScript
from omni_batch.simulator.jobs.store import MadeJob
from omni_batch.simulator.metrics import Counters, Recorded
from omni_batch.simulator.option_values import one_of
from omni_batch.simulator.options import SimulatorOptions
from omni_batch.simulator.reply import Reply


class _Protocol(H11Protocol):
    """HTTP/1.1 that lets the application break its connection, which ASGI can't express."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: clients that offer HTTP/2 get HTTP/1.1, as they should."""


class _Server(uvicorn.Server):
    """A server that stops at once, with streams still open."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.ready.set()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), timeout=0.5)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        # Time for the requests to notice that their clients are gone; what still runs after
        # that sleeps, and is cancelled when the loop closes.
        await asyncio.sleep(0.01)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.stop()  # and no more: uvicorn would raise the signal once again at its end

    def stop(self) -> None:
        """Ask the server to stop, from any thread."""
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)


def _server(app: App) -> _Server:
    config = uvicorn.Config(
        app,
        host=app.service.options.host,
        port=app.service.options.port,
        http=_Protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
    )
    return _Server(config)


def _listen(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    # Only a socket that names its protocol gets TCP_NODELAY from asyncio, without which each
    # reply would wait 40 ms for the client's acknowledgement.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    listener.listen(2048)
    return listener


def _port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def _base_url(port: int, options: SimulatorOptions) -> str:
    return f"http://{options.host}:{port}{BY_NAME[options.dialect].base_path}"


class Simulator:
    """A simulated service in a thread of its own; use it as a context manager.

    Args:
        options: how it behaves; by default without limits, delays or faults.
    Raises:
        OSError: on entering, when the port is taken.
    """

    def __init__(self, options: SimulatorOptions | None = None) -> None:
        self._app = App(options or SimulatorOptions())
        self._server = _server(self._app)
        self._socket: socket.socket | None = None
        self._port = 0
        self._thread = threading.Thread(target=self._run, name="simulator", daemon=True)

    def __enter__(self) -> Self:
        self._socket = _listen(self.options.host, self.options.port)
        self._port = _port(self._socket)
        self._thread.start()
        if not self._server.ready.wait(10):
            raise RuntimeError("the simulator did not start; its thread's traceback says why")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        self._thread.join(10)

    def _run(self) -> None:
        self._server.run(sockets=[self._socket] if self._socket else None)

    @property
    def base_url(self) -> str:
        """What a client takes as its base URL; known once entered."""
        if self._socket is None:
            raise RuntimeError("the simulator has no address before it is entered")
        return _base_url(self._port, self.options)

    @property
    def batch_base_url(self) -> str:
        """The base URL of Batch Chat; known once entered, and only Beijing has it."""
        if not self.options.has_batch_chat:
            hosted = self.options.dialect == "dashscope"
            where = self.options.region if hosted else self.options.dialect
            raise RuntimeError(f"{where} has no Batch Chat")
        return self.base_url.replace(DashScope.base_path, BatchChat.base_path)

    @property
    def options(self) -> SimulatorOptions:
        """How it behaves now."""
        return self._app.service.options

    def change(self, **changes: object) -> None:
        """Set other options for the requests that come from now on.

        Raises:
            ValueError: an unknown name, a value that does not fit, or an option that can't change
                while the simulator runs.
        """
        self._app.service.change(changes)

    def script(self, *replies: Reply) -> None:
        """Answer the next chat requests with these, one each, first come first served."""
        self._app.service.script.extend(replies)

    def script_jobs(self, *scripts: JobScript) -> None:
        """What becomes of the next jobs, one each, first come first served."""
        self._app.job_store.scripts.extend(scripts)

    def script_calls(self, kind: str, *calls: CallScript) -> None:
        """What the next calls about jobs meet: `upload`, `create`, `look`, `list`, `download` or
        `cancel`.

        Raises:
            ValueError: another kind.
        """
        self._app.job_store.calls[one_of(kind, CALLS, "call")].extend(calls)

    @property
    def jobs(self) -> list[MadeJob]:
        """The jobs that were made, oldest first."""
        return list(self._app.job_store.jobs.values())

    @property
    def files(self) -> dict[str, Stored]:
        """What was uploaded, by key."""
        return self._app.service.upload_store.files

    @property
    def requests(self) -> list[Recorded]:
        """The latest chat requests, oldest first, at most `keep_requests` of them."""
        return self._app.service.metrics.requests

    @property
    def counters(self) -> Counters:
        """How many requests there were so far, by outcome."""
        return self._app.service.metrics.counters


def serve(
    options: SimulatorOptions,
    *,
    ready: Callable[[str], None] | None = None,
    app: Callable[[SimulatorOptions], App] = App,
) -> None:
    """Serve until interrupted. No request is kept: another process can't read them.

    Args:
        options: host, port and behaviour.
        ready: called with the base URL once connections are accepted.
        app: makes the application, for those who listen to what it says.
    Raises:
        OSError: the port is taken.
    """
    listener = _listen(options.host, options.port)
    if ready is not None:
        ready(_base_url(_port(listener), options))
    with suppress(KeyboardInterrupt):
        _server(app(replace(options, keep_requests=0))).run(sockets=[listener])
