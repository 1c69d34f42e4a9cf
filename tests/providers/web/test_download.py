"""Media from the web: whole or not at all, bounded, and from nowhere it must not come from."""

import asyncio
import shutil
import socket
import ssl
import subprocess
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from omni_batch.errors import MediaError, MediaUnreachable, OmniBatchError, StorageError
from omni_batch.providers.web import session
from omni_batch.providers.web.download import Downloader

CAP = 100_000
PICTURE = bytes(range(256)) * 40


class Host:
    """A web server on loopback: keeps what it was asked, and answers as a test says."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.answer: Callable[[web.Request], Any] = lambda _: web.Response(body=PICTURE)
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self.server = TestServer(app)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        self.reached.set()
        await self.gate.wait()
        answer = self.answer(request)
        response: web.StreamResponse = await answer if asyncio.iscoroutine(answer) else answer
        return response

    def url(self, path: str = "/a.png") -> str:
        return str(self.server.make_url(path))


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    async with host.server:
        yield host


@pytest.fixture
async def downloader(tmp_path: Path) -> AsyncIterator[Downloader]:
    """May reach loopback, where all our servers are."""
    client = Downloader(tmp_path / "media", max_bytes=CAP, allow_private=True)
    yield client
    await client.aclose()


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[Downloader]:
    client = Downloader(tmp_path / "media", max_bytes=CAP)
    yield client
    await client.aclose()


async def fetch(client: Downloader, url: str) -> bytes:
    async with client.fetched(url) as path:
        return path.read_bytes()


async def refusal(client: Downloader, url: str) -> OmniBatchError:
    with pytest.raises(OmniBatchError) as caught:
        await fetch(client, url)
    folder = client._folder
    assert not folder.exists() or not list(folder.iterdir()), "a failed download leaves nothing"
    return caught.value


# --- files and those who share them ---


async def test_the_file_stands_as_long_as_the_block(host: Host, downloader: Downloader) -> None:
    async with downloader.fetched(host.url()) as path:
        assert path.read_bytes() == PICTURE
    assert not path.exists()


async def test_users_of_one_url_share_one_download(host: Host, downloader: Downloader) -> None:
    host.gate.clear()
    users = [asyncio.create_task(fetch(downloader, host.url())) for _ in range(20)]
    await host.reached.wait()
    host.gate.set()
    assert await asyncio.gather(*users) == [PICTURE] * 20
    assert len(host.asked) == 1
    assert not list(downloader._folder.iterdir())


async def test_the_last_user_to_leave_removes_the_file(host: Host, downloader: Downloader) -> None:
    async with downloader.fetched(host.url()) as first:
        async with downloader.fetched(host.url()) as second:
            assert first == second
        assert first.exists()
    assert not first.exists()
    await fetch(downloader, host.url())
    assert len(host.asked) == 2


async def test_when_a_download_fails_the_others_try_for_themselves(
    host: Host, downloader: Downloader
) -> None:
    host.answer = lambda _: web.Response(status=503) if len(host.asked) == 1 else web.Response(
        body=PICTURE
    )  # fmt: skip
    results = await asyncio.gather(
        *(fetch(downloader, host.url()) for _ in range(5)), return_exceptions=True
    )
    assert sum(result == PICTURE for result in results) == 4
    assert len(host.asked) == 2


async def test_when_the_one_who_downloads_is_cancelled_the_others_go_on(
    host: Host, downloader: Downloader
) -> None:
    host.gate.clear()
    first, second = (asyncio.create_task(fetch(downloader, host.url())) for _ in range(2))
    await host.reached.wait()
    first.cancel()
    host.gate.set()
    assert await second == PICTURE
    assert first.cancelled()


async def test_urls_that_differ_in_their_query_are_not_shared(
    host: Host, downloader: Downloader
) -> None:
    host.answer = lambda request: web.Response(text=request.query["n"])
    async with (
        downloader.fetched(host.url("/a?n=1")) as one,
        downloader.fetched(host.url("/a?n=2")) as two,
    ):
        assert (one.read_text(), two.read_text()) == ("1", "2")


async def test_a_signed_url_is_asked_for_byte_by_byte(host: Host, downloader: Downloader) -> None:
    path = "/a%2Fb/%41.png?X-Sig=a%2Fb+c%3D%3D&e=%7E"
    await fetch(downloader, f"{host.url('/').rstrip('/')}{path}")
    assert host.asked[0].raw_path == path


async def test_a_folder_that_cant_be_written_is_a_storage_error(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    client = Downloader(tmp_path / "file" / "media", max_bytes=CAP, allow_private=True)
    with pytest.raises(StorageError, match="can't be written"):
        await fetch(client, host.url())
    await client.aclose()


# --- what is sent ---


async def test_nothing_of_ours_is_sent(
    host: Host, downloader: Downloader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No cookies, no login of .netrc, and no proxy of the environment (nobody listens there)."""
    (tmp_path / ".netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    host.answer = lambda _: web.Response(body=b"x", headers={"Set-Cookie": "id=1; Path=/"})
    for _ in range(2):  # by name, since cookies of bare addresses are never kept
        await fetch(downloader, f"http://localhost:{host.server.port}/a.png")
    headers = host.asked[1].headers
    assert set(headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding"}
    assert headers["Accept-Encoding"] == "identity"


# --- size ---


async def test_a_length_over_the_cap_is_refused_unread(host: Host, downloader: Downloader) -> None:
    host.answer = lambda _: web.Response(body=b"x" * (CAP + 1))
    error = await refusal(downloader, host.url("/big.mp4?sig=SECRET"))
    assert isinstance(error, MediaError)
    assert f"/big.mp4 takes {CAP + 1} bytes; the cap is {CAP}" in str(error)
    assert "SECRET" not in repr(error)


async def test_a_body_without_a_length_is_cut_at_the_cap(
    host: Host, downloader: Downloader
) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:  # until the client hangs up, which ends this with an error
            await response.write(b"x" * 50_000)

    host.answer = endless
    error = await refusal(downloader, host.url())
    assert isinstance(error, MediaError)
    assert f"more than {CAP} bytes" in str(error)


async def test_a_file_as_large_as_the_cap_is_fetched(host: Host, downloader: Downloader) -> None:
    host.answer = lambda _: web.Response(body=b"x" * CAP)
    assert len(await fetch(downloader, host.url())) == CAP


async def test_memory_does_not_grow_with_the_file(host: Host, tmp_path: Path) -> None:
    size_bytes, piece = 60 * 2**20, b"x" * 2**16

    async def large(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(size_bytes)})
        await response.prepare(request)
        for _ in range(size_bytes // len(piece)):
            await response.write(piece)
        return response

    host.answer = large
    client = Downloader(tmp_path, max_bytes=size_bytes, allow_private=True)
    tracemalloc.start()
    try:
        async with client.fetched(host.url()) as path:
            assert path.stat().st_size == size_bytes
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
        await client.aclose()


# --- answers that are no file ---


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 206, 304])
async def test_an_answer_that_will_not_change_fails_the_item(
    host: Host, downloader: Downloader, status: int
) -> None:
    host.answer = lambda _: web.Response(status=status)
    error = await refusal(downloader, host.url("/a.png?sig=SECRET"))
    assert isinstance(error, MediaError)
    assert f"HTTP {status}" in str(error)
    assert "/a.png" in str(error)
    assert "SECRET" not in repr(error)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_an_answer_that_may_change_can_be_tried_again(
    host: Host, downloader: Downloader, status: int
) -> None:
    host.answer = lambda _: web.Response(status=status)
    error = await refusal(downloader, host.url())
    assert isinstance(error, MediaUnreachable)
    assert error.http_status == status


