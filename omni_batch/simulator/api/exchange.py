"""One HTTP exchange on the server's side, with ways to answer well and to answer badly."""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable, Mapping

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from omni_batch.simulator.replies.writes import Write
from omni_batch.simulator.reply import End


class Exchange(Request):
    """A request that is being answered. Needs the transport in the scope's state: see server.py."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.path: str = scope["path"]
        self.client_host = self.client.host if self.client else ""
        self._transport: asyncio.Transport = scope["state"]["transport"]
        self.before_end: Callable[[], None] = lambda: None
        """Called before the last byte of the answer goes out, or the connection is broken."""

    async def respond(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """A whole answer at once."""
        self.before_end()
        await Response(body, status, headers)(self.scope, self.receive, self._send)

    async def respond_json(self, status: int, content: object) -> None:
        """An answer in JSON; bytes are JSON already."""
        body = content if isinstance(content, bytes) else msgspec.json.encode(content)
        await self.respond(status, {"content-type": "application/json"}, body)

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status line and the headers of an answer whose body follows in writes."""
        raw = Headers(headers).raw
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def deliver(self, writes: Iterable[Write], end: End) -> bool:
        """Send the body of an answer that was started; whether the client stayed to the end."""
        for write in writes:
            if write.wait_s:
                await asyncio.sleep(write.wait_s)
            if self._transport.is_closing():
                # Uvicorn reports an answer without an end until it knows that the client left.
                await self.wait_for_disconnect()
                return False
            await self._write(write.data, more=True)
        if end == "close":
            self.before_end()
            await self._write(b"", more=False)
        elif end == "cut":
            await self.hang_up()
        else:
            await self.wait_for_disconnect()
        return True

    async def deliver_framed(
        self, status: int, headers: Mapping[str, str], writes: Iterable[Write]
    ) -> None:
        """Send an answer in chunks whose framing is all in `headers`, and close the connection.

        HTTP libraries refuse to send a length beside chunks, so this goes past uvicorn's.
        """
        lines = [f"HTTP/1.1 {status} OK", *(f"{name}: {value}" for name, value in headers.items())]
        chunks = [b"%x\r\n%b\r\n" % (len(write.data), write.data) for write in writes]
        self._transport.write("\r\n".join([*lines, "", ""]).encode() + b"".join(chunks))
        self._transport.write(b"0\r\n\r\n")
        await self.hang_up()

    async def hang_up(self) -> None:
        """Close the connection once all that was written is out."""
        self.before_end()
        self._transport.close()
        await self.wait_for_disconnect()

    async def _write(self, data: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def reset(self) -> None:
        """Break the connection off with a TCP reset."""
        self.before_end()
        connection = self._transport.get_extra_info("socket")
        # Lingering for zero seconds makes the kernel send RST where it would send FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
        await self.wait_for_disconnect()

    async def wait_for_disconnect(self) -> None:
        """Send nothing more and return when the connection is closed."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def disconnects_within(self, seconds: float) -> bool:
        """Wait for that long, or until the client hangs up. The body must have been read."""
        try:
            await asyncio.wait_for(self.wait_for_disconnect(), seconds)
        except TimeoutError:
            return False
        return True
