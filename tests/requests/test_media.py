"""URLs pass through, files stay inside the roots, and every refusal names its reference."""

import asyncio
import base64
import os
from pathlib import Path

import pytest

from omni_batch.errors import ConfigError, MediaError
from omni_batch.requests.media import MediaLoader
from omni_batch.types import Media, MediaKind
from tests.support.media_files import bomb, picture, sound


def load(loader: MediaLoader, reference: str, kind: MediaKind = "image") -> Media:
    return asyncio.run(loader.load(Media(kind, reference)))


def refusal(loader: MediaLoader, reference: str, kind: MediaKind = "image") -> str:
    with pytest.raises(MediaError) as refused:
        load(loader, reference, kind)
    return str(refused.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A manifest's folder with a picture, and another picture beside it."""
    folder = tmp_path / "data"
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "cat.png").write_bytes(picture("PNG"))
    (tmp_path / "secret.png").write_bytes(picture("PNG"))
    return folder


@pytest.fixture
def loader(folder: Path) -> MediaLoader:
    return MediaLoader(folder, ["."])


# --- what goes through ---


@pytest.mark.parametrize(
    ("kind", "url", "format_name"),
    [
        ("image", "https://example.com/a%20b.PNG?sig=x#f", "png"),
        ("audio", "http://example.com/speech.wav", "wav"),
        ("audio", "https://example.com/stream", "mp3"),
        ("video", "oss://bucket/clip.mp4", "mp4"),
    ],
)
def test_a_url_passes_through_untouched(
    loader: MediaLoader, kind: MediaKind, url: str, format_name: str
) -> None:
    assert load(loader, url, kind) == Media(kind, url, url=url, format=format_name)


@pytest.mark.parametrize("reference", ["photos/cat.png", "./photos/../photos/cat.png"])
def test_a_path_starts_from_the_manifests_folder(
    folder: Path, loader: MediaLoader, reference: str
) -> None:
    media = load(loader, reference)
    assert (media.reference, media.path) == (reference, folder / "photos" / "cat.png")
    assert (media.url, media.width_px, media.mime_type) == (None, 48, "image/png")


def test_an_absolute_path_inside_the_roots_is_read(folder: Path, loader: MediaLoader) -> None:
    path = folder / "photos" / "cat.png"
    assert load(loader, str(path)).path == path


def test_a_link_that_stays_inside_the_roots_is_followed(folder: Path, loader: MediaLoader) -> None:
    (folder / "link.png").symlink_to(folder / "photos" / "cat.png")
    assert load(loader, "link.png").path == folder / "photos" / "cat.png"


def test_a_root_may_lie_anywhere(folder: Path) -> None:
    loader = MediaLoader(folder, [".."])
    assert load(loader, "../secret.png").width_px == 48


def test_a_root_that_is_no_folder_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"media\.roots: .*cat\.png is not a folder"):
        MediaLoader(folder, ["photos/cat.png"])
    with pytest.raises(ConfigError, match=r"media\.roots: .*gone is not a folder"):
        MediaLoader(folder, [".", "gone"])


# --- what stays out ---


def test_nothing_outside_the_roots_is_read(tmp_path: Path, folder: Path) -> None:
    loader = MediaLoader(folder, ["photos"])
    (folder / "near.png").write_bytes(picture("PNG"))
    (folder / "photos-2").mkdir()
    (folder / "photos-2" / "cat.png").write_bytes(picture("PNG"))
    (folder / "photos" / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "photos" / "up").symlink_to(tmp_path)
    for reference in (
        "near.png",
        "../secret.png",
        "photos/../../secret.png",
        "photos-2/cat.png",
        "photos/link.png",
        "photos/up/secret.png",
        str(tmp_path / "secret.png"),
        "/etc/passwd",
    ):
        assert refusal(loader, reference) == (
            f"{reference} lies outside media.roots; add its folder there"
        )


def test_outside_the_roots_nobody_learns_what_exists(loader: MediaLoader) -> None:
    assert "lies outside media.roots" in refusal(loader, "../gone.png")


@pytest.mark.parametrize(
    "reference", ["file:///etc/passwd", "s3://bucket/a.png", "FTP://host/a.png", "HTTP://host/a"]
)
def test_a_url_of_another_scheme_is_refused(loader: MediaLoader, reference: str) -> None:
    assert f"{reference} is not an http(s) or oss URL" in refusal(loader, reference)


