"""What servers and gateways refuse, and what a run does about it: real runs over a socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from omni_batch import run_batch
from omni_batch.engine.pipeline import execute
from omni_batch.store import RunDir
from tests.conftest import KEY_ENV, SAMPLE, MakeConfig, prompts, read_table
from tests.providers.test_delivery import web

Reply = tuple[int, bytes, str]
"""Status, body, further lines of the head."""
Answer = Callable[[dict[str, Any]], Reply]

USAGE = {
    "prompt_tokens": 900,
    "completion_tokens": 1,
    "total_tokens": 901,
    "prompt_tokens_details": {"text_tokens": 100, "image_tokens": 400, "audio_tokens": 400},
}
_CHUNKS = (
    {"choices": [{"delta": {"content": "Hello"}}]},
    {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": USAGE},
)
HELLO = b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in _CHUNKS)
WHOLE: Reply = (200, HELLO + b"data: [DONE]\n\n", "")


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Answers each request by its JSON; yields the base URL and what has been asked."""
    asked: list[dict[str, Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        asked.append(json.loads(await reader.readexactly(length)))
        status, body, lines = answer(asked[-1])
        kind = "text/event-stream" if status == 200 else "application/json"
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{lines}".encode())
        writer.write(b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1", asked


def endpoint(base_url: str, name: str = "custom") -> dict[str, Any]:
    return {"name": name, "base_url": base_url, "api_key_env": KEY_ENV}


def failing(status: int, message: str, code: object = None, kind: str | None = None) -> Reply:
    error = {"message": message, "type": kind, "param": None, "code": code}
    return status, json.dumps({"error": error}).encode(), ""


OUT_OF_MONEY = [
    failing(402, "Insufficient Balance", "invalid_request_error"),
    failing(403, "user quota is not enough", "insufficient_user_quota"),
    failing(403, "用户额度不足", None, "one_api_error"),
    failing(400, "Budget has been exceeded! Current cost: 2, Max budget: 1", "400", "None"),
    failing(429, "ExceededBudget: User=x over budget.", "429", "budget_exceeded"),
    failing(429, "Your account is suspended due to insufficient balance", None, "x"),
    failing(401, "The key expired.", "key_expired"),
]


@pytest.mark.parametrize("reply", OUT_OF_MONEY, ids=[str(reply[0]) for reply in OUT_OF_MONEY])
async def test_without_money_a_run_stops_at_once_and_can_be_resumed(
    make_config: MakeConfig, reply: Reply
) -> None:
    paid = False
    async with server(lambda _: WHOLE if paid else reply) as (base_url, asked):
        config = make_config(prompts(30), endpoint=endpoint(base_url), quota={"max_in_flight": 2})
        run = await run_batch(config)
        assert (run.record.state, run.record.exit_code, run.record.counts.done) == ("stopped", 3, 0)
        assert len(asked) <= 2
        paid = True
        record = await execute(RunDir(run.path))
    assert (record.state, record.counts.succeeded) == ("finished", 30)


def media_of(body: dict[str, Any]) -> list[str]:
    """URLs of the media of a request."""
    content = body["messages"][-1]["content"]
    parts = content if isinstance(content, list) else []
    return [part["image_url"]["url"] for part in parts if "image_url" in part]


FETCHES_FAIL = [
    failing(500, "Cannot connect to host x.example:443 ssl:default", 500, "InternalServerError"),
    failing(500, "503, message='Service Unavailable', url='http://x/i.png'", 500, "x"),
    failing(500, "Server disconnected", 500, "x"),
    failing(422, "Failed to fetch media from URL: HTTP 404 error", 422, "x"),
]


@pytest.mark.parametrize("reply", FETCHES_FAIL, ids=range(len(FETCHES_FAIL)))
async def test_media_that_a_server_fails_to_fetch_are_no_outage_and_fetched_by_us_at_last(
    make_config: MakeConfig, reply: Reply
) -> None:
    """Twice the server is given the URL, then the bytes; rows of text wait for nothing."""

    def answer(body: dict[str, Any]) -> Reply:
        return reply if any(url.startswith("http") for url in media_of(body)) else WHOLE

    photo = {"/i.jpg": SAMPLE / "photos" / "coffee.jpg"}
    async with web(photo) as host, server(answer) as (base_url, asked):
        photos = [{"item_id": f"p-{n}", "prompt": "?", "image": f"{host}/i.jpg"} for n in range(8)]
        config = make_config(
            [*photos, *prompts(4)],
            endpoint=endpoint(base_url, "vllm"),
            media={"allow_private_downloads": True},
            same_question="send",
        )
        run = await run_batch(config)
    assert run.record.counts.succeeded == 12
    attempts = read_table(run.path, "attempts")
    assert {row["error_kind"] for row in attempts} == {"media_unreachable", None}
    assert len(asked) == 8 * 3 + 4


async def test_the_same_words_of_a_gateway_speak_of_the_server_behind_it(
    make_config: MakeConfig,
) -> None:
    reply = failing(500, "litellm.APIConnectionError: Cannot connect to host up.example:443", "500")
    async with server(lambda _: reply) as (base_url, _):
        rows = [{"item_id": "p", "prompt": "?", "image": "https://x.example/i.jpg"}, *prompts(1)]
        config = make_config(
            rows, endpoint=endpoint(base_url, "litellm"), retry={"max_attempts": 2}
        )
        run = await run_batch(config)
    assert {row["error_kind"] for row in read_table(run.path)} == {"unavailable"}
    assert {row["error_code"] for row in read_table(run.path)} == {"APIConnectionError"}


async def test_a_failed_row_behind_a_gateway_has_the_words_and_the_id_of_its_exchange(
    make_config: MakeConfig,
) -> None:
    status, body, _ = failing(400, "Bad image", "400", "BadRequestError")
    async with server(lambda _: (status, body, "x-litellm-call-id: c-1\r\n")) as (base_url, _):
        run = await run_batch(make_config(prompts(1), endpoint=endpoint(base_url, "litellm")))
    (row,) = read_table(run.path)
    assert (row["error_code"], row["request_id"]) == ("BadRequestError", "c-1")
    assert row["error_message"] == "Bad image (HTTP 400, BadRequestError)"


async def test_frames_are_refused_before_they_reach_a_gateway_that_knows_none(
    make_config: MakeConfig,
) -> None:
    async with server(lambda _: WHOLE) as (base_url, asked):
        frames = "https://x.example/1.jpg|https://x.example/2.jpg"
        sound = "https://x.example/a.mp3"
        rows = [
            {"item_id": "f", "prompt": "?", "frames": frames, "audio": ""},
            {"item_id": "s", "prompt": "?", "frames": "", "audio": sound},
        ]
        run = await run_batch(make_config(rows, endpoint=endpoint(base_url, "litellm")))
    by_id = {row["item_id"]: row for row in read_table(run.path)}
    assert by_id["f"]["error_code"] == "no-form-for-kind"
    assert by_id["s"]["status"] == "succeeded"
    (body,) = asked
    assert body["messages"][0]["content"][0]["input_audio"]["data"] == sound


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 503, 504, 529])
async def test_what_may_pass_is_asked_again(make_config: MakeConfig, status: int) -> None:
    replies = iter([failing(status, "The engine is currently overloaded")])
    async with server(lambda _: next(replies, WHOLE)) as (base_url, asked):
        run = await run_batch(make_config(prompts(1), endpoint=endpoint(base_url)))
    assert run.record.counts.succeeded == 1
    assert len(asked) == 2


@pytest.mark.parametrize("reset", ["1741305600", "1741305600000", "2015-10-21T07:28:00Z", "0s"])
async def test_a_moment_that_is_past_is_no_pause(make_config: MakeConfig, reset: str) -> None:
    lines = f"x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: {reset}\r\n"
    async with server(lambda _: (*WHOLE[:2], lines)) as (base_url, _):
        async with asyncio.timeout(30):
            run = await run_batch(make_config(prompts(4), endpoint=endpoint(base_url)))
    assert run.record.counts.succeeded == 4
