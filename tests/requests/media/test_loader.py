"""URLs pass through, files stay inside the roots, and every refusal names its reference."""

import asyncio
import base64
import hashlib
import os
import sqlite3
import textwrap
import unicodedata
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pytest

from omni_batch.errors import ConfigError, MediaError
from omni_batch.requests.media import MediaLoader
from omni_batch.requests.media.known import KnownMedia
from omni_batch.types import Media, MediaKind
from tests.support.media_files import bomb, picture, sound

Form = Literal["NFC", "NFD"]


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
    for reference in (
        "near.png",
        "../secret.png",
        "photos/../../secret.png",
        "photos-2/cat.png",
        str(tmp_path / "secret.png"),
        "/etc/passwd",
    ):
        assert refusal(loader, reference) == (
            f"{reference} lies outside media.roots; add its folder there"
        )


def test_a_link_out_of_the_roots_is_refused_and_says_where_it_leads(
    tmp_path: Path, folder: Path
) -> None:
    loader = MediaLoader(folder, ["photos"])
    (folder / "photos" / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "photos" / "up").symlink_to(tmp_path)
    rest = f"{tmp_path}/secret.png, outside media.roots; add the folder {tmp_path} there"
    assert refusal(loader, "photos/link.png") == f"photos/link.png is a link to {rest}"
    through = "photos/up/secret.png leads through the link up to"
    assert refusal(loader, "photos/up/secret.png") == f"{through} {rest}"
    odd = refusal(loader, "photos/up/../photos/cat.png")
    assert odd.endswith("lies outside media.roots; add its folder there")


def test_outside_the_roots_nobody_learns_what_exists(loader: MediaLoader) -> None:
    assert "lies outside media.roots" in refusal(loader, "../gone.png")


@pytest.mark.parametrize("reference", ["azure://bucket/a.png", "FTP://host/a.png"])
def test_a_url_of_another_scheme_is_refused_with_what_is_taken(
    loader: MediaLoader, reference: str
) -> None:
    assert refusal(loader, reference) == (
        f"{reference} can't be fetched: give an http(s) URL (a signed one, if it is private), an "
        "s3://, gs://, oss:// or hf:// address, or a file"
    )


@pytest.mark.parametrize("url", ["https://[half/a.png", "file://[half/a.png"])
def test_what_only_looks_like_a_url_is_refused(loader: MediaLoader, url: str) -> None:
    assert url in refusal(loader, url)


@pytest.mark.parametrize(
    "reference", ["gone.png", "photos/cat.png/x", "file:/etc/passwd", "~/a.png"]
)
def test_what_is_not_there_is_refused(loader: MediaLoader, reference: str) -> None:
    assert reference in refusal(loader, reference)


def test_a_folder_a_pipe_and_a_device_are_refused_unopened(
    folder: Path, loader: MediaLoader
) -> None:
    os.mkfifo(folder / "pipe.png")
    assert refusal(loader, "pipe.png") == "pipe.png is not a regular file; name one"
    assert refusal(loader, "photos") == "photos is a folder; name a file in it"
    assert (
        refusal(MediaLoader(Path("/dev"), ["."]), "zero") == "zero is not a regular file; name one"
    )


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


# --- names as they travel ---


@pytest.mark.parametrize(
    "reference", ["HTTPS://Example.com/A.mp3", " https://Example.com/A.mp3\n", "Oss://b/A.mp3"]
)
def test_schemes_have_no_case_and_urls_no_blanks(loader: MediaLoader, reference: str) -> None:
    media = load(loader, reference, "audio")
    assert media.url in ("https://Example.com/A.mp3", "oss://b/A.mp3")
    assert (media.reference, media.format) == (reference, "mp3")
    assert bool(media.doubts) is (reference[0] == " ")


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("https://h/a.m4a", "aac"),
        ("https://h/a.3gpp?x=1", "3gp"),
        ("https://h/a.wav;v=1", "wav"),
        ("https://h/a.opus", "ogg"),
        ("https://h/get.php?id=7", None),
        ("https://h/stream", None),
        ("https://h/a.jpg", None),
    ],
)
def test_the_format_of_a_sound_behind_a_url_is_one_that_the_service_knows(
    loader: MediaLoader, url: str, form: str | None
) -> None:
    media = load(loader, url, "audio")
    assert media.format == (form or "mp3")
    assert [doubt.rule for doubt in media.doubts] == ([] if form else ["format-guessed"])