@pytest.mark.parametrize(
    "reference", ["gone.png", "photos/cat.png/x", "file:/etc/passwd", "~/a.png"]
)
def test_what_is_not_there_is_refused(loader: MediaLoader, reference: str) -> None:
    assert reference in refusal(loader, reference)


def test_a_folder_a_pipe_and_a_device_are_refused_unopened(
    folder: Path, loader: MediaLoader
) -> None:
    os.mkfifo(folder / "pipe.png")
    assert refusal(loader, "pipe.png") == "pipe.png is not a regular file"
    assert refusal(loader, "photos") == "photos is not a regular file"
    assert refusal(MediaLoader(Path("/dev"), ["."]), "zero") == "zero is not a regular file"


def test_names_that_no_file_can_have_are_refused(folder: Path, loader: MediaLoader) -> None:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    for reference in ("a\0.png", "x" * 5000, "a"):
        assert reference[:100].encode("unicode_escape").decode() in refusal(loader, reference)


@pytest.mark.parametrize(
    "content", [b"", b"no image", picture("JPEG")[:-400], bomb(), sound("MP3")]
)
def test_a_file_that_is_no_whole_image_is_refused_by_its_reference(
    folder: Path, loader: MediaLoader, content: bytes
) -> None:
    (folder / "photos" / "odd.jpg").write_bytes(content)
    assert "photos/odd.jpg" in refusal(loader, "photos/odd.jpg")


# --- size ---


def test_a_file_over_the_cap_is_refused_with_its_size(folder: Path) -> None:
    size_bytes = (folder / "photos" / "cat.png").stat().st_size
    loader = MediaLoader(folder, ["."], size_bytes - 1)
    assert f"photos/cat.png has {size_bytes:,} bytes" in refusal(loader, "photos/cat.png")
    assert load(MediaLoader(folder, ["."], size_bytes), "photos/cat.png").size_bytes == size_bytes


def test_a_huge_file_is_refused_before_it_is_read(folder: Path, loader: MediaLoader) -> None:
    with (folder / "huge.png").open("wb") as file:
        file.truncate(2**40)  # a terabyte of nothing, and hashing it would take an hour
    assert "huge.png has 1,099,511,627,776 bytes" in refusal(loader, "huge.png")


# --- data URIs ---


def data_uri(content: bytes, mime_type: str = "image/png") -> str:
    return f"data:{mime_type};base64,{base64.b64encode(content).decode()}"


def test_a_data_uri_passes_through_as_it_is(loader: MediaLoader) -> None:
    uri = data_uri(b"12345")
    media = load(loader, uri)
    assert (media.url, media.mime_type, media.format) == (uri, "image/png", "png")
    assert (media.size_bytes, media.path) == (5, None)


def test_a_data_uri_of_sound_may_leave_its_type_out(loader: MediaLoader) -> None:
    """As the vendor's own samples do: `data:;base64,…`."""
    media = load(loader, data_uri(b"12345", ""), "audio")
    assert (media.mime_type, media.format) == ("", "mp3")


def test_parameters_of_a_data_uri_are_no_part_of_its_type(loader: MediaLoader) -> None:
    media = load(loader, data_uri(b"12345", "audio/wav;rate=8000"), "audio")
    assert (media.mime_type, media.format) == ("audio/wav", "wav")


@pytest.mark.parametrize(
    ("uri", "kind", "reason"),
    [
        ("data:image/png,abc", "image", "is not base64; write data:…;base64,…"),
        ("data:image/png;base64", "image", "is not base64; write data:…;base64,…"),
        ("data:image/png;base64,a*b=", "image", "is not base64"),
        ("data:image/png;base64,abc", "image", "is not base64"),
        ("data:image/png;base64,YW*Jj", "image", "is not base64"),
        ("data:image/png;base64,", "image", "contains nothing; expected image"),
        (data_uri(b"12345"), "audio", "contains image/png; expected audio"),
        (data_uri(b"12345", "text/html"), "image", "contains text/html; expected image"),
    ],
)
def test_a_data_uri_that_is_none_is_refused(
    loader: MediaLoader, uri: str, kind: MediaKind, reason: str
) -> None:
    message = refusal(loader, uri, kind)
    assert reason in message
    assert message.startswith(uri[:40])


def test_a_data_uri_over_the_cap_is_refused_and_not_repeated(folder: Path) -> None:
    uri = data_uri(bytes(3000))
    message = refusal(MediaLoader(folder, ["."], 1000), uri)
    assert message.endswith(f"takes {len(uri)} bytes; the limit here is 1,000")
    assert len(message) < 150
