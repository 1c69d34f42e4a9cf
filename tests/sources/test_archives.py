"""Members of tars and zips: by name, each with its own traps, and what is damaged says so."""

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from omni_batch.sources import SourceFault
from omni_batch.sources.archives import reading
from omni_batch.sources.archives.reading import Archives
from omni_batch.sources.spool import Spool

LONG = "deep/" * 40 + "picture.png"
ODD = "Stra\N{LATIN SMALL LETTER SHARP S}e #1 + 50%.png"


@pytest.fixture
def archives(tmp_path: Path) -> Archives:
    (tmp_path / "spool").mkdir()
    return Archives(Spool(tmp_path / "spool"))


def read(archives: Archives, path: Path, member: str) -> bytes:
    return archives.member(path, member, path.name).path.read_bytes()


def refusal(archives: Archives, path: Path, member: str) -> str:
    with pytest.raises(SourceFault) as caught:
        archives.member(path, member, path.name)
    return str(caught.value)


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for made, content in members:
            made.size = len(content)
            archive.addfile(made, io.BytesIO(content))
    return path


@pytest.fixture
def odd_tar(tmp_path: Path) -> Path:
    return tar(
        tmp_path / "odd.tar",
        (entry("./dot/a.png"), b"a"),
        (entry(LONG), b"long"),
        (entry(ODD), b"odd"),
        (entry("hard.png", tarfile.LNKTYPE, "./dot/a.png"), b""),
        (entry("dot/soft.png", tarfile.SYMTYPE, "a.png"), b""),
        (entry("outside.png", tarfile.SYMTYPE, "../../etc/hostname"), b""),
        (entry("ring.png", tarfile.SYMTYPE, "ring.png"), b""),
        (entry("twice.png"), b"first"),
        (entry("twice.png"), b"last"),
        (entry("folder.png", tarfile.DIRTYPE), b""),
        (entry("pipe.png", tarfile.FIFOTYPE), b""),
        (entry("empty.png"), b""),
    )


@pytest.mark.parametrize(
    ("member", "content"),
    [
        *(("dot/a.png", b"a"), ("./dot/a.png", b"a"), (LONG, b"long"), (ODD, b"odd")),
        *(("hard.png", b"a"), ("dot/soft.png", b"a"), ("twice.png", b"last"), ("empty.png", b"")),
    ],
)
def test_a_member_of_a_tar_is_read(
    archives: Archives, odd_tar: Path, member: str, content: bytes
) -> None:
    assert read(archives, odd_tar, member) == content


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("outside.png", "is a link to ../../etc/hostname, which is not in the archive"),
        ("ring.png", "is a link that leads in a ring"),
        ("folder.png", "is a folder; name a file in the archive"),
        ("pipe.png", "is not a file; name a file in the archive"),
        ("gone.png", "odd.tar has no member gone.png; check the manifest"),
    ],
)
def test_what_is_no_file_in_a_tar_is_refused(
    archives: Archives, odd_tar: Path, member: str, words: str
) -> None:
    assert words in refusal(archives, odd_tar, member)


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_packed_tar_is_unpacked_once(archives: Archives, tmp_path: Path, mode: str) -> None:
    path = tar(tmp_path / "p.tar", (entry("a.png"), b"a"), (entry("b.png"), b"b"), mode=mode)
    held = [archives.member(path, member, "p.tar") for member in ("a.png", "b.png")]
    assert [file.path.read_bytes() for file in held] == [b"a", b"b"]
    assert len(list((tmp_path / "spool").glob("*/[0-9]*"))) == 3


