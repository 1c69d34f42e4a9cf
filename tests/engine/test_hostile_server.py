"""A server that lies, drips, floods or breaks: each fault is one of our errors, in time."""

import asyncio
import gzip
import ssl
import subprocess
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from omni_batch import run_batch
from omni_batch.config import RetryConfig
from omni_batch.errors import (
    AccountError,
    OmniBatchError,
    RateLimited,
    Rejected,
    Unavailable,
    UnsupportedReply,
)
from omni_batch.providers import client as client_module
from omni_batch.providers.api_key import ApiKey
from omni_batch.providers.client import EndpointClient
from omni_batch.providers.dialects import DIALECTS
from omni_batch.providers.dialects.dashscope import encode
from omni_batch.store.record import RunRecord
from omni_batch.stream.assemble import Assembler
from omni_batch.types import Message, Request, Response, Usage
from tests.conftest import KEY, MakeConfig, prompts, read_table

PATIENCE = RetryConfig(first_byte_timeout_s=60, idle_timeout_s=60, connect_timeout_s=60)
HURRY = {  # by what is missed; what comes first may come late, as on a busy machine
    "no_response": PATIENCE.model_copy(update={"first_byte_timeout_s": 0.25}),
    "stream_error": PATIENCE.model_copy(update={"idle_timeout_s": 0.25}),
}
HELLO = encode(Request("qwen3-omni-flash", (Message("user", ("Say hello.",)),), "text"))
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
HI = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
EMPTY = b'data: {"choices":[{"delta":{"content":""}}]}\n\n'
FINISH = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
BILLED = b'"usage":{"prompt_tokens":11,"completion_tokens":9}'
BILL = b'data: {"choices":[],%s}\n\n' % BILLED
BILLED_FINISH = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],%s}\n\n' % BILLED
DONE = b"data: [DONE]\n\n"

Send = Callable[[bytes], Awaitable[None]]
Play = Callable[[Send], Awaitable[None]]


@asynccontextmanager
async def server(play: Play, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Reads each request's head and lets `play` write what it wants; then hangs up."""
    at_work: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        at_work.add(task)

        async def send(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        try:
            await reader.readuntil(b"\r\n\r\n")
            await play(send)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has hung up
        finally:
            at_work.discard(task)
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        scheme = "https" if tls else "http"
        yield f"{scheme}://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    finally:
        for task in at_work:
            task.cancel()
        listening.close()


def plays(*pieces: bytes) -> Play:
    async def play(send: Send) -> None:
        for piece in pieces:
            await send(piece)

    return play


def then_for_ever(piece: bytes, *first: bytes, every_s: float = 0) -> Play:
    async def play(send: Send) -> None:
        for before in first:
            await send(before)
        while True:
            await send(piece)
            await asyncio.sleep(every_s)

    return play


def then_silent(*pieces: bytes) -> Play:
    async def play(send: Send) -> None:
        for piece in pieces:
            await send(piece)
        await asyncio.Event().wait()

    return play


async def ask(
    base_url: str,
    *,
    dialect: str = "dashscope",
    speech: bool = False,
    retry: RetryConfig = PATIENCE,
) -> Response:
    client = EndpointClient(base_url, ApiKey(KEY), DIALECTS[dialect], retry, 1)
    assembler = Assembler(wants_audio=speech)
    try:
        async with client.exchange(HELLO) as exchange:
            async for chunks in exchange:
                for chunk in chunks:
                    assembler.feed(chunk)
                exchange.ends_within_s = assembler.ends_within_s
        return assembler.finish(exchange.ending)[0]
    finally:
        await client.aclose()


async def refusal(play: Play, **how: Any) -> OmniBatchError:
    """What the client makes of it, before any of the timeouts of `PATIENCE`."""
    async with server(play) as base_url, asyncio.timeout(50):
        with pytest.raises(OmniBatchError) as caught:
            await ask(base_url, **how)
    assert KEY not in repr(caught.value)
    return caught.value


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


# --- broken transport ---


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"", "unavailable"),
        (b"\x16\x03\x01garbage", "unavailable"),
        (b"HTTP/1.1 OK 200\r\n\r\n", "unavailable"),
        (b"HTTP/1.1 200 OK\r\n", "unavailable"),
        (b"HTTP/1.1 200 \xff\xfe\xed\xa0\x80\r\nContent-Length: 0\r\n\r\n", "unavailable"),
        (b"HTTP/1.1 200 OK\r\nX: \xff\0\r\nContent-Length: 0\r\n\r\n", "unavailable"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "unavailable"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n", "unavailable"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", "unavailable"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + HI, "unavailable"),
        (b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n", "unavailable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + HI, "unavailable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + HI + HI, "stream_error"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n" + (HI + FINISH)[:60], "stream_error"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + HI, "unavailable"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(HI), "stream_error"),
        (OK, "stream_error"),
        (OK + DONE, "stream_error"),
        (OK + HI, "stream_error"),
        (OK + HI + FINISH[:-30], "stream_error"),
        (OK + b'data: {"choices":[{"delta":{"content":"\xe4\xb8', "stream_error"),
        (OK + HI + b"data: {broken\n\n" + FINISH + DONE, "stream_error"),
        (OK + HI.replace(b"hi", b"\xff") + FINISH + DONE, "stream_error"),
    ],
)  # fmt: skip
async def test_a_broken_reply_is_no_answer_and_is_asked_for_again(said: bytes, kind: str) -> None:
    error = await refusal(plays(said))
    assert (error.kind, error.retryable) == (kind, True)


