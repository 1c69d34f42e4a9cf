"""Media on their way: inline, by upload, by download, against real servers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from omni_batch.config import MediaConfig
from omni_batch.errors import MediaUnreachable
from omni_batch.providers.body import Body
from omni_batch.providers.delivery import MediaDelivery
from omni_batch.providers.dialects import DIALECTS
from omni_batch.providers.upload import Uploader
from omni_batch.providers.web.download import Downloader
from omni_batch.requests.media.probe import probe_file
from omni_batch.types import Frames, Media, Message, Request
from tests.conftest import SAMPLE


@asynccontextmanager
async def courier(
    folder: Path, dialect: str, transport: str = "auto"
) -> AsyncIterator[MediaDelivery]:
    downloader = Downloader(folder / "downloads", max_bytes=10**7, allow_private=True)
    async with httpx.AsyncClient() as http:
        uploader = Uploader("http://127.0.0.1:9/compatible-mode/v1", None, "m", http)
        config = MediaConfig.model_validate({"transport": transport})
        yield MediaDelivery(config, DIALECTS[dialect], uploader, downloader, asyncio.Semaphore(2))
    await downloader.aclose()


@asynccontextmanager
async def web(files: dict[str, Path]) -> AsyncIterator[str]:
    """A web server with some files; everything else is 404."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = files.get(head.split()[1])
        data = path.read_bytes() if path else b""
        status = "200 OK" if path else "503 Busy"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n".encode())
        writer.write(b"Connection: close\r\n\r\n" + data)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def content(body: Body) -> bytes:
    return b"".join([piece async for piece in body.stream()])


def ask(*media: Media | Frames) -> Request:
    return Request("m", (Message("user", (*media, "What?")),), "image")


async def test_a_file_goes_inline_and_a_url_as_it_is(tmp_path: Path) -> None:
    photo = probe_file(SAMPLE / "photos" / "coffee.jpg", "image", "coffee.jpg")
    url = Media("image", "u", url="https://x/i.jpg")
    async with courier(tmp_path, "dashscope") as c, c.delivered(ask(photo, url)) as body:
        sent = await content(body)
    assert b"data:image/jpeg;base64,/9j/" in sent
    assert b"https://x/i.jpg" in sent


async def test_what_the_server_can_not_fetch_is_downloaded_for_one_attempt(tmp_path: Path) -> None:
    async with web({"/a.mp3": SAMPLE / "audio" / "announcement.mp3"}) as address:
        sound = Media("audio", "a", url=f"{address}/a.mp3", format="mp3")
        async with courier(tmp_path, "openai") as c:
            async with c.delivered(ask(sound)) as body:
                sent = await content(body)
            assert b'"format":"mp3"' in sent
            assert address.encode() not in sent
            assert not list((tmp_path / "downloads").glob("*"))


async def test_frames_are_fetched_one_by_one(tmp_path: Path) -> None:
    frames = {f"/{n}.jpg": SAMPLE / "frames" / f"cat-{n}.jpg" for n in (1, 2)}
    async with web(frames) as address:
        images = tuple(Media("image", name, url=f"{address}{name}") for name in frames)
        async with (
            courier(tmp_path, "dashscope", "inline") as c,
            c.delivered(ask(Frames(images))) as body,
        ):
            sent = await content(body)
    assert sent.count(b"data:image/jpeg;base64,") == 2


async def test_a_download_that_fails_now_may_be_tried_again(tmp_path: Path) -> None:
    async with web({}) as address, courier(tmp_path, "openai") as c:
        sound = Media("audio", "a", url=f"{address}/gone.mp3")
        with pytest.raises(MediaUnreachable) as caught:
            async with c.delivered(ask(sound)):
                pass
    assert caught.value.retryable