@pytest.mark.parametrize(
    "kept_bytes",
    [
        pytest.param(512 + 1024 + 512 + 100, id="in a content"),
        pytest.param(512 + 1024 + 200, id="in a header"),
    ],
)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_cut_tar_gives_what_is_whole_and_says_that_it_is_cut(
    archives: Archives, tmp_path: Path, kept_bytes: int, mode: str
) -> None:
    names = ("first.png", "second.png", "third.png")
    members = [(entry(name), os.urandom(1024)) for name in names]
    whole = tar(tmp_path / "whole.tar", *members).read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole[:kept_bytes])
    if mode == "w:gz":
        packed = tar(tmp_path / "packed.tar.gz", *members, mode=mode).read_bytes()
        cut.write_bytes(packed[: len(packed) // 2])
    assert read(archives, cut, "first.png") == members[0][1]
    for name in ("second.png", "third.png"):
        assert "is cut off" in refusal(archives, cut, name)


def test_a_tar_that_is_changed_is_indexed_anew(archives: Archives, tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", (entry("a.png"), b"old"))
    assert read(archives, path, "a.png") == b"old"
    tar(path, (entry("before.png"), b"x"), (entry("a.png"), b"newer"))
    assert read(archives, path, "a.png") == b"newer"


def test_a_bomb_is_not_unpacked(
    archives: Archives, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_UNPACKS_TO_BYTES", 1000)
    path = tar(tmp_path / "bomb.tar.gz", (entry("a.png"), bytes(2_000_000)), mode="w:gz")
    assert "unpacks to more than" in refusal(archives, path, "a.png")


def zipped(path: Path, change: Callable[[bytes], bytes] = lambda data: data) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"content of a")
        archive.writestr("sub folder/b.png", b"b" * 100, zipfile.ZIP_DEFLATED)
        archive.writestr("lzma.png", b"l" * 100, zipfile.ZIP_LZMA)
        archive.writestr(ODD, b"odd")
        archive.mkdir("folder.png")
        with archive.open("large.png", "w", force_zip64=True) as file:
            file.write(b"zip64")
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    ("member", "content"),
    [
        *(("a.png", b"content of a"), ("sub folder/b.png", b"b" * 100), ("lzma.png", b"l" * 100)),
        *((ODD, b"odd"), ("large.png", b"zip64"), ("./a.png", b"content of a")),
    ],
)
def test_a_member_of_a_zip_is_read(
    archives: Archives, tmp_path: Path, member: str, content: bytes
) -> None:
    assert read(archives, zipped(tmp_path / "a.zip"), member) == content


def test_of_a_name_that_a_zip_has_twice_the_last_counts(archives: Archives, tmp_path: Path) -> None:
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"first")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", b"last")
    assert read(archives, path, "a.png") == b"last"


def test_a_name_that_a_zip_does_not_mark_as_utf_8_is_found(
    archives: Archives, tmp_path: Path
) -> None:
    path = tmp_path / "old.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("\N{LATIN SMALL LETTER E WITH ACUTE}.png", b"e")
    data = bytearray(path.read_bytes())
    for place in (6, data.index(b"PK\1\2") + 8):
        data[place + 1] &= 0xF7  # the flag for UTF-8 (APPNOTE 4.4.4, bit 11)
    path.write_bytes(bytes(data))
    assert read(archives, path, "\N{LATIN SMALL LETTER E WITH ACUTE}.png") == b"e"


def _locked(data: bytes) -> bytes:
    place = data.index(b"PK\1\2") + 8
    return data[:6] + b"\1" + data[7:place] + b"\1" + data[place + 1 :]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.replace(b"content of a", b"content of X"), "is damaged (Bad CRC-32"),
        (lambda data: data[: data.index(b"PK\1\2")], "has no directory at its end"),
        (_locked, "is encrypted with a password"),
    ],
)
def test_a_damaged_or_locked_zip_says_so(
    archives: Archives, tmp_path: Path, change: Callable[[bytes], bytes], words: str
) -> None:
    message = refusal(archives, zipped(tmp_path / "a.zip", change), "a.png")
    assert words in message
    assert "a.zip" in message


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("gone.png", "a.zip has no member gone.png"),
        ("folder.png", "is a folder"),
        ("sub folder", "has no member sub folder"),
    ],
)
def test_what_is_no_file_in_a_zip_is_refused(
    archives: Archives, tmp_path: Path, member: str, words: str
) -> None:
    assert words in refusal(archives, zipped(tmp_path / "a.zip"), member)


def test_an_archive_of_another_kind_is_named(archives: Archives, tmp_path: Path) -> None:
    path = tmp_path / "a.rar"
    path.write_bytes(b"Rar!\x1a\x07")
    assert refusal(archives, path, "a.png").startswith("a.rar is a RAR archive")
    path.write_bytes(b"no archive at all")
    assert "is no tar archive" in refusal(archives, path, "a.png")
