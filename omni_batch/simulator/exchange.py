"""One HTTP exchange on the server's side, with ways to answer well and to answer badly."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Exchange:
    """A request that is being answered. Needs the transport in the scope's state: see server.py."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.query: dict[str, str] = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        self.client_host: str = (scope["client"] or ("", 0))[0]
        self._transport: asyncio.Transport = scope["state"]["transport"]
        self._receive, self._send = receive, send
        self.before_end: Callable[[], None] = lambda: None
        """Called before the last byte of the answer goes out, or the connection is broken."""

    @property
    def host(self) -> str:
        """The address, with port, that the client knows this server by."""
        return self.headers.get("host", "127.0.0.1")

    @property
    def abandoned(self) -> bool:
        """The client has hung up."""
        return self._transport.is_closing()

    async def read_body(self) -> bytes:
        """The whole body of the request."""
        return b"".join([piece async for piece in self.pieces()])

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body of the request as it comes."""
        while True:
            message = await self._receive()
            yield message.get("body", b"")
            if not message.get("more_body", False):
                return

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status line and the headers."""
        pairs = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def write(self, data: bytes) -> None:
        """Send some of the body; does nothing once the client has gone."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """Send the last of the body."""
        self.before_end()
        await self._send({"type": "http.response.body", "body": data})

    async def respond(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """A whole answer at once."""
        await self.start(status, {**headers, "content-length": str(len(body))})
        await self.end(body)

    async def cut(self) -> None:
        """Close the connection in the middle of the answer, after what was written is out."""
        self.before_end()
        self._transport.close()
        await self.wait_until_gone()

    async def reset(self) -> None:
        """Break the connection off with a TCP reset."""
        self.before_end()
        connection = self._transport.get_extra_info("socket")
        # Lingering for zero seconds makes the kernel send RST where it would send FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
        await self.wait_until_gone()

    async def wait_until_gone(self) -> None:
        """Say nothing more and return when the connection is closed."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def gone_within(self, seconds: float) -> bool:
        """Wait, and tell whether the client hung up meanwhile. The body must have been read."""
        try:
            await asyncio.wait_for(self.wait_until_gone(), seconds)
        except TimeoutError:
            return False
        return True
