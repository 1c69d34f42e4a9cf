"""The way to a host, with and without proxies, and how its failures are told."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from omni_batch.errors import StreamError, Unavailable
from omni_batch.providers.http_client import HTTP_ERRORS, Poster, failure_of, http_client

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[int]:
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


@pytest.fixture
def nobody() -> int:
    """A port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def failure(base_url: str) -> str:
    async with http_client(base_url, None, 2, 4) as client:
        with pytest.raises(HTTP_ERRORS) as caught:
            await client.get("/models")
    error = failure_of(caught.value, started=False)
    assert isinstance(error, Unavailable)
    return str(error)


async def test_a_connection_that_is_refused_is_told_in_plain_words(nobody: int) -> None:
    said = await failure(f"http://127.0.0.1:{nobody}")
    assert said == f"no connection to 127.0.0.1:{nobody}: refused"


async def test_a_name_that_nobody_knows_is_told_in_plain_words() -> None:
    said = await failure("https://api.invalid/v1")
    assert said.startswith("no connection to api.invalid: its name can't be resolved")


async def test_a_server_that_hangs_up_unasked_was_reached() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with server(hang_up) as port:
        said = await failure(f"http://127.0.0.1:{port}")
    assert said.startswith(f"no answer from 127.0.0.1:{port}: ")
    assert said.endswith(("the server closed the connection", "reset by the other side"))


async def test_tls_where_nobody_speaks_it_is_told_in_plain_words() -> None:
    async def plain(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with server(plain) as port:
        said = await failure(f"https://127.0.0.1:{port}")
    assert said.startswith(f"no connection to 127.0.0.1:{port}: TLS failed (")
    assert "_ssl.c" not in said


def test_what_breaks_off_later_is_no_matter_of_the_connection() -> None:
    error = failure_of(ConnectionResetError(104, "Connection reset by peer"), started=True)
    assert isinstance(error, StreamError)
    assert str(error) == "the connection broke off: reset by the other side"


# --- proxies ---


@asynccontextmanager
async def proxy(status: str) -> AsyncIterator[tuple[int, list[str]]]:
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()

    async with server(answer) as port:
        yield port, asked


async def test_a_request_goes_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost,fd07:b51a:cc66:f0::/64,[::1],other.invalid")
    async with proxy("200 OK") as (port, asked):
        monkeypatch.setenv("HTTP_PROXY", f"http://me:SECRET@127.0.0.1:{port}")
        async with http_client("http://api.invalid/v1", None, 2, 4) as client:
            assert (await client.get("/models")).status_code == 200
            with pytest.raises(HTTP_ERRORS):
                await client.get("http://other.invalid/")
    assert [head.partition("\r\n")[0] for head in asked] == [
        "GET http://api.invalid/v1/models HTTP/1.1"
    ]
    assert "Proxy-Authorization: Basic bWU6U0VDUkVU" in asked[0]


async def test_a_body_of_files_has_a_length_and_no_chunks_also_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b"def"

    async with proxy("200 OK") as (port, asked):
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        for host in ("api.invalid", f"127.0.0.1:{port}"):  # the second one directly
            async with http_client(f"http://{host}/v1", None, 2, 4) as client:
                poster = Poster(client, "/chat/completions")
                async with poster.stream(pieces(), {"Content-Length": "6"}) as response:
                    assert response.status_code == 200
    for head in asked:
        assert "content-length: 6\r\n" in head.lower()
        assert "transfer-encoding" not in head.lower()


async def test_an_answer_with_a_long_line_in_its_head_is_taken() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        cookie = b"Set-Cookie: " + b"x" * 20_000
        writer.write(b"HTTP/1.1 200 OK\r\n" + cookie + b"\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    async with (
        server(answer) as port,
        http_client(f"http://127.0.0.1:{port}/v1", None, 2, 4) as client,
    ):
        assert (await client.get("/models")).content == b"ok"


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "all_proxy"])
async def test_a_proxy_that_is_down_is_named(
    monkeypatch: pytest.MonkeyPatch, nobody: int, variable: str
) -> None:
    monkeypatch.setenv(variable, f"http://me:SECRET@127.0.0.1:{nobody}")
    assert await failure("http://api.invalid/v1") == (
        f"no connection to api.invalid through the proxy of {variable} "
        f"(http://127.0.0.1:{nobody}): refused"
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    async with proxy("407 Proxy Authentication Required") as (port, _):
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{port}")
        said = await failure(f"{scheme}://api.invalid/v1")
    assert f"api.invalid through the proxy of ALL_PROXY (http://127.0.0.1:{port})" in said
    assert "407" in said or "login" in said