@pytest.mark.parametrize(
    ("reference", "how"),
    [
        ("photos\\cat.png", "with / for \\"),
        (".\\photos\\cat.png", "with / for \\"),
        ("photos/cat.png ", "without the blanks around it"),
        ("\u00a0photos/cat.png", "without the blanks around it"),
        ("\ufeffphotos/cat.png", "without the blanks around it"),
        ("photos%2Fcat.png", "with its percent signs decoded"),
        ("photos/c%61t.png", "with its percent signs decoded"),
    ],
)
def test_a_name_is_found_as_it_was_meant_and_that_is_said(
    folder: Path, loader: MediaLoader, reference: str, how: str
) -> None:
    media = load(loader, reference)
    assert media.path == folder / "photos" / "cat.png"
    assert media.reference == reference
    (doubt,) = media.doubts
    assert doubt.rule == "reference-read-otherwise"
    assert doubt.message.endswith(f"does not exist as written: read {how}")


@pytest.mark.parametrize("name", ["cat.png ", "c\\at.png", "c%61t.png", " cat.png"])
def test_a_file_that_really_has_such_a_name_wins(
    folder: Path, loader: MediaLoader, name: str
) -> None:
    (folder / "photos" / name).write_bytes(picture("PNG", 10, 12))
    media = load(loader, f"photos/{name}")
    assert (media.height_px, media.doubts) == (12, ())


@pytest.mark.parametrize("disk", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_letters_with_accents_are_found_in_either_form(
    folder: Path, loader: MediaLoader, disk: Form, written: Form
) -> None:
    other: Form = "NFD" if disk == "NFC" else "NFC"
    place = folder / unicodedata.normalize(disk, "é") / unicodedata.normalize(other, "ö")
    place.mkdir(parents=True)
    (place / unicodedata.normalize(disk, "café.png")).write_bytes(picture("PNG"))
    media = load(loader, unicodedata.normalize(written, "é/ö/café.png"))
    assert media.width_px == 48
    (doubt,) = media.doubts
    assert doubt.message.endswith("read in the other Unicode form of its letters")


def test_a_blank_and_another_form_at_once(folder: Path, loader: MediaLoader) -> None:
    (folder / "cafe\u0301.png").write_bytes(picture("PNG"))
    (doubt,) = load(loader, "caf\u00e9.png ").doubts
    assert "without the blanks around it in the other Unicode form" in doubt.message


def test_no_spelling_leads_out_of_the_roots(folder: Path) -> None:
    loader = MediaLoader(folder, ["photos"])
    for reference in ("photos\\..\\..\\secret.png", "photos/%2e%2e/%2e%2e/secret.png"):
        assert "secret.png" in refusal(loader, reference)


@pytest.mark.parametrize("scheme", ["file://", "file://localhost", "FILE://", "file:"])
def test_a_file_url_is_a_path(folder: Path, loader: MediaLoader, scheme: str) -> None:
    (folder / "my cat.png").write_bytes(picture("PNG"))
    media = load(loader, f"{scheme}{quote(str(folder))}/my%20cat.png")
    assert (media.path, media.doubts) == (folder / "my cat.png", ())


def test_a_file_url_is_held_to_the_roots_and_to_this_machine(loader: MediaLoader) -> None:
    assert "lies outside media.roots" in refusal(loader, "file:///etc/passwd")
    assert "names the host server; write file:///…" in refusal(loader, "file://server/a.png")


def test_what_does_not_exist_is_told_with_a_hint(folder: Path, loader: MediaLoader) -> None:
    assert refusal(loader, "gone.png") == "gone.png does not exist; check the manifest"
    assert refusal(loader, "gone.png ") == "'gone.png ' does not exist; check the manifest"
    assert "there is cat.png: correct" in refusal(loader, "photos/CAT.PNG")
    assert "in place of ~" in refusal(loader, "~/cat.png")
    assert "write https://" in refusal(loader, "www.example.com/cat.png")


@pytest.mark.parametrize("reference", ["x" * 5000, "photos/" + "y/" * 300, "ftp://b/" + "z" * 5000])
def test_a_long_reference_is_not_repeated_whole(loader: MediaLoader, reference: str) -> None:
    message = refusal(loader, reference)
    assert len(message) < 400
    assert f"({len(reference):,} characters)" in message


# --- data URIs ---


def data_uri(content: bytes, mime_type: str = "image/png") -> str:
    return f"data:{mime_type};base64,{base64.b64encode(content).decode()}"


def test_a_data_uri_is_probed_like_a_file_and_passes_through_as_it_is(loader: MediaLoader) -> None:
    content = picture("PNG", 48, 32)
    uri = data_uri(content)
    media = load(loader, uri)
    assert (media.url, media.reference, media.path) == (uri, uri, None)
    assert (media.mime_type, media.format) == ("image/png", "png")
    assert (media.width_px, media.height_px, media.size_bytes) == (48, 32, len(content))
    assert media.probed
    assert media.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "stated", ["", "audio/mpeg", "audio/wav;rate=8000", "application/octet-stream", "image/png"]
)
def test_the_stated_type_decides_nothing(loader: MediaLoader, stated: str) -> None:
    """Samples of the vendor's guide leave it out: `data:;base64,…`."""
    uri = data_uri(sound("WAV", 1.5), stated)
    media = load(loader, uri, "audio")
    assert (media.format, media.mime_type, media.url) == ("wav", "audio/wav", uri)
    assert media.duration_s == pytest.approx(1.5)