async def test_an_empty_body_is_no_file(host: Host, downloader: Downloader) -> None:
    host.answer = lambda _: web.Response()
    error = await refusal(downloader, host.url())
    assert isinstance(error, MediaError)
    assert "is empty" in str(error)


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
async def test_a_compressed_body_is_refused(
    host: Host, downloader: Downloader, encoding: str
) -> None:
    host.answer = lambda _: web.Response(body=PICTURE, headers={"Content-Encoding": encoding})
    error = await refusal(downloader, host.url())
    assert isinstance(error, MediaError)
    assert "compressed" in str(error)


@pytest.mark.parametrize("headers", [{"Content-Length": "500"}, {}])
async def test_a_download_that_was_cut_is_no_success(
    host: Host, downloader: Downloader, headers: dict[str, str]
) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(b"x" * 400)
        assert request.transport is not None
        request.transport.close()
        return response

    host.answer = cut
    assert isinstance(await refusal(downloader, host.url()), MediaUnreachable)


async def test_a_host_that_falls_silent_can_be_tried_again(host: Host, tmp_path: Path) -> None:
    host.gate.clear()
    client = Downloader(tmp_path / "m", max_bytes=CAP, allow_private=True, idle_timeout_s=0.05)
    error = await refusal(client, host.url())
    assert isinstance(error, MediaUnreachable)
    assert "sent nothing for too long" in str(error)
    host.gate.set()
    await client.aclose()


async def test_nobody_listening_can_be_tried_again(downloader: Downloader) -> None:
    assert isinstance(await refusal(downloader, "http://127.0.0.1:9/a.png"), MediaUnreachable)


