"""Bytes decide what a file is. A broken one is a MediaError, whatever its decoder felt."""

import hashlib
import io
import os
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omni_batch.errors import MediaError
from omni_batch.requests.media.probe import probe_file
from omni_batch.types import MediaKind
from tests.support.media_files import bomb, clip, picture, sound

REFERENCE = "photos/the one.bin"
KINDS: tuple[MediaKind, ...] = ("image", "audio", "video")


def refusal(path: Path, kind: MediaKind) -> str:
    with pytest.raises(MediaError) as refused:
        probe_file(path, kind, REFERENCE)
    assert REFERENCE in str(refused.value)
    return str(refused.value)


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


def test_what_would_take_too_long_to_measure_has_no_duration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = webm(tmp_path / "clip.webm", live=True)
    monkeypatch.setattr("omni_batch.requests.media.lengths._PACKETS_AT_MOST", 20)
    assert probe_file(path, "video", REFERENCE).duration_s is None


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
    monkeypatch.setattr("omni_batch.requests.media.container.MAX_PIXELS", 64 * 48 - 1)
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
