"""Files as people have them: taken as players and viewers take them, and billed for what plays."""

import zlib
from typing import Any

import pytest

from omni_batch.simulator import Simulator
from tests.simulator import sim_field_media as field
from tests.simulator import sim_media as media
from tests.simulator.sim_client import ask, body, post, refusal, text, usage

PICTURE_TOKENS = 22
"""Of 160 x 120 pixels: 5 x 4 patches of 32 pixels, and two marks."""
TEXT_BOMB = b"workflow\0\0" + zlib.compress(b"x" * 3_000_000)
PLAIN_MP3 = field.sound("mp3", "libmp3lame", 2, muxer=("id3v2_version=0",))
JPEG, PNG, HEIC = field.still("JPEG"), field.still("PNG"), field.heic(160, 120)
PROGRESSIVE = field.still("JPEG", progressive=True)


def billed(sim: Simulator, part: Any, **changes: Any) -> dict[str, int]:
    """Tokens of the media, by kind."""
    details = dict(usage(ask(sim, [part], **changes))["prompt_tokens_details"])
    return {kind: count for kind, count in details.items() if kind != "text_tokens"}


def refused(sim: Simulator, part: Any) -> str:
    status, _, message = refusal(post(sim, body([part])))
    assert status == 400
    return message


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(HEIC, id="heic"),
        pytest.param(field.heic(160, 120, b"mif1"), id="heif"),
        pytest.param(field.still("AVIF"), id="avif"),
        pytest.param(field.still("WEBP"), id="webp"),
        pytest.param(field.still("TIFF"), id="tiff"),
        pytest.param(field.still("BMP"), id="bmp"),
        pytest.param(field.png_with(b"pHYs", bytes(9), checksum=7), id="bad checksum"),
        pytest.param(field.png_with(b"iCCP", b"broken", checksum=7), id="broken profile"),
        pytest.param(field.png_with(b"zTXt", TEXT_BOMB), id="megabytes of text"),
        pytest.param(PNG[:-12], id="png without its end"),
        pytest.param(JPEG[:-2], id="jpeg without its end marker"),
        pytest.param(PROGRESSIVE[:-2], id="progressive jpeg without it"),
        pytest.param(JPEG + b"\0" * 100, id="jpeg with something behind it"),
    ],
)
def test_a_picture_that_every_viewer_shows_is_taken(sim: Simulator, picture: bytes) -> None:
    assert billed(sim, media.image(media.uri(picture))) == {"image_tokens": PICTURE_TOKENS}


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(JPEG[: len(JPEG) // 2], id="half a jpeg"),
        pytest.param(JPEG[:-9], id="jpeg without its last block"),
        pytest.param(PROGRESSIVE[: len(PROGRESSIVE) // 2], id="half a progressive jpeg"),
        pytest.param(PNG[: len(PNG) // 2], id="half a png"),
        pytest.param(
            field.png_with(b"pHYs", bytes(9), checksum=7)[: len(PNG) // 2],
            id="half a png with a bad checksum",
        ),
        pytest.param(HEIC[: len(HEIC) // 2], id="half a heic"),
        pytest.param(HEIC[:-10], id="heic without its last bytes"),
        pytest.param(b"<!DOCTYPE html><html></html>", id="a page"),
    ],
)
def test_a_picture_that_lacks_pixels_is_refused(sim: Simulator, picture: bytes) -> None:
    assert "Failed to decode the image" in refused(sim, media.image(media.uri(picture)))


@pytest.mark.parametrize(
    ("recording", "tokens"),
    [
        pytest.param(field.vbr_mp3(6), 77, id="mp3 of variable rate without its length"),
        pytest.param(field.sound("mp3", "libmp3lame", 2) * 3, 78, id="mp3s joined"),
        pytest.param(
            field.sound("mp3", "libmp3lame", 2) + b"APETAGEX" + bytes(20_000), 26, id="tags behind"
        ),
        pytest.param(field.with_cover(PLAIN_MP3), 25, id="cover"),
        pytest.param(field.sound("ogg", "libopus", 2, begin_s=600), 25, id="ogg from 10 min on"),
        pytest.param(field.sound("matroska", "libopus", 2, begin_s=600), 25, id="mka"),
        pytest.param(field.sound("ogg", "libopus", 2) * 2, 50, id="ogg, chained"),
        pytest.param(field.sound("ogg", "flac", 2) * 3, 75, id="ogg flac, chained"),
        pytest.param(field.sound("webm", "libopus", 2), 25, id="webm"),
        pytest.param(field.sound("ipod", "aac", 2), 25, id="m4a"),
        pytest.param(field.sound("aiff", "pcm_s16be", 2), 25, id="aiff"),
        pytest.param(field.sound("wav", "pcm_s16le", 4)[: 44 + 64_000], 25, id="wav cut short"),
    ],
)
def test_sound_is_as_long_as_it_plays(sim: Simulator, recording: bytes, tokens: int) -> None:
    assert billed(sim, media.audio(media.uri(recording))) == {"audio_tokens": tokens}


def test_a_damaged_start_is_left_out(sim: Simulator) -> None:
    mp3 = field.sound("mp3", "libmp3lame", 4, muxer=("id3v2_version=0",))
    damaged = mp3[:600] + bytes(300) + mp3[900:]
    tokens = billed(sim, media.audio(media.uri(damaged)))["audio_tokens"]
    assert 46 <= tokens <= 51


@pytest.mark.parametrize(
    ("clip", "pictures", "sound"),
    [
        pytest.param(field.film("mp4", "mpeg4", 3), 212, None, id="mp4"),
        pytest.param(
            field.film("matroska", "mpeg4", 3, sound_s=3, begin_s=600),
            212,
            38,
            id="mkv from 10 min",
        ),
        pytest.param(
            field.film("webm", "libvpx-vp9", 3, sound_s=3, live=True), 212, 38, id="live webm"
        ),
        pytest.param(field.film("matroska", "mpeg4", 3, live=True), 212, None, id="live mkv"),
        pytest.param(
            field.film("mp4", "mpeg4", 2, sound_s=12, sound_codec="aac"), 142, 150, id="long sound"
        ),
        pytest.param(
            field.film("mp4", "mpeg4", 10, sound_s=4, sound_codec="aac"), 702, 50, id="short sound"
        ),
        pytest.param(
            field.edit_list(field.film("mp4", "mpeg4", 3), shown=1000), 212, None, id="edit list"
        ),
        pytest.param(field.film("avi", "mpeg4", 2), 142, None, id="two seconds to the frame"),
    ],
)
def test_pictures_and_sound_of_a_video_count_apart(
    sim: Simulator, clip: bytes, pictures: int, sound: int | None
) -> None:
    counts = {"video_tokens": pictures, "audio_tokens": sound}
    expected = {kind: count for kind, count in counts.items() if count}
    assert billed(sim, media.video(media.uri(clip))) == expected


def test_a_recording_of_a_screen_lasts_as_long_as_its_time_stamps(sim: Simulator) -> None:
    part = media.video(media.uri(field.screen_recording(60)))
    chunks = ask(sim, [part])
    assert "A video of 10." in text(chunks)
    assert chunks[-1]["usage"]["prompt_tokens_details"]["video_tokens"] == 10 * 70 + 2


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        pytest.param(field.gif(), "Invalid video file.", id="gif"),
        pytest.param(HEIC, "Invalid video file.", id="heic"),
        pytest.param(JPEG, "Invalid video file.", id="jpeg"),
        pytest.param(field.with_cover(PLAIN_MP3), "Invalid video file.", id="cover of a song"),
        pytest.param(field.sound("ipod", "aac", 3), "Invalid video file.", id="sound alone"),
        pytest.param(
            field.without_index(field.film("mp4", "mpeg4", 3)), "Invalid video file.", id="cut off"
        ),
        pytest.param(field.film("mp4", "mpeg4", 1.9), "The video file is too short.", id="1.9 s"),
    ],
)
def test_what_is_no_video_is_refused(sim: Simulator, clip: bytes, said: str) -> None:
    assert said in refused(sim, media.video(media.uri(clip)))


@pytest.mark.parametrize(("width", "height"), [(2200, 11), (14, 1400)])
def test_a_side_under_half_a_patch_rounds_to_none_and_the_area_decides(
    sim: Simulator, width: int, height: int
) -> None:
    picture = field.still("PNG", width, height)
    counts = {(2200, 11): 31, (14, 1400): 22}
    assert billed(sim, media.image(media.uri(picture)))["image_tokens"] == counts[width, height]