@pytest.mark.parametrize(
    "whole",
    [
        OK + HI + FINISH + DONE,
        OK + HI + FINISH + DONE + b"data: {broken\n\n" + HI,
        OK + HI + FINISH + DONE.rstrip(),
        OK + HI + FINISH,
        OK + HI + FINISH.rstrip(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + HI + FINISH,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(HI + FINISH),
        b"HTTP/1.1 201 Created\r\nConnection: close\r\n\r\n" + HI + FINISH + DONE,
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        + OK + HI + FINISH + DONE,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunked(*(bytes([byte]) for byte in HI + FINISH + DONE)) + b"0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(HI + FINISH + DONE),
    ],
)  # fmt: skip
async def test_an_odd_but_whole_reply_is_an_answer(whole: bytes) -> None:
    async with server(plays(whole)) as base_url:
        assert (await ask(base_url)).text == "hi"


# --- silence, and what only looks like life ---


@pytest.mark.parametrize(
    ("play", "kind"),
    [
        (then_silent(), "no_response"),
        (then_silent(b"HTTP/1.1 200 OK\r\n"), "no_response"),
        (then_silent(OK), "no_response"),
        (then_silent(OK, HI), "stream_error"),
        (then_silent(OK, HI[:-1]), "no_response"),
        (then_silent(b"HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\n"), "no_response"),
        (then_for_ever(b": keep-alive\n\n", OK, every_s=0.01), "no_response"),
        (then_for_ever(b": keep-alive\n\n", OK, HI, every_s=0.01), "stream_error"),
        (then_for_ever(b"data:\n\n", OK, HI, every_s=0.01), "stream_error"),
        (then_for_ever(EMPTY, OK, every_s=0.01), "no_response"),
        (then_for_ever(EMPTY, OK, HI, every_s=0.01), "stream_error"),
        (then_for_ever(b"x", OK, every_s=0.01), "no_response"),
        (then_for_ever(b"x", OK, HI, b"data: ", every_s=0.01), "stream_error"),
        (then_for_ever(b"X: y\r\n", b"HTTP/1.1 200 OK\r\n", every_s=0.01), "no_response"),
        (then_for_ever(b"HTTP/1.1 100 Continue\r\n\r\n", every_s=0.001), "no_response"),
    ],
)  # fmt: skip
async def test_signs_of_life_put_no_timeout_off(play: Play, kind: str) -> None:
    error = await refusal(play, retry=HURRY[kind])
    assert (error.kind, error.retryable) == (kind, True)


@pytest.mark.parametrize(
    "play",
    [
        then_silent(OK, HI, FINISH, BILL),
        then_silent(OK, HI, BILLED_FINISH),
        then_for_ever(b": keep-alive\n\n", OK, HI, FINISH, BILL, every_s=0.01),
        then_for_ever(BILLED_FINISH, OK, HI, every_s=0.01),
    ],
)
async def test_a_whole_answer_is_not_held_up_by_a_server_that_never_ends_it(play: Play) -> None:
    async with server(play) as base_url, asyncio.timeout(20):
        response = await ask(base_url)  # with timeouts of a minute
    assert (response.text, response.usage) == ("hi", Usage(11, 9, 20))


async def test_a_bill_that_comes_late_is_waited_for() -> None:
    async def late(send: Send) -> None:
        await send(OK + HI + FINISH)
        await asyncio.sleep(1.5)  # more than the end mark would be waited for
        await send(BILL)

    async with server(late) as base_url:
        assert (await ask(base_url)).usage == Usage(11, 9, 20)


async def test_an_answer_that_comes_slowly_but_steadily_is_waited_for() -> None:
    async def drip(send: Send) -> None:
        await send(OK)
        for _ in range(8):
            await asyncio.sleep(0.2)
            await send(HI)
        await send(FINISH + DONE)

    retry = PATIENCE.model_copy(update={"idle_timeout_s": 1.5})  # less than the whole takes
    async with server(drip) as base_url:
        assert (await ask(base_url, retry=retry)).text == "hi" * 8


@pytest.mark.parametrize("play", [then_silent(OK), then_for_ever(b" \n", OK, every_s=0.01)])
async def test_a_whole_reply_is_not_waited_for_for_ever_either(play: Play) -> None:
    error = await refusal(play, dialect="dashscope-batch-chat", retry=HURRY["no_response"])
    assert error.kind == "no_response"


async def test_a_whole_reply_that_drips_is_given_up() -> None:
    play = then_for_ever(b"x", OK, b"{", every_s=0.01)
    error = await refusal(play, dialect="dashscope-batch-chat", retry=HURRY["stream_error"])
    assert error.kind == "stream_error"


# --- floods ---


TEXT = b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % (b"x" * 60_000)
THOUGHT = TEXT.replace(b'"content"', b'"reasoning_content"')
SOUND = b'data: {"choices":[{"delta":{"audio":{"data":"%s"}}}]}\n\n' % (b"AAAA" * 15_000)


@pytest.mark.parametrize(
    ("play", "match"),
    [
        (then_for_ever(TEXT, OK), "characters without an end"),
        (then_for_ever(THOUGHT, OK), "characters without an end"),
        (then_for_ever(SOUND, OK), "seconds without an end"),
        (then_for_ever(b"x" * 65_536, OK), "an event that exceeds"),
        (then_for_ever(b"data:" + b"x" * 65_536 + b"\n", OK), "an event that exceeds"),
        (then_for_ever(b'data: {"choices":[{"delta":{"audio":{"data":"===="}}}]}\n\n' * 200, OK),
         "the reply exceeded"),
    ],
)  # fmt: skip
async def test_a_flood_ends_at_a_bound_and_memory_stays_flat(
    play: Play, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni_batch.stream.assemble.MAX_TEXT_CHARS", 200_000)
    monkeypatch.setattr("omni_batch.stream.assemble.MAX_AUDIO_S", 12)
    monkeypatch.setattr(client_module, "_MAX_REPLY_BYTES", 1_000_000)
    monkeypatch.setattr("omni_batch.stream.sse.MAX_EVENT_BYTES", 800_000)
    tracemalloc.start()
    error = await refusal(play, speech=True)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert match in str(error)
    assert peak_bytes < 4_000_000


async def test_a_long_event_is_read_once_not_again_with_each_piece() -> None:
    """The real bound: 32 MiB without a newline, in the time that reading them takes."""
    begun_s = time.process_time()
    error = await refusal(then_for_ever(b"x" * 65_536, OK))
    assert "an event that exceeds 33554432 bytes" in str(error)
    assert time.process_time() - begun_s < 2


@pytest.mark.parametrize("status", [b"200 OK", b"401 No", b"500 No"])
async def test_a_packed_reply_is_unpacked_once_and_to_a_bound(status: bytes) -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 20_000_000))
    error, peak_bytes = await answered(status, bomb)
    kinds = {b"200 OK": UnsupportedReply, b"401 No": AccountError, b"500 No": Unavailable}
    assert type(error) is kinds[status]
    assert str(error).isprintable()
    assert peak_bytes < 4_000_000


