"""Names for what is no medium, or one that is not sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.requests.media.sniff import look_of
from tests.support.media_files import picture, recording, sound, still

SENT = {
    "JPEG": picture("JPEG"), "PNG": picture("PNG"), "GIF": picture("GIF"), "BMP": picture("BMP"),
    "TIFF": picture("TIFF"), "WEBP": picture("WEBP"), "HEIC": still(), "WAV": sound("WAV"),
    "FLAC": sound("FLAC"), "AVIF": still((b"avif", b"mif1")),
}  # fmt: skip
NOT_SENT = [
    (b"<!DOCTYPE html><html>404</html>", "an HTML page", "download it again"),
    (b"\n <!-- page --> <HTML lang=en>", "an HTML page", "download it again"),
    ("<html>é</html>".encode("latin-1"), "an HTML page", "download it again"),
    ("<html>".encode("utf-16"), "an HTML page", "download it again"),
    (b'{"error": "gone"}', "JSON text ('{\"error\": \"gone\"}')", "download it again"),
    (b"<?xml version='1.0'?><Error/>", "an XML document", "download it again"),
    (b"Access denied.\n", "text ('Access denied.')", "download it again"),
    (b" \n", "blank text", "download it again"),
    (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer", "git lfs pull"),
    (b"#EXTM3U\n", "a playlist", "give the file"),
    (b"/9j/4AAQ" * 20, "base64 text", "decode it"),
    (b"%PDF-1.7", "a PDF document", "as images"),
    (b"PK\3\4", "a ZIP archive", "unpack it"),
    (b"\x1f\x8b\x08", "a gzip archive", "unpack it"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'>", "an SVG drawing", "convert it to jpeg or png"),
    (b"<?xml version='1.0'?>\n<svg width='1'>", "an SVG drawing", "convert it to jpeg or png"),
    (b"8BPS\0\1", "a Photoshop image", "convert it to jpeg or png"),
    (b"\0\0\1\0\1\0", "an ICO icon", "convert it to jpeg or png"),
    (b"\xff\x0a\xfa\x1f", "a JPEG XL image", "convert it to jpeg or png"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image", "convert it to jpeg or png"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image", "convert it to jpeg or png"),
    (b"II*\0\x10\0\0\0CR\2\0", "a Canon raw photo", "convert it to jpeg or png"),
    (b"\0\0\0\x18ftypcrx \0\0", "a Canon raw photo", "convert it to jpeg or png"),
    (b"\0\5\x16\7\0\2\0\0Mac OS X", "macOS's note on a file (its name begins with ._)", "leave"),
    (b"MThd\0\0\0\6", "a MIDI file: notes, no sound", "render it"),
    (recording("aiff", "pcm_s16be"), "an AIFF recording", "convert it to wav or mp3"),
    (recording("caf", "pcm_s16le"), "a CAF recording", "convert it to wav or mp3"),
    (recording("au", "pcm_s16be"), "an AU recording", "convert it to wav or mp3"),
    (recording("w64", "pcm_s16le"), "a Wave64 recording", "convert it to wav or mp3"),
    (recording("ac3", "ac3", rate_hz=48_000), "an AC-3 recording", "convert it to wav or mp3"),
]  # fmt: skip


@pytest.mark.parametrize("name", SENT)
def test_what_is_sent_has_a_name_and_no_remedy(name: str) -> None:
    look = look_of(SENT[name][:1024])
    assert look is not None
    assert name in look.name
    assert (bool(look.mime_type), look.remedy) == (True, "")


@pytest.mark.parametrize(("content", "name", "remedy"), NOT_SENT)
def test_what_is_not_sent_has_a_name_and_a_remedy(content: bytes, name: str, remedy: str) -> None:
    look = look_of(content[:1024])
    assert look is not None
    assert look.name == name
    assert remedy in look.remedy


def test_a_key_in_a_text_is_not_shown() -> None:
    secret = f"sk-{'7' * 16}"
    look = look_of(f'{{"key": "{secret}"}}'.encode())
    assert look is not None
    assert secret not in look.name


@pytest.mark.parametrize("content", [recording("mp4", "aac"), recording("adts", "aac"), bytes(99)])
def test_what_only_a_decoder_can_tell_has_no_name(content: bytes) -> None:
    assert look_of(content[:1024]) is None


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_have_a_name_or_none(content: bytes) -> None:
    look = look_of(content)
    assert look is None or look.name
