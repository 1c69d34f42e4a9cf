"""The line that talks: what goes over the wire, and how every foreign failure ends."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pybase64
import pytest

from omni_batch.config import RetryConfig
from omni_batch.errors import AccountError, MediaError, Rejected, StreamError, Unavailable
from omni_batch.providers.api_key import ApiKey
from omni_batch.providers.body import Base64File, Body
from omni_batch.providers.client import EndpointClient
from omni_batch.providers.dialects import DIALECTS
from omni_batch.providers.dialects.dashscope import encode
from omni_batch.simulator import Simulator, reply
from omni_batch.stream.assemble import Assembler
from omni_batch.types import Media, Message, Request, Response
from tests.conftest import KEY, SAMPLE
from tests.engine.test_hostile_server import plays, server

RETRY = RetryConfig(first_byte_timeout_s=5, idle_timeout_s=5, connect_timeout_s=2)
HELLO = encode(Request("qwen3-omni-flash", (Message("user", ("Say hello.",)),), "text"))


@asynccontextmanager
async def endpoint(base_url: str, key: str | None = KEY) -> AsyncIterator[EndpointClient]:
    client = EndpointClient(base_url, ApiKey(key) if key else None, DIALECTS["dashscope"], RETRY, 4)
    try:
        yield client
    finally:
        await client.aclose()


async def answer(client: EndpointClient, body: Body = HELLO) -> Response:
    assembler = Assembler(wants_audio=False)
    async with client.exchange(body) as exchange:
        async for chunks in exchange:
            for chunk in chunks:
                assembler.feed(chunk)
    return assembler.finish()[0]


async def test_an_answer_is_text_with_usage(simulator: Simulator) -> None:
    async with endpoint(simulator.base_url) as client:
        response = await answer(client)
    assert response.text
    assert response.usage is not None
    assert response.usage.total_tokens > 0
    headers = simulator.requests[0].headers
    assert headers["accept-encoding"] == "identity"
    assert headers["content-type"] == "application/json"


async def test_connections_are_used_again(simulator: Simulator) -> None:
    async with endpoint(simulator.base_url) as client:
        for _ in range(3):
            await answer(client)
        pool = client.http._transport.client.connector._conns  # type: ignore[attr-defined]
        assert sum(map(len, pool.values())) == 1


async def test_a_local_file_travels_with_its_length(simulator: Simulator) -> None:
    path = SAMPLE / "photos" / "coffee.jpg"
    media = Media("image", "coffee.jpg", path=path, mime_type="image/jpeg",
                  size_bytes=path.stat().st_size)  # fmt: skip
    body = encode(Request("qwen3-omni-flash", (Message("user", (media, "What?")),), "image"))
    async with endpoint(simulator.base_url) as client:
        response = await answer(client, body)
    (request,) = simulator.requests
    sent: Any = request.body
    url = sent["messages"][0]["content"][0]["image_url"]["url"]
    assert url == f"data:image/jpeg;base64,{pybase64.b64encode(path.read_bytes()).decode()}"
    assert request.headers["content-length"] == str(body.content_length)
    assert "transfer-encoding" not in request.headers
    assert "512 x 341" in response.text


async def test_a_file_that_changes_while_it_is_sent_fails_its_item(
    simulator: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "shrunk.jpg"
    path.write_bytes(b"x" * 10)
    body = Body.of({"model": "m", "data": Base64File(path, 5000)})
    async with endpoint(simulator.base_url) as client:
        with pytest.raises(MediaError, match="changed its size"):
            await answer(client, body)


async def test_a_wrong_key_is_an_account_error(simulator: Simulator) -> None:
    async with endpoint(simulator.base_url, "sk-wrong") as client:
        with pytest.raises(AccountError) as caught:
            await answer(client)
    assert caught.value.http_status == 401
    assert caught.value.request_id
    assert "sk-wrong" not in repr(caught.value)


async def test_nobody_listening_is_unavailable() -> None:
    async with endpoint("http://127.0.0.1:9/v1") as client:
        with pytest.raises(Unavailable, match="no connection"):
            await answer(client)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(simulator: Simulator, status: int) -> None:
    """It would take the key and the media to an address that nobody has named."""
    elsewhere = f"location: {simulator.base_url}/chat/completions".encode()
    head = b"HTTP/1.1 %d Moved\r\ncontent-length: 0\r\n%s\r\n\r\n" % (status, elsewhere)
    async with server(plays(head)) as base_url, endpoint(base_url) as client:
        with pytest.raises(Rejected):
            await answer(client)
    assert not simulator.requests


async def test_a_stream_that_ends_in_order_is_whole_without_its_end_mark(
    simulator: Simulator,
) -> None:
    frame = b'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
    simulator.script(reply.frames([frame]))
    async with endpoint(simulator.base_url) as client:
        assert (await answer(client)).text == "hi"


async def test_a_stream_without_a_reason_is_no_success(simulator: Simulator) -> None:
    frame = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
    simulator.script(reply.frames([frame, b"data: [DONE]\n\n"]))
    async with endpoint(simulator.base_url) as client:
        with pytest.raises(StreamError, match="without a finish_reason"):
            await answer(client)


async def test_a_server_that_never_hangs_up_after_the_end_mark_loses_no_answer(
    simulator: Simulator,
) -> None:
    frame = b'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
    simulator.script(reply.frames([frame, b"data: [DONE]\n\n"], end="stall"))
    async with endpoint(simulator.base_url) as client:
        assert (await answer(client)).text == "hi"


async def test_a_reply_marked_partial_is_no_success(simulator: Simulator) -> None:
    simulator.script(reply.fault("partial_response"))
    async with endpoint(simulator.base_url) as client:
        with pytest.raises(StreamError):
            await answer(client)


async def test_a_file_of_100_mb_is_streamed_from_disk(tmp_path: Path) -> None:
    path, size_bytes = tmp_path / "long.mp4", 100_000_000
    with path.open("wb") as file:
        file.truncate(size_bytes)
    media = Media("video", "long.mp4", path=path, mime_type="video/mp4", size_bytes=size_bytes)
    body = DIALECTS["vllm"].encode(Request("m", (Message("user", (media,)),), "video"))
    async with swallowing_server() as (base_url, lengths):
        client = EndpointClient(base_url, None, DIALECTS["vllm"], RETRY, 1)
        tracemalloc.start()
        assert (await answer(client, body)).text == "hi"
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
        tracemalloc.stop()
        await client.aclose()
    assert lengths == [(body.content_length, body.content_length)]


@asynccontextmanager
async def swallowing_server() -> AsyncIterator[tuple[str, list[tuple[int, int]]]]:
    """Answers every request once it has read all of it; tells (announced, read) bytes."""
    lengths: list[tuple[int, int]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        announced = int(head.partition("content-length: ")[2].split()[0])
        read = 0
        while read < announced and (data := await reader.read(2**16)):
            read += len(data)
        lengths.append((announced, read))
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            b'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
            b"data: [DONE]\n\n"
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", lengths