async def test_a_bomb_that_never_becomes_an_event_ends_at_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("omni_batch.providers.unpack.MAX_UNPACKED_BYTES", 500_000)
    error, peak_bytes = await answered(b"200 OK", gzip.compress(b"\n" * 2_000_000))
    assert "exceeded 500000 bytes when unpacked" in str(error)
    assert peak_bytes < 8_000_000


async def answered(status: bytes, body: bytes) -> tuple[OmniBatchError, int]:
    """What a packed body becomes, and the memory that it took."""
    head = b"HTTP/1.1 %s\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n" % status
    tracemalloc.start()
    error = await refusal(plays(head + b"Content-Length: %d\r\n\r\n" % len(body) + body))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return error, peak_bytes


WHOLE = HI + BILLED_FINISH + DONE


@pytest.mark.parametrize(
    ("said", "body"),
    [
        (b"gzip", WHOLE),  # unpacked by a proxy that left the header
        (b"br", WHOLE),
        (b"none", WHOLE),
        (b"identity", WHOLE),
        (b"gzip", gzip.compress(WHOLE)),
        (b"identity", gzip.compress(WHOLE)),
        (b"br", gzip.compress(WHOLE)),
        (b"gzip", gzip.compress(HI) + gzip.compress(BILLED_FINISH)),
        (b"deflate", zlib.compress(WHOLE)),
        (b"deflate", zlib.compress(WHOLE, wbits=-15)),
        (b"deflate", WHOLE),
    ],
)
async def test_the_body_says_how_it_is_packed(said: bytes, body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nConnection: close\r\n\r\n" % said
    pieces = [body[start : start + 7] for start in range(0, len(body), 7)]
    for parts in ([head + body], [head, *pieces]):
        async with server(plays(*parts)) as base_url:
            assert (await ask(base_url)).text == "hi"


@pytest.mark.parametrize(("said", "name"), [(b"br", "br"), (b"zstd", "zstd"), (b"", "zstd")])
async def test_a_packing_that_is_not_understood_is_named_and_not_asked_for_again(
    said: bytes, name: str
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nConnection: close\r\n\r\n" % said
    body = b"\x28\xb5\x2f\xfd\x24" if name == "zstd" else b"\x1b\x3f\x00\xf8\xa5"
    error = await refusal(plays(head + body * 9))
    assert (error.kind, error.retryable) == ("unsupported_reply", False)
    assert repr(name) in str(error)


@pytest.mark.parametrize("status", [400, 429, 500])
async def test_an_error_body_without_end_is_read_to_its_bound(status: int) -> None:
    head = b"HTTP/1.1 %d No\r\nContent-Type: application/json\r\n\r\n" % status
    tracemalloc.start()
    error = await refusal(then_for_ever(b"<" * 65_536, head))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    kinds = {400: Rejected, 429: RateLimited, 500: Unavailable}
    assert type(error) is kinds[status]
    assert len(str(error)) < 1000
    assert peak_bytes < 4_000_000


# --- what the server says ---


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "place", ["http://{there}/x?sig=1", "//{there}/", "/elsewhere", "http://["]
)
async def test_a_redirect_is_an_error_that_names_it_and_the_key_goes_nowhere(
    status: int, place: str
) -> None:
    asked: list[str] = []

    async def note(send: Send) -> None:
        asked.append("there")

    async with server(note) as there:
        host = there.removeprefix("http://").removesuffix("/v1")
        location = place.format(there=host).encode()
        head = b"HTTP/1.1 %d Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, location)
        error = await refusal(plays(head))
    assert not asked
    assert isinstance(error, Rejected | Unavailable)
    if "[" not in place:
        assert "redirects to" in str(error)
        assert "endpoint.base_url" in str(error)
        assert "sig=" not in str(error)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b'HTTP/1.1 400 X\r\n\r\ndata: {"error":{"code":"data_inspection_failed"}}\n\n',
         "content_refused"),
        (b'HTTP/1.1 200 OK\r\n\r\ndata: {"error":{"code":"x","message":"no voice"}}\n\n' + DONE,
         "unavailable"),
        (OK + HI + b'data: {"error":{"code":502,"message":"inappropriate content"}}\n\n',
         "content_refused"),
        (b"HTTP/1.1 502 X\r\nContent-Type: text/html\r\n\r\n<p>" + b"<p>" * 999, "unavailable"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>welcome</p>", "stream_error"),
        (b'HTTP/1.1 200 OK\r\nContent-Type: text/json\r\n\r\n{"choices":[]}', "stream_error"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"error":{"code":429,"message":"slow down"}}', "rate_limited"),
        (OK + HI + b'event: error\ndata: {"message":"no"}\n\n', "unavailable"),
        (OK + HI + b'event: error\ndata: upstream timed out\n\n', "unavailable"),
        (OK + HI + b'data: {"detail":"worker died"}\n\n', "unavailable"),
        (b"HTTP/1.1 429 X\r\nContent-Length: 0\r\nRetry-After: " + b"9" * 4000 + b"\r\n\r\n",
         "rate_limited"),
        (b"HTTP/1.1 429 X\r\nContent-Length: 0\r\nRetry-After: -5\r\n\r\n", "rate_limited"),
        (b"HTTP/1.1 204 No\r\n\r\n", "stream_error"),
    ],
)  # fmt: skip
async def test_every_form_of_an_error_is_understood(said: bytes, kind: str) -> None:
    error = await refusal(plays(said))
    assert error.kind == kind
    assert str(error).isprintable()


