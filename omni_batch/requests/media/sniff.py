"""What the first bytes of a file say it is: names for messages, and pages that are no media. Pure.

Media are decoded to be sure; this names what is no medium, or a medium that is not sent.
"""

import re
from dataclasses import dataclass

from omni_batch.text import one_line
from omni_batch.types import MediaKind

HEAD_BYTES = 1024
"""How much of a file is looked at."""
_SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True)
class Look:
    """What a file looks like."""

    name: str
    """With its article: "a JPEG image"."""
    kind: MediaKind | None = None
    """None where it is no medium, or where only its streams tell."""
    mime_type: str = ""
    """Of what is sent as it is."""
    remedy: str = ""
    """What to do about it; empty where it is sent as it is."""
    decoded: bool = False
    """Whether it is decoded here all the same, to be sent in another form."""


_AGAIN = "it was saved in place of the file: download it again"
_TO_PICTURE = "convert it to jpeg or png"
_TO_SOUND = "convert it to wav or mp3"
_TO_VIDEO = "convert it to mp4"
_UNPACK = "unpack it"
_LEAVE_OUT = "leave it out"

_COMMENTS = r"(<\?xml[^>]*>|<!--.*?-->|\s)*"
_HTML = _COMMENTS + r"<(!doctype html|html|head|body|title|meta|script|div|p|h1|center)[\s>]"
_SVG = _COMMENTS + r"<(!doctype )?svg[\s>]"
_BEGINNINGS: tuple[tuple[int, bytes, Look], ...] = (
    (0, b"\xff\xd8\xff", Look("a JPEG image", "image", "image/jpeg")),
    (0, b"\x89PNG\r\n\x1a\n", Look("a PNG image", "image", "image/png")),
    (0, b"GIF8", Look("a GIF image", "image", "image/gif")),
    (8, b"CR\2", Look("a Canon raw photo", "image", remedy=_TO_PICTURE)),
    (4, b"ftypcrx ", Look("a Canon raw photo", "image", remedy=_TO_PICTURE)),
    (0, b"FUJIFILMCCD-RAW", Look("a Fujifilm raw photo", "image", remedy=_TO_PICTURE)),
    (0, b"IIRO", Look("an Olympus raw photo", "image", remedy=_TO_PICTURE)),
    (0, b"II*\0", Look("a TIFF image", "image", "image/tiff")),
    (0, b"MM\0*", Look("a TIFF image", "image", "image/tiff")),
    (8, b"WEBP", Look("a WEBP image", "image", "image/webp")),
    (0, b"II+\0", Look("a BigTIFF image", "image", remedy=_TO_PICTURE, decoded=True)),
    (0, b"8BPS", Look("a Photoshop image", "image", remedy=_TO_PICTURE, decoded=True)),
    (0, b"\0\0\1\0", Look("an ICO icon", "image", remedy=_TO_PICTURE, decoded=True)),
    (0, b"\xff\x0a", Look("a JPEG XL image", "image", remedy=_TO_PICTURE)),
    (4, b"JXL \r\n", Look("a JPEG XL image", "image", remedy=_TO_PICTURE)),
    (4, b"jP  \r\n", Look("a JPEG 2000 image", "image", remedy=_TO_PICTURE, decoded=True)),
    (0, b"%!PS", Look("a PostScript drawing", "image", remedy=_TO_PICTURE)),
    (0, b"\xc5\xd0\xd3\xc6", Look("a PostScript drawing", "image", remedy=_TO_PICTURE)),
    (0, b"%PDF", Look("a PDF document", remedy="send its pages as images")),
    (8, b"WAVE", Look("a WAV recording", "audio", "audio/wav")),
    (0, b"fLaC", Look("a FLAC recording", "audio", "audio/flac")),
    (0, b"#!AMR", Look("an AMR recording", "audio", "audio/amr")),
    (0, b"ID3", Look("an MP3 recording", "audio", "audio/mpeg")),
    (8, b"AIFF", Look("an AIFF recording", "audio", remedy=_TO_SOUND, decoded=True)),
    (8, b"AIFC", Look("an AIFF recording", "audio", remedy=_TO_SOUND, decoded=True)),
    (0, b"caff", Look("a CAF recording", "audio", remedy=_TO_SOUND, decoded=True)),
    (0, b".snd", Look("an AU recording", "audio", remedy=_TO_SOUND, decoded=True)),
    (0, b"dns.", Look("an AU recording", "audio", remedy=_TO_SOUND, decoded=True)),
    (
        0,
        b"riff\x2e\x91\xcf\x11",
        Look("a Wave64 recording", "audio", remedy=_TO_SOUND, decoded=True),
    ),
    (0, b"\x0b\x77", Look("an AC-3 recording", "audio", remedy=_TO_SOUND, decoded=True)),
    (0, b"\x7f\xfe\x80\x01", Look("a DTS recording", "audio", remedy=_TO_SOUND, decoded=True)),
    (0, b"wvpk", Look("a WavPack recording", "audio", remedy=_TO_SOUND, decoded=True)),
    (0, b"MAC ", Look("a Monkey's Audio recording", "audio", remedy=_TO_SOUND, decoded=True)),
    (0, b"DSD ", Look("a DSF recording", "audio", remedy=_TO_SOUND, decoded=True)),
    (0, b"MThd", Look("a MIDI file: notes, no sound", remedy="render it to wav or mp3")),
    (0, b".RMF", Look("a RealMedia video", "video", remedy=_TO_VIDEO, decoded=True)),
    (0, b"\0\0\0\1\x67", Look("a bare H.264 stream", "video", remedy=_TO_VIDEO, decoded=True)),
    (0, b"\0\0\0\1\x40", Look("a bare H.265 stream", "video", remedy=_TO_VIDEO, decoded=True)),
    (0, b"\0\5\x16\7", Look("macOS's note on a file (its name begins with ._)", remedy=_LEAVE_OUT)),
    (0, b"PK\3\4", Look("a ZIP archive", remedy=_UNPACK)),
    (0, b"\x1f\x8b", Look("a gzip archive", remedy=_UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", Look("a 7-Zip archive", remedy=_UNPACK)),
    (0, b"Rar!", Look("a RAR archive", remedy=_UNPACK)),
    (257, b"ustar", Look("a tar archive", remedy=_UNPACK)),
    (0, b"PAR1", Look("a Parquet file", remedy="give it as manifest.path")),
)
"""Offset and bytes that tell; the first that fits counts."""
_WRAPPED_IN = {
    b"WEBP": (b"RIFF",),
    b"WAVE": (b"RIFF", b"RF64", b"BW64"),
    b"AIFF": (b"FORM",),
    b"AIFC": (b"FORM",),
}
"""What a name at offset 8 is the inner name of."""
_BITMAP = Look("a BMP image", "image", "image/bmp")
_HEIF_BRANDS = {
    "heic": (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"),
    "avif": (b"avif", b"avis"),
    "heif": (b"mif1", b"mif2", b"msf1", b"miaf", b"avci", b"1pic"),
}
"""Brands of ISO files that hold images, by their coding; `heif` leaves it open."""


_TEXTS: tuple[tuple[re.Pattern[str], str, MediaKind | None, str], ...] = (
    (re.compile(_HTML, re.I | re.S), "an HTML page", None, _AGAIN),
    (re.compile("version https://git-lfs"), "a Git LFS pointer", None, "run git lfs pull"),
    (re.compile(_SVG, re.I | re.S), "an SVG drawing", "image", _TO_PICTURE),
    (re.compile("#EXTM3U|ffconcat"), "a playlist", None, "give the file that it names"),
    (re.compile("<"), "an XML document", None, _AGAIN),
    (re.compile("data:|[A-Za-z0-9+/_-]{60}"), "base64 text", None, "decode it into a file"),
)
"""How texts of a kind begin, their kind as media, and what to do."""


def look_of(head: bytes) -> Look | None:
    """What a file looks like by its first `HEAD_BYTES`; None where it can't be told."""
    if (family := heif_family(head)) is not None:
        name = {"avif": "an AVIF image"}.get(family, "a HEIC image")
        return Look(name, "image", f"image/{family}")
    for offset, beginning, look in _BEGINNINGS:
        if head.startswith(beginning, offset) and head[:4] in _WRAPPED_IN.get(
            beginning, (head[:4],)
        ):
            return look
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return _BITMAP
    return _text(head)


def heif_family(head: bytes) -> str | None:
    """heic, avif or heif for images in an ISO file; None for anything else."""
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = (head[8:12], *(head[start : start + 4] for start in range(16, end - 3, 4)))
    if not any(brands[0] in family for family in _HEIF_BRANDS.values()):
        return None
    return next(name for name, family in _HEIF_BRANDS.items() if not set(family).isdisjoint(brands))


def _text(head: bytes) -> Look | None:
    text = _decoded(head)
    if text is None:
        return None
    start = text.lstrip("\ufeff \t\r\n")
    for beginning, name, kind, remedy in _TEXTS:
        if beginning.match(start):
            return Look(name, kind, remedy=remedy)
    name = "JSON text" if start.startswith(("{", "[")) else "text"
    return Look(f"{name} ({_quoted(start)})" if start else "blank text", remedy=_AGAIN)


def _decoded(head: bytes) -> str | None:
    """The bytes as text; None where they are none."""
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    try:
        text = head.decode(encoding)
    except UnicodeDecodeError as exc:
        if exc.start < len(head) - 3:  # else a character is cut
            # Pages come in many encodings, whose first sign is the same.
            return head.decode("latin-1") if head.lstrip()[:1] in (b"<", b"{") else None
        text = head[: exc.start].decode()
    printable = all(char.isprintable() or char in "\t\r\n\f\ufeff" for char in text)
    return text if text and printable else None


def _quoted(text: str) -> str:
    shown = one_line(text)
    return repr(shown[:_SHOWN_CHARS] + ("…" if len(shown) > _SHOWN_CHARS else ""))
