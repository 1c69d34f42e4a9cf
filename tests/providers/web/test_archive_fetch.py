"""Archives behind URLs: whole, from public addresses, and their members are media."""

import asyncio
import io
import zipfile
from pathlib import Path

import pytest
from aiohttp import web

from omni_batch.errors import MediaError
from omni_batch.providers.web.archive_fetch import ArchiveFetch
from omni_batch.requests.media import MediaLoader
from omni_batch.sources import Sources
from omni_batch.sources.spool import Spool
from omni_batch.types import Media
from tests.providers.web.test_download import Host, host
from tests.support.media_files import picture

__all__ = ["host"]


def packed() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("in/a b.png", picture("PNG"))
    return file.getvalue()


def loader(folder: Path, *, allow_private: bool = True) -> MediaLoader:
    fetch = ArchiveFetch(allow_private=allow_private)
    return MediaLoader(folder, ["."], sources=Sources(spool=Spool(folder), web=fetch))


async def test_members_of_an_archive_behind_a_url_are_read(host: Host, tmp_path: Path) -> None:
    host.answer = lambda _: web.Response(body=packed())
    finder = loader(tmp_path)
    reference = Media("image", f"{host.url('/a.zip')}?signature=x!/in/a b.png")
    found = await asyncio.gather(finder.load(reference), finder.load(reference))
    assert {medium.width_px for medium in found} == {48}
    assert len(host.asked) == 1
    assert host.asked[0].query_string == "signature=x"


@pytest.mark.parametrize(
    ("answer", "allow_private", "words"),
    [
        (lambda _: web.Response(body=packed()), False, "media.allow_private_downloads"),
        (lambda _: web.Response(status=404), True, r"does not exist \(HTTP 404\)"),
        (lambda _: web.Response(body=packed()[:-30]), True, "has no directory at its end"),
    ],
)
async def test_an_archive_that_can_not_be_had_is_named(
    host: Host, tmp_path: Path, answer: object, allow_private: bool, words: str
) -> None:
    host.answer = answer  # type: ignore[assignment]
    reference = Media("image", f"{host.url('/a.zip')}?signature=x!/in/a b.png")
    with pytest.raises(MediaError, match=words) as caught:
        await loader(tmp_path, allow_private=allow_private).load(reference)
    assert "a.zip" in str(caught.value)
    assert "signature=x" not in str(caught.value)