async def test_a_key_that_is_echoed_is_cut_out() -> None:
    for head in (b"HTTP/1.1 401 No\r\n\r\n", OK):
        body = b'data: {"error":{"code":"invalid_api_key","message":"Incorrect key: %s"}}\n\n'
        error = await refusal(plays(head + body % KEY.encode()))
        assert isinstance(error, AccountError)
        assert "Incorrect key: …" in str(error)


# --- the mark of a reply that was cut behind a gateway ---


@pytest.mark.parametrize(
    "name", [b"x-dashscope-partialresponse", b"llm_provider-X-DashScope-PartialResponse"]
)
async def test_a_partial_reply_is_no_success_under_any_name_of_its_mark(name: bytes) -> None:
    head = OK.replace(b"Connection", name + b": true\r\nConnection")
    error = await refusal(plays(head + HI + BILLED_FINISH + DONE))
    assert (error.kind, error.retryable) == ("stream_error", True)
    head = head.replace(b": true", b": false")
    async with server(plays(head + HI + BILLED_FINISH + DONE)) as base_url:
        assert (await ask(base_url)).text == "hi"


# --- connections that die ---


@asynccontextmanager
async def lasting_server(*plays: bytes | None) -> AsyncIterator[tuple[str, list[int]]]:
    """Answers one request after the other, over as many connections as the client opens.

    None hangs up without an answer. Tells for each request how many its connection has had.
    """
    waiting, served = list(plays), list[int]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                await reader.readexactly(int(head.partition("content-length: ")[2].split()[0]))
                number += 1
                served.append(number)
                said = waiting.pop(0) if waiting else WHOLE_REPLY
                if said is None:
                    return
                writer.write(said)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1", served


