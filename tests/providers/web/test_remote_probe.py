"""What stands behind a URL is known by a few of its bytes, where the host allows it."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from omni_batch.doubts import Doubt
from omni_batch.errors import MediaError
from omni_batch.providers.web.remote_probe import ProbeMode, RemoteProber
from omni_batch.requests.media.loader import FORMAT_GUESSED
from omni_batch.types import Media, MediaKind
from tests.support.media_files import clip, film, picture, sound

Probers = Callable[..., RemoteProber]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Host:
    """A web server on loopback with the files of a folder; counts what it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.sent_bytes = 0
        self.answer: Answer = self.with_ranges
        app = web.Application()
        app.router.add_route("*", "/{name}", self._handle)
        self.server = TestServer(app)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.headers.get('Range', '')}".strip())
        response = await self.answer(request)
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            self.sent_bytes += len(response.body)
        return response

    async def with_ranges(self, request: web.Request) -> web.Response:
        data = (self.folder / request.match_info["name"]).read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
        if request.method == "HEAD" or not wanted:
            return web.Response(body=data)
        first, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
        headers = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        return web.Response(status=206, body=data[first : last + 1], headers=headers)

    async def without_ranges(self, request: web.Request) -> web.Response:
        return web.Response(body=(self.folder / request.match_info["name"]).read_bytes())

    def add(self, name: str, data: bytes) -> str:
        (self.folder / name).write_bytes(data)
        return self.url(name)

    def url(self, name: str) -> str:
        return str(self.server.make_url(f"/{name}"))


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = Host(tmp_path)
    async with host.server:
        yield host


@pytest.fixture
async def probers() -> AsyncIterator[Callable[..., RemoteProber]]:
    made: list[RemoteProber] = []

    def make(mode: ProbeMode = "ranges", most_urls: int = 100) -> RemoteProber:
        made.append(RemoteProber(mode, most_urls=most_urls, allow_private=True))
        return made[-1]

    yield make
    for prober in made:
        await prober.aclose()


def behind(url: str, kind: MediaKind) -> Media:
    return Media(kind, url, url=url)


Make = Callable[..., RemoteProber]


async def test_an_image_is_known_by_its_first_bytes(host: Host, probers: Make) -> None:
    data = picture("JPEG", 1200, 900)
    found = await probers().probe(behind(host.add("a", data), "image"))
    assert (found.width_px, found.height_px, found.format) == (1200, 900, "jpeg")
    assert found.size_bytes == len(data) > 500_000
    assert found.sha256 is None, "what was not read is not known by its content"
    assert host.asked == ["GET bytes=0-65535"]
    assert found.doubts == ()


async def test_an_index_at_the_end_is_found_there(host: Host, probers: Make) -> None:
    path = clip(host.folder / "clip.mp4", with_sound=True, duration_s=60)
    size_bytes = path.stat().st_size
    assert size_bytes > 500_000
    found = await probers().probe(behind(host.url("clip.mp4"), "video"))
    assert found.duration_s == pytest.approx(60, abs=0.1)
    assert found.sound_s == pytest.approx(60, abs=0.2)
    assert (found.width_px, found.size_bytes, found.has_sound) == (64, size_bytes, True)
    assert len(host.asked) <= 3
    assert host.sent_bytes < 500_000


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
async def test_a_recording_of_any_length_takes_two_requests(
    host: Host, probers: Make, form: str
) -> None:
    data = sound(form, duration_s=60)
    found = await probers().probe(behind(host.add("a", data), "audio"))
    assert found.duration_s == pytest.approx(60, abs=0.1)
    assert found.format == form.lower()
    assert len(host.asked) <= 2


async def test_a_host_without_ranges_tells_what_stands_at_the_beginning(
    host: Host, probers: Make
) -> None:
    host.answer = host.without_ranges
    data = picture("PNG", 900, 700)
    found = await probers().probe(behind(host.add("a", data), "image"))
    assert (found.width_px, found.height_px, found.size_bytes) == (900, 700, len(data))
    assert len(host.asked) == 1


async def test_a_head_tells_type_and_size_only(host: Host, probers: Make) -> None:
    async def told(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 5000, content_type="image/png")

    host.answer = told
    found = await probers("head").probe(behind(host.url("a"), "image"))
    assert (found.mime_type, found.size_bytes, found.width_px) == ("image/png", 5000, None)
    assert host.asked == ["HEAD"]


async def test_a_page_behind_the_url_of_an_image_is_refused(host: Host, probers: Make) -> None:
    url = host.add("a.jpg", b"<!DOCTYPE html><html><body>Not found</body></html>")
    with pytest.raises(MediaError, match="HTML"):
        await probers().probe(behind(url, "image"))


@pytest.mark.parametrize("status", [404, 403, 500, 429, 206])
async def test_a_host_that_does_not_let_us_look_refuses_nothing(
    host: Host, probers: Make, status: int
) -> None:
    """The service may fare better: it asks from elsewhere."""

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=status if status != 206 else 302)

    host.answer = refuse
    found = await probers().probe(behind(host.url("a.jpg"), "image"))
    (doubt,) = found.doubts
    assert doubt.rule == "url-not-probed"
    assert "its tokens are guessed" in doubt.message
    assert (found.width_px, found.url) == (None, host.url("a.jpg"))


async def test_a_dead_host_is_soon_left_alone(probers: Make) -> None:
    prober, dead = probers(), "http://127.0.0.1:9/"
    doubts = [
        (await prober.probe(behind(f"{dead}{n}.jpg", "image"))).doubts[0].message for n in range(5)
    ]
    assert all("not available" in message for message in doubts[:3])
    assert all("is asked no more" in message for message in doubts[3:])


async def test_addresses_that_are_not_public_are_not_probed(host: Host) -> None:
    prober = RemoteProber("ranges", most_urls=1)
    found = await prober.probe(behind(host.add("a", picture()), "image"))
    await prober.aclose()
    assert "not public" in found.doubts[0].message
    assert host.asked == []


async def test_rows_with_one_url_ask_once_and_the_number_of_urls_is_bounded(
    host: Host, probers: Make
) -> None:
    prober = probers(most_urls=2)
    urls = [host.add(name, picture()) for name in "abc"]
    for url in (*urls, *urls):
        await prober.probe(behind(url, "image"))
    assert len(host.asked) == 2
    (doubt,) = prober.doubts()
    assert doubt.rule == "urls-not-probed"
    assert "2 media behind URLs were not probed" in doubt.message


async def test_content_ends_the_doubt_about_a_format(host: Host, probers: Probers) -> None:
    guessed = Doubt(FORMAT_GUESSED, "does not name its format")
    other = Doubt("reference-read-otherwise", "had blanks around it")
    sound_ = replace(behind(host.add("get.php", sound("WAV", 3.0)), "audio"), format="mp3")
    found = await probers().probe(replace(sound_, doubts=(guessed, other)))
    assert (found.format, found.probed, found.doubts) == ("wav", True, (other,))


async def test_a_url_keeps_its_format_where_nothing_can_be_told(
    host: Host, probers: Probers
) -> None:
    host.answer = host.without_ranges
    url = host.add("clip.mp4", film("mp4", "libx264", 20.0))  # its index lies at the end
    media = replace(behind(url, "video"), format="mp4")
    found = await probers().probe(media)
    assert (found.format, found.probed, found.duration_s) == ("mp4", False, None)
    assert found.size_bytes