@pytest.mark.parametrize(
    "change",
    [
        lambda uri: uri.replace("data:", "DATA:").replace("base64", "BASE64"),
        lambda uri: f" {uri}\n",
        lambda uri: "\n".join(textwrap.wrap(uri, 76)),
        lambda uri: uri.rstrip("="),
        lambda uri: uri.replace("+", "-").replace("/", "_").replace("image_", "image/"),
    ],
)
def test_a_data_uri_in_another_form_is_sent_in_the_usual_one(
    loader: MediaLoader, change: Callable[[str], str]
) -> None:
    uri = data_uri(picture("PNG"))
    media = load(loader, change(uri))
    assert media.url == uri
    assert media.width_px == 48
    (doubt,) = media.doubts
    assert doubt.rule == "reference-read-otherwise"
    assert "sent as data:…;base64,…" in doubt.message


@pytest.mark.parametrize(
    ("uri", "kind", "reason"),
    [
        ("data:image/png,abc", "image", "is not base64; write data:…;base64,…"),
        ("data:image/svg+xml;utf8,<svg/>", "image", "is not base64; write data:…;base64,…"),
        ("data:image/png;base64", "image", "is not base64; write data:…;base64,…"),
        ("data:image/png;base64,a*b=", "image", "is not base64: encode the file again"),
        ("data:image/png;base64,abcde", "image", "is not base64: encode the file again"),
        ("data:image/png;base64,YW*Jj", "image", "is not base64: encode the file again"),
        ("data:image/png;base64,", "image", "it is empty"),
        (data_uri(picture("PNG")), "audio", "put it in the column image"),
        (data_uri(b"<html>404</html>", "image/jpeg"), "image", "it is an HTML page"),
        (data_uri(picture("JPEG")[:200], "image/jpeg"), "image", "it is cut off"),
    ],
)
def test_a_data_uri_that_is_none_is_refused(
    loader: MediaLoader, uri: str, kind: MediaKind, reason: str
) -> None:
    message = refusal(loader, uri, kind)
    assert reason in message
    assert message.startswith(uri[:40])
    assert len(message) < 250


def test_a_data_uri_over_the_cap_is_refused_and_not_repeated(folder: Path) -> None:
    message = refusal(MediaLoader(folder, ["."], 1000), data_uri(bytes(3000)))
    assert "holds 3,000 bytes; the limit here is 1,000" in message
    assert len(message) < 200


@pytest.mark.parametrize(
    ("content", "mime_type"),
    [
        *((picture("JPEG"), "image/jpeg"), (picture("PNG"), "image/png")),
        *((picture("GIF"), "image/gif"), (sound("WAV"), "audio/wav")),
        *((b"ID3\4" + bytes(99), "audio/mpeg"), (b"\0\0\0\x20ftypisom" + bytes(99), "video/mp4")),
        *((b"OggS" + bytes(99), "audio/ogg"), (b"\xff\xfb\x90\x64" * 300, "")),
    ],
)
def test_base64_without_its_beginning_is_told_what_is_missing(
    loader: MediaLoader, content: bytes, mime_type: str
) -> None:
    message = refusal(loader, base64.b64encode(content).decode())
    assert f"write data:{mime_type};base64,… before it" in message
    assert len(message) < 150