async def test_a_server_that_speaks_no_http_is_named_without_its_query(
    downloader: Downloader,
) -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await refusal(downloader, f"http://127.0.0.1:{port}/a.png?sig=SECRET")
    assert isinstance(error, MediaUnreachable)
    assert "SECRET" not in str(error)


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes its certificate with openssl")
async def test_a_certificate_that_nobody_vouches_for_is_refused(
    tmp_path: Path, downloader: Downloader
) -> None:
    pem = tmp_path / "server.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    make = ["openssl", "req", "-x509", *kind, "-subj", "/CN=test", "-keyout", str(pem)]
    made = await asyncio.create_subprocess_exec(
        *make, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    output, _ = await made.communicate()
    with pem.open("ab") as file:
        file.write(output)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = TestServer(web.Application())
    await server.start_server(ssl=context)
    error = await refusal(downloader, f"https://127.0.0.1:{server.port}/a.png")
    await server.close()
    assert isinstance(error, MediaError)
    assert "no valid certificate" in str(error)


# --- redirects ---


def redirects(count: int, to: str) -> Callable[[web.Request], web.Response]:
    """Redirects from /0 to /1 … and after `count` steps to `to`."""

    def answer(request: web.Request) -> web.Response:
        step = int(request.path[1:] or 0) + 1
        location = to if step == count else f"/{step}"
        return web.Response(status=302, headers={"Location": location}, body=b"<html>")

    return answer


async def test_five_redirects_are_followed(host: Host, downloader: Downloader) -> None:
    step = redirects(5, "/a.png")
    host.answer = lambda request: (
        web.Response(body=PICTURE) if request.path == "/a.png" else step(request)
    )
    assert await fetch(downloader, host.url("/0")) == PICTURE
    assert len(host.asked) == 6


async def test_six_redirects_are_too_many(host: Host, downloader: Downloader) -> None:
    host.answer = redirects(6, "/a.png")
    error = await refusal(downloader, host.url("/0"))
    assert isinstance(error, MediaError)
    assert "more than 5 times" in str(error)
    assert len(host.asked) == 6


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:image/png;base64,AAAA", "http://u:p@h/a"],
)
async def test_a_redirect_leads_to_the_web_or_nowhere(
    host: Host, downloader: Downloader, location: str
) -> None:
    host.answer = redirects(1, location)
    error = await refusal(downloader, host.url("/0"))
    assert isinstance(error, MediaError)
    assert "u:p" not in str(error)


# --- addresses ---


async def test_loopback_is_refused_unless_allowed(host: Host, strict: Downloader) -> None:
    for url in (host.url(), f"http://localhost:{host.server.port}/a.png"):
        error = await refusal(strict, url)
        assert isinstance(error, MediaError)
        assert "media.allow_private_downloads" in str(error)
    assert not host.asked


async def test_a_name_is_judged_by_the_address_that_is_connected_to(
    host: Host, strict: Downloader, downloader: Downloader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public name whose DNS says 127.0.0.1; where that is allowed, the Host header keeps it."""
    resolve = socket.getaddrinfo

    def lying(name: str, *args: Any, **kwargs: Any) -> Any:
        return resolve("127.0.0.1" if name == "cdn.example.com" else name, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", lying)
    url = f"http://cdn.example.com:{host.server.port}/a.png"
    assert isinstance(await refusal(strict, url), MediaError)
    assert not host.asked
    assert await fetch(downloader, url) == PICTURE
    assert host.asked[0].headers["Host"] == f"cdn.example.com:{host.server.port}"


@pytest.mark.parametrize(
    "host_name",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "127.1", "2130706433"),
        *("[::1]", "[::]", "[fc00::1]", "[fe80::1]", "[ff02::1]", "[fec0::1]", "[2001:db8::1]"),
        *("[::ffff:127.0.0.1]", "[::ffff:a00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
    ],
)
async def test_addresses_that_are_not_public_are_refused(
    strict: Downloader, host_name: str
) -> None:
    assert isinstance(await refusal(strict, f"http://{host_name}:9/a.png"), MediaError)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_public_addresses_are_public(address: str) -> None:
    assert session._is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://example.com/a", "oss://bucket/key", "/etc/passwd", ""),
        *("http://", "http:///a.png", "http://a:99999/x", "http://a:x/", "http://[::1/a"),
        *("http://example.com/a\r\nX: y", "http://a..b/c.png", f"http://{'a' * 64}.com/c.png"),
    ],
)
async def test_what_is_no_web_url_is_refused(downloader: Downloader, url: str) -> None:
    assert isinstance(await refusal(downloader, url), MediaError)


async def test_a_login_in_the_url_is_refused_and_not_repeated(downloader: Downloader) -> None:
    error = await refusal(downloader, "http://me:SECRET@127.0.0.1:9/a.png?sig=SECRET")
    assert isinstance(error, MediaError)
    assert "SECRET" not in repr(error)
