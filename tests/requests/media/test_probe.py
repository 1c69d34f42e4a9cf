"""Bytes decide what a file is. A broken one is a MediaError, whatever its decoder felt."""

import hashlib
import io
import os
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omni_batch.errors import MediaError
from omni_batch.requests.media.probe import probe, probe_file
from omni_batch.types import Media, MediaKind
from tests.support.media_files import bomb, clip, film, picture, recording, sound, still

REFERENCE = "photos/the one.bin"
KINDS: tuple[MediaKind, ...] = ("image", "audio", "video")


def refusal(path: Path, kind: MediaKind) -> str:
    with pytest.raises(MediaError) as refused:
        probe_file(path, kind, REFERENCE)
    assert REFERENCE in str(refused.value)
    return str(refused.value)


def seen(content: bytes, kind: MediaKind) -> Media:
    return probe(io.BytesIO(content), kind, REFERENCE)


def refused(content: bytes, kind: MediaKind) -> str:
    with pytest.raises(MediaError) as refused:
        seen(content, kind)
    message = str(refused.value)
    assert message.startswith(f"{REFERENCE} can't be sent as {kind}: it ")
    assert len(message) < 300
    return message


def rules(media: Media) -> list[str]:
    return [doubt.rule for doubt in media.doubts]


def saved(folder: Path, content: bytes, name: str = "file.bin") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


# --- what is read off a whole file ---


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_an_image_has_a_size(tmp_path: Path, format_name: str) -> None:
    content = picture(format_name, 48, 32)
    media = probe_file(saved(tmp_path, content), "image", REFERENCE)
    assert (media.kind, media.reference) == ("image", REFERENCE)
    assert (media.width_px, media.height_px) == (48, 32)
    assert (media.mime_type, media.format) == (f"image/{format_name.lower()}", format_name.lower())
    assert (media.size_bytes, media.url) == (len(content), None)
    assert media.sha256 == hashlib.sha256(content).hexdigest()


def test_a_jpeg_with_more_pictures_behind_it_is_sent_as_a_jpeg(tmp_path: Path) -> None:
    file = io.BytesIO()
    first, second = Image.new("RGB", (40, 30)), Image.new("RGB", (40, 30), "red")
    first.save(file, "MPO", save_all=True, append_images=[second])
    media = probe_file(saved(tmp_path, file.getvalue()), "image", REFERENCE)
    assert (media.mime_type, media.width_px) == ("image/jpeg", 40)


@pytest.mark.parametrize(
    ("format_name", "wire_format", "mime_type"),
    [
        ("WAV", "wav", "audio/wav"),
        ("MP3", "mp3", "audio/mpeg"),
        ("FLAC", "flac", "audio/flac"),
        ("OGG", "ogg", "audio/ogg"),
    ],
)
def test_a_recording_has_a_duration(
    tmp_path: Path, format_name: str, wire_format: str, mime_type: str
) -> None:
    media = probe_file(saved(tmp_path, sound(format_name, 0.5)), "audio", REFERENCE)
    assert (media.kind, media.format, media.mime_type) == ("audio", wire_format, mime_type)
    assert media.duration_s == pytest.approx(0.5, abs=0.1)
    assert media.has_sound


@pytest.mark.parametrize("with_sound", [False, True])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov", "clip.avi", "clip.mkv"])
def test_a_video_has_a_size_a_duration_a_rate_and_maybe_sound(
    tmp_path: Path, name: str, with_sound: bool
) -> None:
    path = clip(tmp_path / name, with_sound=with_sound, duration_s=1.0, frames_per_s=10)
    media = probe_file(path, "video", REFERENCE)
    assert (media.kind, media.width_px, media.height_px) == ("video", 64, 48)
    assert media.duration_s == pytest.approx(1.0, abs=0.15)
    assert media.frames_per_s == pytest.approx(10)
    assert media.frame_count in (10, None)  # Matroska does not say
    assert media.has_sound is with_sound