def test_a_long_name_is_not_taken_for_base64(loader: MediaLoader) -> None:
    assert "does not exist" in refusal(loader, "folder/with/many/folders/in/it/and/in/them/photo")
    begins_as_jpeg_xl = "/workshop/datasets/of/many/kinds/in/folders/photo-2.jpg"
    assert "media.roots" in refusal(loader, begins_as_jpeg_xl)


# --- once for many rows ---


def _written(path: Path, content: bytes, time_ns: int) -> None:
    path.write_bytes(content)
    os.utime(path, ns=(time_ns, time_ns))


def test_a_file_of_many_rows_is_read_once_until_it_changes(
    loader: MediaLoader, folder: Path
) -> None:
    path, then = folder / "photos" / "cat.png", 10**18
    _written(path, picture("PNG"), then)
    media = load(loader, "photos/cat.png")
    assert load(loader, "photos/cat.png").sha256 is media.sha256  # no equal one, made anew
    _written(path, picture("PNG", 20, 30), then)
    changed = load(loader, "photos/cat.png")
    assert (changed.width_px, changed.height_px) == (20, 30)
    assert changed.sha256 != media.sha256


def test_what_is_known_of_a_file_is_kept_for_the_next_run(folder: Path, tmp_path: Path) -> None:
    path, file = folder / "photos" / "cat.png", tmp_path / "cache" / "media.sqlite"
    _written(path, picture("PNG"), 10**18)
    media = load(MediaLoader(folder, ["."], kept=KnownMedia(file)), "photos/cat.png")
    with closing(sqlite3.connect(file)) as cache, cache:
        (kept,) = cache.execute("SELECT media FROM media").fetchone()
        marked = kept.replace(b'"width_px":48', b'"width_px":4800')
        cache.execute("UPDATE media SET media = ?", (marked,))
    again = MediaLoader(folder, ["."], kept=KnownMedia(file))
    assert load(again, "photos/cat.png") == replace(media, width_px=4800)
    _written(path, picture("PNG"), 10**18 + 1)
    assert load(again, "photos/cat.png") == media


@pytest.mark.parametrize("content", [None, b"no database"])
def test_without_a_cache_all_is_read(folder: Path, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "cache" / "media.sqlite"
    if content is None:
        file.parent.write_bytes(b"a file in the place of the folder")
    else:
        file.parent.mkdir()
        file.write_bytes(content)
    _written(folder / "photos" / "cat.png", picture("PNG"), 10**18)
    assert load(MediaLoader(folder, ["."], kept=KnownMedia(file)), "photos/cat.png").width_px == 48


def test_a_file_that_was_just_written_is_read_again(loader: MediaLoader, folder: Path) -> None:
    path = folder / "photos" / "cat.png"
    media = load(loader, "photos/cat.png")
    status = path.stat()
    path.write_bytes(picture("PNG", 20, 30))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert load(loader, "photos/cat.png").sha256 != media.sha256


def test_a_folder_may_be_called_like_the_way_into_an_archive(
    loader: MediaLoader, folder: Path
) -> None:
    (folder / "literal!").mkdir()
    (folder / "literal!" / "a.png").write_bytes(picture("PNG"))
    assert load(loader, "literal!/a.png").path == folder / "literal!" / "a.png"
    assert "gone.tar!/a.png does not exist" in refusal(loader, "gone.tar!/a.png")


def test_an_archive_outside_the_roots_is_not_read(folder: Path) -> None:
    loader = MediaLoader(folder, ["photos"])
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("a.png", picture("PNG"))
    assert "lies outside media.roots" in refusal(loader, "a.zip!/a.png")
    within = MediaLoader(folder, ["."])
    for reference in ("a.zip!/a.png", f"file://{folder}/a.zip!/a.png", " a.zip!/a.png"):
        assert load(within, reference).width_px == 48
    assert [doubt.rule for doubt in load(within, " a.zip!/a.png").doubts] == [
        "reference-read-otherwise"
    ]