WHOLE_BODY = HI + BILLED_FINISH + DONE
WHOLE_REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(WHOLE_BODY) + WHOLE_BODY


def broken(status: int) -> bytes:
    return b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\n{}" % status


@pytest.mark.parametrize(("status", "again"), [(500, 1), (503, 1), (529, 1), (400, 3), (404, 3)])
async def test_a_connection_is_not_used_again_after_a_server_error(status: int, again: int) -> None:
    async with lasting_server(WHOLE_REPLY, broken(status)) as (base_url, served):
        client = EndpointClient(base_url, ApiKey(KEY), DIALECTS["dashscope"], PATIENCE, 1)
        for _ in range(3):
            with suppress(OmniBatchError):
                async with client.exchange(HELLO) as exchange:
                    assert [chunks async for chunks in exchange]
        await client.aclose()
    assert served == [1, 2, again]


async def test_a_connection_that_dies_before_the_first_byte_costs_no_attempt(
    make_config: MakeConfig,
) -> None:
    deaths = (WHOLE_REPLY, None, None)
    async with lasting_server(*deaths) as (base_url, served):
        record = await run_with_one_attempt(make_config, base_url)
    assert (record.counts.succeeded, record.counts.failed) == (2, 0)
    assert len(served) == 4


async def test_a_connection_that_always_dies_fails_its_items(make_config: MakeConfig) -> None:
    async with lasting_server(*[None] * 20) as (base_url, served):
        record = await run_with_one_attempt(make_config, base_url, rows=1)
    assert (record.counts.succeeded, record.counts.failed) == (0, 1)
    assert len(served) == 3