def test_a_name_decides_nothing(tmp_path: Path) -> None:
    assert probe_file(saved(tmp_path, sound("MP3"), "a.jpg"), "audio", REFERENCE).format == "mp3"
    assert probe_file(saved(tmp_path, picture("PNG"), "a.mp4"), "image", REFERENCE).format == "png"


# --- what is refused ---


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_file_is_refused(tmp_path: Path, kind: MediaKind) -> None:
    assert "it is empty" in refusal(saved(tmp_path, b""), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_text_under_a_media_name_is_refused(tmp_path: Path, kind: MediaKind) -> None:
    message = refusal(saved(tmp_path, b"hello\n" * 99, "photo.jpg"), kind)
    assert f"can't be sent as {kind}: it is text ('hello hello" in message


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_file_is_refused(tmp_path: Path, kind: MediaKind) -> None:
    assert "does not exist" in refusal(tmp_path / "gone.jpg", kind)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_an_image_that_is_cut_off_is_refused(tmp_path: Path, format_name: str) -> None:
    content = picture(format_name)
    for cut in (0.2, 0.5, 0.9):
        refusal(saved(tmp_path, content[: int(len(content) * cut)]), "image")


def test_a_video_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.mp4").read_bytes()
    refusal(saved(tmp_path, whole[: len(whole) // 2]), "video")


def test_sound_in_the_place_of_an_image_is_refused(tmp_path: Path) -> None:
    refusal(saved(tmp_path, sound("MP3")), "image")


def test_an_image_in_the_place_of_a_video_is_refused(tmp_path: Path) -> None:
    refusal(saved(tmp_path, picture("JPEG")), "video")


def test_a_video_in_the_place_of_sound_and_back_is_refused(tmp_path: Path) -> None:
    film = clip(tmp_path / "clip.mp4", with_sound=True)
    assert "put it in the column video, or send its sound alone" in refusal(film, "audio")
    assert "put it in the column audio" in refusal(saved(tmp_path, sound("WAV")), "video")


def test_sound_without_a_single_sample_is_refused(tmp_path: Path) -> None:
    assert "nothing in it can be played" in refusal(saved(tmp_path, sound("WAV", 0.0)), "audio")


@pytest.mark.parametrize("side_px", [14_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_goes_off(tmp_path: Path, side_px: int) -> None:
    assert "pixels" in refusal(saved(tmp_path, bomb(side_px)), "image")


def test_our_own_cap_holds_where_somebody_has_lifted_pillows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    message = refusal(saved(tmp_path, bomb(14_000)), "image")
    assert "14000 x 14000 pixels; omni-batch opens images of 100,000,000" in message


def test_a_drawing_that_is_a_program_is_refused(tmp_path: Path) -> None:
    """Pillow would hand PostScript to Ghostscript."""
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    assert "it is a PostScript drawing" in refusal(saved(tmp_path, program), "image")


PLAYLISTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {other}\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
    'type="static"><Period><AdaptationSet><Representation id="1"><BaseURL>{other}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
}


@pytest.mark.parametrize("playlist", PLAYLISTS)
@pytest.mark.parametrize("name", ["clip.mp4", "clip.m3u8"])
def test_a_playlist_is_refused_and_what_it_names_is_never_opened(
    tmp_path: Path, playlist: str, name: str
) -> None:
    other = tmp_path / "other.ts"
    os.mkfifo(other)  # whoever opened it would wait for ever
    path = saved(tmp_path, PLAYLISTS[playlist].format(other=other).encode(), name)
    for kind in ("audio", "video"):
        refusal(path, kind)


# --- any bytes at all ---

SAMPLES = {
    **{name: picture(name) for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")},
    **{name: sound(name, 0.1) for name in ("WAV", "MP3", "FLAC", "OGG")},
}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", SAMPLES)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_spoilt_file_is_a_medium_or_a_media_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    content = bytearray(SAMPLES[name])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"spoilt-{name}"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    for kind in KINDS:
        with suppress(MediaError):
            assert probe_file(path, kind, REFERENCE).kind == kind


# --- what is played ---


def webm(path: Path, *, live: bool) -> Path:
    """Three seconds of VP8; a live one states no duration, as browsers record it."""
    with av.open(str(path), "w", format="webm", options={"live": "1"} if live else {}) as container:
        video = container.add_stream("libvpx", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        noise = np.random.default_rng(7)
        for _ in range(30):
            pixels = noise.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(video.encode())
    return path


def adts(path: Path, duration_s: int) -> Path:
    """Bare AAC, half silence and half noise: its bit rate at the start says nothing."""
    rate_hz = 16_000
    with av.open(str(path), "w", format="adts") as container:
        stream = container.add_stream("aac", rate=rate_hz, layout="mono")
        samples = np.zeros((1, rate_hz * duration_s), np.float32)
        samples[0, samples.size // 2 :] = np.random.default_rng(7).normal(size=samples.size // 2)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate = rate_hz
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("live", [False, True])
def test_a_webm_has_a_duration_even_where_it_states_none(tmp_path: Path, live: bool) -> None:
    media = probe_file(webm(tmp_path / "clip.webm", live=live), "video", REFERENCE)
    assert media.duration_s == pytest.approx(3.0, abs=0.2)
    assert (media.width_px, media.height_px, media.frames_per_s) == (64, 48, 10)


def test_what_would_take_too_long_to_measure_is_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = webm(tmp_path / "clip.webm", live=True)
    loud = saved(tmp_path, recording("mp3", "mp3", 20, write_xing="0"))
    assert not probe_file(loud, "audio", REFERENCE).duration_guessed
    monkeypatch.setattr("omni_batch.requests.media.lengths._PACKETS_AT_MOST", 20)
    cases: tuple[tuple[Path, MediaKind, float], ...] = ((live, "video", 1.9), (loud, "audio", 15))
    for path, kind, least_s in cases:
        media = probe_file(path, kind, REFERENCE)
        assert media.duration_guessed
        assert media.duration_s is not None
        assert media.duration_s >= least_s


def test_bare_aac_is_measured_and_not_guessed(tmp_path: Path) -> None:
    media = probe_file(adts(tmp_path / "sound.aac", 20), "audio", REFERENCE)
    assert media.format == "aac"
    assert media.duration_s == pytest.approx(20, abs=0.1)


def test_a_transport_stream_is_a_video(tmp_path: Path) -> None:
    media = probe_file(clip(tmp_path / "clip.ts", with_sound=True), "video", REFERENCE)
    assert (media.format, media.has_sound) == ("ts", True)
    assert media.frames_per_s is not None


def test_a_video_that_is_broken_behind_its_header_is_refused(tmp_path: Path) -> None:
    content = bytearray(clip(tmp_path / "clip.mp4").read_bytes())
    start = content.index(b"mdat") + 4
    end = content.index(b"moov") - 4
    content[start:end] = bytes(end - start)
    assert "nothing in it can be played" in refusal(saved(tmp_path, bytes(content)), "video")


def test_sound_that_is_broken_behind_its_header_is_refused(tmp_path: Path) -> None:
    content = bytearray(sound("FLAC", 1.0))
    content[200:] = bytes(len(content) - 200)
    refusal(saved(tmp_path, bytes(content)), "audio")


def test_a_video_whose_frames_would_be_a_bomb_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip(tmp_path / "clip.mp4")
    monkeypatch.setattr("omni_batch.requests.media.container.MOST_PIXELS", 64 * 48 - 1)
    assert "64 x 48 pixels; omni-batch opens videos of 3,071" in refusal(path, "video")


def test_a_recording_with_a_cover_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    cover = picture("JPEG")
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        art = container.add_stream("mjpeg", rate=1)
        art.width, art.height, art.pix_fmt = 48, 32, "yuvj420p"
        art.disposition = Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), "fltp", "mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
        packet = av.Packet(cover)
        packet.stream, packet.pts, packet.dts = art, 0, 0
        container.mux(packet)
    media = probe_file(path, "audio", REFERENCE)
    assert media.duration_s == pytest.approx(1.0, abs=0.15)


# --- images that every viewer opens ---


def jpeg(**options: Any) -> bytes:
    """A picture of some size, whose data are not at its end alone."""
    blocks = np.random.default_rng(7).integers(0, 256, (24, 32, 3)).repeat(10, 0).repeat(10, 1)
    file = io.BytesIO()
    image = Image.fromarray(blocks.astype(np.uint8)).convert(options.pop("mode", "RGB"))
    image.save(file, "JPEG", **options)
    return file.getvalue()


JPEGS = {
    "plain": jpeg(),
    "progressive": jpeg(progressive=True),
    "cmyk": jpeg(mode="CMYK"),
    "grey": jpeg(mode="L"),
    "full colour": jpeg(subsampling=0),
    "restarts": jpeg(restart_marker_rows=1),
}


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("end", [b"", b"\xff", bytes(4096)])
def test_a_jpeg_without_its_end_mark_is_sent_with_a_doubt(name: str, end: bytes) -> None:
    media = seen(JPEGS[name][:-2] + end, "image")
    assert (media.mime_type, media.width_px, media.height_px) == ("image/jpeg", 320, 240)
    assert rules(media) == ["image-damaged"]
    assert "has no end mark; its pixels are all there" in media.doubts[0].message


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
@pytest.mark.parametrize("filled", [False, True])
def test_a_jpeg_whose_pixels_are_missing_is_refused(name: str, share: float, filled: bool) -> None:
    whole = JPEGS[name]
    left = whole[: int(len(whole) * share)]
    assert "cut off or damaged" in refused(left + bytes(filled * 5_000), "image")


def test_what_stands_behind_a_whole_jpeg_is_no_matter() -> None:
    for behind in (bytes(4096), b"garbage", JPEGS["grey"]):
        assert seen(JPEGS["plain"] + behind, "image").doubts == ()


def png(*chunks: tuple[bytes, bytes, int | None]) -> bytes:
    """A PNG with more chunks behind its header: name, content, and a checksum of its own."""
    plain = picture("PNG")
    more = [
        struct.pack(">I4s", len(data), name)
        + data
        + struct.pack(">I", zlib.crc32(name + data) if checksum is None else checksum)
        for name, data, checksum in chunks
    ]
    return plain[:33] + b"".join(more) + plain[33:]


@pytest.mark.parametrize(
    "chunk",
    [
        *((name, b"abc\0\0xyz!", 7) for name in (b"pHYs", b"tEXt", b"iCCP", b"eXIf", b"prVt")),
        (b"zTXt", b"workflow\0\0" + zlib.compress(bytes(3_000_000)), None),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(9_000_000)), None),
        (b"pHYs", b"short", None),
    ],
)
def test_a_png_is_not_refused_for_its_metadata(chunk: tuple[bytes, bytes, int | None]) -> None:
    media = seen(png(chunk), "image")
    assert (media.mime_type, media.width_px) == ("image/png", 48)
    assert rules(media) == ["image-damaged"]


def test_a_png_with_damaged_metadata_is_refused_for_its_pixels() -> None:
    damaged = png((b"pHYs", b"abcdefghi", 7))
    assert "cut off or damaged" in refused(damaged[: len(damaged) // 2], "image")


@pytest.mark.parametrize(
    ("form", "what"),
    [("GIF", "is animated"), ("WEBP", "is animated"), ("PNG", "is animated"), ("TIFF", "pages")],
)
def test_of_several_pictures_one_is_looked_at(form: str, what: str) -> None:
    file = io.BytesIO()
    first, second = Image.new("RGB", (40, 30)), Image.new("RGB", (40, 30), "red")
    first.save(file, form, save_all=True, append_images=[second])
    media = seen(file.getvalue(), "image")
    assert rules(media) == ["several-pictures"]
    assert what in media.doubts[0].message


@pytest.mark.parametrize(
    ("brands", "codec", "form"),
    [
        ((b"heic", b"mif1", b"heic"), b"hvc1", "heic"),
        ((b"heix",), b"hvc1", "heic"),
        ((b"hevc",), b"hvc1", "heic"),
        ((b"mif1", b"heic"), b"hvc1", "heic"),
        ((b"mif1",), b"hvc1", "heic"),
        ((b"msf1", b"hevc"), b"hvc1", "heic"),
        ((b"avif", b"mif1"), b"av01", "avif"),
        ((b"mif1", b"miaf"), b"av01", "avif"),
    ],
)
def test_a_phones_photo_is_known_by_its_boxes(
    brands: tuple[bytes, ...], codec: bytes, form: str
) -> None:
    media = seen(still(brands, codec=codec, quarter_turns=3, tile_px=(512, 512)), "image")
    assert (media.format, media.mime_type) == (form, f"image/{form}")
    assert (media.width_px, media.height_px) == (3024, 4032)


def test_a_phones_photo_that_is_cut_off_is_refused() -> None:
    photo = still()
    for share in (0.2, 0.5, 0.99):
        assert "cut off" in refused(photo[: int(len(photo) * share)], "image")


def test_a_phones_photo_has_its_pixels_bounded_too() -> None:
    assert "60000 x 60000 pixels" in refused(still(size_px=(60_000, 60_000)), "image")


# --- in the wrong place, or nothing to send ---


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (lambda: picture("JPEG"), "audio", "a JPEG image; put it in the column image"),
        (
            lambda: picture("GIF"),
            "video",
            "a GIF image; the service takes it for no video: put it in",
        ),
        (lambda: picture("WEBP"), "video", "or send its frames"),
        (lambda: still(), "video", "a HEIC image; the service takes it for no video"),
        (lambda: sound("WAV"), "image", "a WAV recording; put it in the column audio"),
        (lambda: sound("MP3"), "image", "put it in the column audio"),
        (
            lambda: recording("ipod", "aac"),
            "video",
            "a recording (aac); put it in the column audio",
        ),
        (lambda: film("matroska"), "image", "a video (mkv); put it in the column video"),
        (
            lambda: film("mp4"),
            "audio",
            "a video (mp4); put it in the column video, or send its sound",
        ),
        (lambda: film("ogg", "libvpx"), "audio", "a video (ogg); put it in the column video"),
        (lambda: b"<html>404</html>", "image", "an HTML page; it was saved in place of the file"),
        (lambda: b"<html>404</html>", "audio", "an HTML page; it was saved in place of the file"),
        (
            lambda: b"8BPS\0\1" + bytes(50),
            "image",
            "a Photoshop image; taken are bmp, gif, jpeg, png",
        ),
        (
            lambda: recording("aiff", "pcm_s16be"),
            "audio",
            "an AIFF recording; taken are mp3, wav, flac",
        ),
        (lambda: bytes(5_000), "image", "no image of a known kind; taken are bmp, gif"),
        (lambda: bytes(5_000), "audio", "damaged, or of no known kind; taken are mp3, wav"),
        (lambda: np.random.default_rng(7).bytes(5_000), "video", "taken are ogg, mp4, mkv"),
    ],
)
def test_a_refusal_says_what_it_is_and_what_to_do(
    content: Callable[[], bytes], kind: MediaKind, said: str
) -> None:
    assert said in refused(content(), kind)


def test_a_recording_that_was_interrupted_is_called_that() -> None:
    cases: tuple[tuple[bytes, MediaKind], ...] = (
        (film("mp4"), "video"),
        (recording("ipod", "aac"), "audio"),
    )
    for content, kind in cases:
        cut = content[: content.index(b"moov") - 4]
        assert "cut off before its index (moov)" in refused(cut, kind)


def test_a_video_with_its_index_first_that_is_cut_off_is_doubted(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        noise = np.random.default_rng(7)
        for _ in range(30):
            pixels = noise.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(video.encode())
    whole = path.read_bytes()
    assert seen(whole, "video").doubts == ()
    media = seen(whole[: len(whole) // 2], "video")
    assert rules(media) == ["media-cut-off"]
    assert f"of {len(whole):,} bytes are there" in media.doubts[0].message


# --- how long it is ---


@pytest.mark.parametrize(
    ("content", "form", "mime_type", "length_s"),
    [
        (lambda: recording("mp3", "mp3"), "mp3", "audio/mpeg", 3.0),
        (
            lambda: recording("mp3", "mp3", 20, quiet_first=True, write_xing="0"),
            "mp3",
            "audio/mpeg",
            20,
        ),
        (lambda: recording("mp3", "mp3") * 3, "mp3", "audio/mpeg", 9.0),
        (lambda: recording("mp3", "mp3") + b"TAG" + bytes(125), "mp3", "audio/mpeg", 3.0),
        (lambda: recording("mp3", "mp3", write_xing="0") + bytes(90_000), "mp3", "audio/mpeg", 3.0),
        (lambda: recording("adts", "aac"), "aac", "audio/aac", 3.0),
        (lambda: recording("wav", "pcm_s16le"), "wav", "audio/wav", 3.0),
        (lambda: recording("flac", "flac"), "flac", "audio/flac", 3.0),
        (lambda: recording("ipod", "aac"), "aac", "audio/mp4", 3.0),
        (lambda: recording("ipod", "alac"), "aac", "audio/mp4", 3.0),
        (lambda: recording("mp4", "libopus", rate_hz=48_000), "mp4", "audio/mp4", 3.0),
        (lambda: recording("mov", "pcm_s16le"), "mov", "video/quicktime", 3.0),
        (lambda: recording("3gp", "aac"), "3gp", "audio/3gpp", 3.0),
        (lambda: recording("ogg", "libopus"), "ogg", "audio/ogg", 3.0),
        (lambda: recording("ogg", "libopus") * 2, "ogg", "audio/ogg", 6.0),
        (lambda: recording("ogg", "libopus", 2, begins_s=600), "ogg", "audio/ogg", 2.0),
        (lambda: sound("OGG", 3.0) + sound("OGG", 3.0), "ogg", "audio/ogg", 6.0),
        (lambda: recording("webm", "libopus"), "webm", "audio/webm", 3.0),
        (lambda: recording("webm", "libopus", live="1"), "webm", "audio/webm", 3.0),
        (lambda: recording("matroska", "aac", 2, begins_s=600), "mkv", "audio/x-matroska", 2.0),
        (lambda: recording("flv", "aac", rate_hz=44_100), "flv", "audio/x-flv", 3.0),
        (lambda: recording("asf", "ac3", rate_hz=48_000), "wma", "audio/x-ms-wma", 3.0),
        (lambda: recording("mpegts", "aac", begins_s=600), "ts", "video/mp2t", 3.0),
    ],
)
def test_a_recording_is_as_long_as_it_plays(
    content: Callable[[], bytes], form: str, mime_type: str, length_s: float
) -> None:
    media = seen(content(), "audio")
    assert (media.format, media.mime_type) == (form, mime_type)
    assert media.duration_s == pytest.approx(length_s, abs=0.25)  # with what encoders pad
    assert not media.duration_guessed


@pytest.mark.parametrize("lie", [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_wav_that_lies_about_its_size_is_as_long_as_its_samples(lie: int) -> None:
    content = bytearray(sound("WAV", 2.0))
    struct.pack_into("<I", content, 4, lie)
    if lie != 1:
        struct.pack_into("<I", content, content.index(b"data") + 4, lie)
    assert seen(bytes(content), "audio").duration_s == pytest.approx(2.0, abs=0.01)


def test_headers_that_lie_about_a_length_are_not_believed() -> None:
    mp3 = bytearray(recording("mp3", "mp3"))
    struct.pack_into(">I", mp3, mp3.index(b"Info") + 8, 2**31)  # frames
    assert seen(bytes(mp3), "audio").duration_s == pytest.approx(3.0, abs=0.25)
    for content, kind in ((film("matroska"), "video"), (recording("matroska", "aac"), "audio")):
        lying = bytearray(content)
        place = lying.index(b"\x44\x89\x88") + 3  # Duration, a float of 8 bytes, in ms
        lying[place : place + 8] = struct.pack(">d", 9e9)
        media = seen(bytes(lying), cast(MediaKind, kind))
        assert media.duration_s == pytest.approx(3.0, abs=0.25)


def test_a_recording_whose_later_parts_can_not_be_read_is_guessed() -> None:
    media = seen(sound("OGG", 1.0, 8_000) + sound("OGG", 3.0, 16_000), "audio")
    assert media.duration_guessed
    assert media.duration_s is not None
    assert media.duration_s > 0.9


FILMS: list[tuple[str, str, str, str, str, dict[str, Any]]] = [
    ("mp4", "mpeg4", "aac", "mp4", "video/mp4", {}),
    ("mov", "mpeg4", "aac", "mov", "video/quicktime", {}),
    ("3gp", "mpeg4", "aac", "3gp", "video/3gpp", {}),
    ("matroska", "mpeg4", "aac", "mkv", "video/x-matroska", {}),
    ("matroska", "mpeg4", "aac", "mkv", "video/x-matroska", {"live": "1"}),
    ("webm", "libvpx", "libopus", "webm", "video/webm", {}),
    ("webm", "libvpx", "libopus", "webm", "video/webm", {"live": "1"}),
    ("avi", "mpeg4", "pcm_s16le", "avi", "video/x-msvideo", {}),
    ("asf", "wmv2", "ac3", "wmv", "video/x-ms-wmv", {}),
    ("mpegts", "mpeg2video", "mp2", "ts", "video/mp2t", {"frames_per_s": 25}),
    ("mpeg", "mpeg2video", "mp2", "mpg", "video/mpeg", {"frames_per_s": 25}),
]


@pytest.mark.parametrize(("container", "codec", "sound_codec", "form", "mime_type", "more"), FILMS)
@pytest.mark.parametrize("sound_s", [None, 1.0, 3.0, 8.0])
def test_pictures_and_sound_of_a_video_have_lengths_of_their_own(
    container: str,
    codec: str,
    sound_codec: str,
    form: str,
    mime_type: str,
    more: dict[str, Any],
    sound_s: float | None,
) -> None:
    heard: dict[str, Any] = {"sound_codec": sound_codec, "sound_s": sound_s} if sound_s else {}
    media = seen(film(container, codec, **heard, **more), "video")
    assert (media.format, media.mime_type) == (form, mime_type)
    assert media.duration_s == pytest.approx(3.0, abs=0.15)
    assert media.sound_s == pytest.approx(sound_s, abs=0.15)
    assert media.frames_per_s == pytest.approx(more.get("frames_per_s", 10))
    assert not media.duration_guessed


@pytest.mark.parametrize("container", ["matroska", "webm", "mpegts", "mp4"])
def test_a_clip_that_keeps_the_times_of_a_longer_one_is_short(container: str) -> None:
    codec = {"webm": "libvpx", "mpegts": "mpeg2video"}.get(container, "mpeg4")
    media = seen(film(container, codec, begins_s=600, frames_per_s=25), "video")
    assert media.duration_s == pytest.approx(3.0, abs=0.15)


def test_pictures_in_ogg_are_a_video() -> None:
    media = seen(film("ogg", "libvpx"), "video")
    assert (media.format, media.mime_type) == ("ogg", "video/ogg")
    assert media.duration_s == pytest.approx(3.0, abs=0.15)


def test_a_video_that_shows_a_part_of_what_it_stores_is_doubted() -> None:
    content = bytearray(film("mp4", "libx264", 6.0))
    assert seen(bytes(content), "video").doubts == ()
    struct.pack_into(">I", content, content.index(b"elst") + 12, 2_000)  # ms that are shown
    media = seen(bytes(content), "video")
    assert media.duration_s == pytest.approx(2.0)
    assert rules(media) == ["video-edited"]
    assert "shows 2 s of the 6 s" in media.doubts[0].message


# --- of which only the ends are there ---


class Ends(io.BytesIO):
    """A remote file: its first and last bytes were fetched."""

    def __init__(self, content: bytes, known_bytes: int = 64 * 1024) -> None:
        super().__init__(content)
        self._gap = range(known_bytes, len(content) - known_bytes)

    def read(self, size: int | None = -1, /) -> bytes:
        begin = self.tell()
        end = self.seek(0, io.SEEK_END) if size is None or size < 0 else begin + size
        self.seek(begin)
        if end > self._gap.start and begin < self._gap.stop and self._gap:
            raise OSError("not fetched")
        return super().read(size)


def ends_of(content: bytes, kind: MediaKind, known_bytes: int = 64 * 1024) -> Media:
    assert len(content) > 2 * known_bytes
    return probe(Ends(content, known_bytes), kind, REFERENCE, whole=False)


@pytest.mark.parametrize(
    ("content", "guessed"),
    [
        (lambda: recording("mp3", "mp3", 60), False),
        (lambda: recording("mp3", "mp3", 60, write_xing="0"), True),
        (lambda: recording("wav", "pcm_s16le", 60), False),
        (lambda: recording("flac", "flac", 60), False),
        (lambda: recording("ipod", "aac", 60), False),
        (lambda: recording("adts", "aac", 60), True),
        (lambda: recording("ogg", "libopus", 60), True),
    ],
)
def test_of_a_remote_recording_the_ends_are_enough(
    content: Callable[[], bytes], guessed: bool
) -> None:
    media = ends_of(content(), "audio")
    assert media.probed
    assert media.size_bytes == len(content())
    assert media.duration_s == pytest.approx(60, abs=3)
    assert media.duration_guessed is guessed


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_of_a_remote_video_the_ends_are_enough(container: str) -> None:
    content = film(container, "libx264", 30.0, sound_codec="aac")
    media = ends_of(content, "video", 16 * 1024)
    assert (media.width_px, media.has_sound, media.probed) == (64, True, True)
    assert media.duration_s == pytest.approx(30, abs=0.2)
    assert media.duration_guessed is (container == "matroska")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_of_a_remote_image_the_beginning_is_enough(form: str) -> None:
    media = ends_of(picture(form, 320, 240), "image", 4 * 1024)
    assert (media.format, media.width_px, media.height_px) == (form.lower(), 320, 240)


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0abc"}])
def test_a_remote_webp_of_each_form_has_its_size(options: dict[str, Any]) -> None:
    noise = np.random.default_rng(7).integers(0, 256, (240, 321, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "WEBP", **options)
    media = ends_of(file.getvalue(), "image", 1_000)
    assert (media.width_px, media.height_px) == (321, 240)


def test_a_remote_file_of_which_nothing_can_be_told_is_not_refused() -> None:
    clip = film("mp4", "libx264", 30.0)
    media = ends_of(clip, "video", 500)  # the index is longer
    assert (media.probed, media.duration_s) == (False, None)
    media = ends_of(picture("TIFF", 320, 240), "image", 500)
    assert media.format == "tiff"


def test_a_remote_page_is_refused_by_its_beginning() -> None:
    page = b"<html>" + b"404 " * 9_000
    with pytest.raises(MediaError, match="an HTML page"):
        ends_of(page, "image", 2_000)
