"""The key stands in no file, log line, message, repr or traceback, whatever goes wrong."""

import io
import logging
import os
import sys
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from rich.console import Console
from rich.traceback import Traceback

from omni_batch.config import RetryConfig
from omni_batch.engine.pipeline import execute
from omni_batch.engine.run import open_run
from omni_batch.errors import ConfigError, OmniBatchError
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.providers.api_key import ApiKey
from omni_batch.providers.client import EndpointClient
from omni_batch.providers.dialects import DIALECTS
from omni_batch.providers.profiles import PROFILES, read_api_key
from omni_batch.providers.upload import Uploader
from omni_batch.text import redacted
from tests.conftest import KEY_ENV, MakeConfig, prompts, read_table
from tests.engine.test_hostile_server import HELLO, OK, Send, plays, server

KEYS = ["sk-0123456789-abcdef", "no-prefix+and/signs==", "Zz9_of.any-kind"]


@pytest.fixture(params=KEYS)
def key(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    value: str = request.param
    monkeypatch.setenv(KEY_ENV, value)
    return value


@pytest.fixture
def all_logs(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        for name in list(logging.root.manager.loggerDict):
            caplog.set_level(logging.DEBUG, logger=name)
        yield caplog


def everything_under(folder: Path) -> bytes:
    files = [Path(root) / name for root, _, names in os.walk(folder) for name in names]
    assert files
    return b"\0".join(path.read_bytes() for path in files)


def echoes(key: str) -> list[bytes]:
    said = b'{"error":{"code":"%s","message":"%s: %s."},"id":"%s"}'
    secret = key.encode()
    body = said % (secret, b"This request can't be read", secret, secret)
    denied = said % (secret, b"Incorrect API key provided", secret, secret)
    location = b"http://127.0.0.1:9/?api_key=" + key.encode()
    escaped = "".join(f"\\u{ord(sign):04x}" for sign in key).encode()
    coded = b64encode(f"Bearer {key}".encode())
    refused = b'{"error":{"code":"bad","message":"no such key: %s"}}'
    chunk = b'data: {"id":"%s","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":%s}]}'
    whole = chunk % (key.encode(), b"said " + key.encode(), b'"stop"')
    named = OK.replace(b"\r\n\r\n", b"\r\nx-request-id: " + key.encode() + b"\r\n\r\n")
    return [
        b"HTTP/1.1 302 X\r\nContent-Length: 0\r\nLocation: /login/" + key.encode() + b"\r\n\r\n",
        b"HTTP/1.1 400 X\r\n\r\n" + refused % escaped,
        b"HTTP/1.1 400 X\r\n\r\n" + refused % coded,
        b"HTTP/1.1 400 X\r\n\r\n" + refused % quote(key, safe="").encode(),
        OK + b"event: error\ndata: " + refused % escaped + b"\n\n",
        OK + chunk % (b"c1", b"hi", b'"' + escaped + b'"') + b"\n\ndata: [DONE]\n\n",
        OK + whole + b"\n\ndata: [DONE]\n\n",
        named + whole.replace(key.encode(), b"c1") + b"\n\ndata: [DONE]\n\n",
        b"HTTP/1.1 " + key.encode() + b"\r\n\r\n",
        b"HTTP/1.1 400 X\r\n\r\n" + body.replace(b"Incorrect API key", b"No such model"),
        b"HTTP/1.1 500 X\r\n\r\n<html>" + key.encode(),
        OK + b"data: " + body.replace(b"Incorrect API key", b"No such model") + b"\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + key.encode(),
        b"HTTP/1.1 302 X\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n",
        b"",
        b"HTTP/1.1 401 X\r\n\r\n" + denied,
    ]


async def test_a_run_of_failures_leaves_no_key_anywhere(
    key: str,
    make_config: MakeConfig,
    tmp_path: Path,
    all_logs: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replies = echoes(key)
    asked = 0

    async def play(send: Send) -> None:
        nonlocal asked
        asked += 1
        await send(replies[min(asked, len(replies)) - 1])

    async with server(play) as base_url:
        endpoint = {"name": "custom", "base_url": base_url, "api_key_env": KEY_ENV}
        config = make_config(
            prompts(20),
            endpoint=endpoint,
            quota={"max_in_flight": 1, "adaptive": False},
            retry={"max_attempts": 1},
            shard_size=1,
        )
        monkeypatch.setenv(KEY_ENV, key)
        record = await execute(prepare_run(make_plan(config)))
    assert (record.state, asked) == ("stopped", len(replies))
    run_dir = tmp_path / "runs" / record.run_id
    kinds = [row["error_kind"] for row in read_table(run_dir)]
    assert {"rejected", "unavailable", "stream_error"} <= set(kinds)
    kept = everything_under(tmp_path)
    assert key.encode() not in kept
    assert b64encode(f"Bearer {key}".encode())[:-4] not in kept
    assert quote(key, safe="").encode() not in kept
    assert "Incorrect API key provided: …" in (run_dir / "run.json").read_text()
    said = capfd.readouterr()
    assert key not in all_logs.text + said.out + said.err


@pytest.mark.parametrize("number", range(len(echoes(""))))
async def test_no_traceback_with_its_locals_shows_the_key(number: int, key: str) -> None:
    async with server(plays(echoes(key)[number])) as base_url:
        shown = await _shown(lambda: _ask(EndpointClient(base_url, ApiKey(key), *_REST)))
    assert key not in shown


async def test_nobody_listening_shows_no_key_in_any_frame(key: str) -> None:
    shown = await _shown(lambda: _ask(EndpointClient("http://127.0.0.1:9/v1", ApiKey(key), *_REST)))
    assert "no connection" in shown
    assert key not in shown


async def test_an_upload_that_fails_shows_no_key_in_any_frame(key: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    for reply in echoes(key):
        async with server(plays(reply)) as base_url:
            endpoint = EndpointClient(base_url, ApiKey(key), *_REST)
            uploader = Uploader(base_url, ApiKey(key), "m", endpoint.http)
            shown = await _shown(
                lambda: uploader.upload(tmp_path / "a.png", sha256="0" * 64, size_bytes=1)  # noqa: B023
            )
            await endpoint.aclose()
        assert key not in shown


@pytest.mark.parametrize("key", KEYS[:1], indirect=True)
async def test_a_bug_of_ours_shows_no_key_in_any_frame(key: str, make_config: MakeConfig) -> None:
    config = make_config(prompts(1))
    os.environ[KEY_ENV] = key
    directory = prepare_run(make_plan(config))

    async def bug() -> None:
        async with open_run(directory) as run:
            handle = run.router.handles[0]
            objects = [run, handle, handle.client, handle.delivery.uploader]
            assert key not in repr(objects) + str(handle.client.http.headers)
            raise ZeroDivisionError

    assert key not in await _shown(bug, ZeroDivisionError)
    directory.results(0).write_bytes(b"no table")
    shown = await _shown(lambda: execute(directory))
    assert "in open_run" in shown
    assert key not in shown


def test_a_key_that_is_none_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-with blank\x01")
    with pytest.raises(ConfigError) as refused:
        read_api_key(PROFILES["dashscope-beijing"])
    assert "with blank" not in _rendered(refused.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Incorrect API key provided: sk-ab12cd34ef56.", "Incorrect API key provided: sk-…"),
        ("Authorization: Bearer abcdefgh.ijkl", "Authorization: Bearer …"),
        ("at https://u:p@h/x failed", "at https://…@h/x failed"),
        ("get https://h/x?a=1&token=abc, then", "get https://h/x?a=1&token=… then"),
        ("a task-manager for risk-free desk-work", "a task-manager for risk-free desk-work"),
        ("tokens=5 in 1 + 1 = 2", "tokens=5 in 1 + 1 = 2"),
    ],
)
def test_what_looks_like_a_secret_is_masked_and_nothing_else(text: str, shown: str) -> None:
    assert redacted(text) == shown


_REST = (DIALECTS["dashscope"], RetryConfig(first_byte_timeout_s=5, connect_timeout_s=2), 1)


async def _ask(endpoint: EndpointClient) -> None:
    try:
        async with endpoint.exchange(HELLO) as exchange:
            async for chunks in exchange:
                for chunk in chunks:
                    if chunk.error:
                        raise chunk.error
        raise OmniBatchError("the stream ended")
    finally:
        await endpoint.aclose()


async def _shown(
    call: Callable[[], Awaitable[object]], kind: type[Exception] = OmniBatchError
) -> str:
    with pytest.raises(kind) as caught:
        await call()
    return _rendered(caught.value)


def _rendered(error: Exception) -> str:
    """As a debugging terminal shows it, with all locals of all frames of all causes.

    The frames of this file know the key, so they are left out.
    """
    frames = error.__traceback__
    while frames and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    console = Console(file=io.StringIO(), width=500)
    trace = Traceback.from_exception(
        type(error), error, frames, show_locals=True, locals_max_length=sys.maxsize,
        locals_max_string=sys.maxsize, max_frames=1000,
    )  # fmt: skip
    console.print(trace)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue() + repr(error) + str(error) + repr(vars(error))