async def run_with_one_attempt(make_config: MakeConfig, base_url: str, rows: int = 2) -> RunRecord:
    config = make_config(
        prompts(rows),
        endpoint={"name": "custom", "base_url": base_url, "api_key_env": "OMNI_BATCH_TEST_KEY"},
        quota={"max_in_flight": 1},
        retry={"max_attempts": 1},
    )
    return (await run_batch(config)).record


async def test_a_length_beside_chunks_is_not_the_length() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nTransfer-Encoding: chunked\r\n\r\n"
    for said in (head, head.replace(b"Length", b"LENGTH")):
        async with server(plays(said + chunked(WHOLE_BODY) + b"0\r\n\r\n")) as base_url:
            assert (await ask(base_url)).text == "hi"


async def test_what_came_while_this_process_stood_still_is_read_before_it_is_called_silence() -> (
    None
):
    sent = asyncio.Event()

    async def play(send: Send) -> None:
        await send(OK + HI)
        sent.set()
        await asyncio.sleep(0.05)
        await send(HI + BILLED_FINISH + DONE)

    retry = PATIENCE.model_copy(update={"idle_timeout_s": 0.3})
    async with server(play) as base_url:
        answer = asyncio.create_task(ask(base_url, retry=retry))
        await sent.wait()
        await asyncio.sleep(0.01)
        time.sleep(0.6)  # noqa: ASYNC251  as if the process had been stopped
        assert (await answer).text == "hihi"


# --- TLS ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def _tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


async def test_a_certificate_nobody_vouches_for_is_refused(certificate: Path) -> None:
    async with server(plays(OK + HI + FINISH + DONE), _tls(certificate)) as base_url:
        with pytest.raises(Unavailable, match=r"certificate.*SSL_CERT_FILE"):
            await ask(base_url)


async def test_ssl_cert_file_vouches_for_a_certificate(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    async with server(plays(OK + HI + FINISH + DONE), _tls(certificate)) as base_url:
        assert (await ask(base_url)).text == "hi"


# --- a whole run ---


async def test_a_run_against_a_broken_server_ends_with_a_row_for_each_item(
    make_config: MakeConfig,
) -> None:
    """Each request meets another fault; whole answers come now and then."""
    faults = [
        OK + HI, b"", OK + HI + FINISH + DONE, OK + b"data: {\n\n", b"HTTP/1.1 500 X\r\n\r\n",
        b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
        OK + b'data: {"x":' + b"[" * 100_000 + b"\n\n", b"HTTP/1.1 200 \xff\r\n\r\n",
    ]  # fmt: skip
    count = 0

    async def play(send: Send) -> None:
        nonlocal count
        count += 1
        await send(faults[count % len(faults)])

    async with server(play) as base_url:
        endpoint = {"name": "custom", "base_url": base_url, "api_key_env": "OMNI_BATCH_TEST_KEY"}
        config = make_config(prompts(40), endpoint=endpoint, retry={"max_attempts": 2})
        record = (await run_batch(config)).record
    rows = read_table(Path(config.output) / record.run_id)
    assert record.state == "finished"
    assert len(rows) == 40
    assert {row["text"] for row in rows if row["status"] == "succeeded"} == {"hi"}
    kinds = {row["error_kind"] for row in rows}
    assert kinds <= {None, "stream_error", "unavailable", "rejected"}
