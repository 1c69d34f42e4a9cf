"""What is sent as a data URI is decoded and measured; what is named by URL is made up."""

from typing import Any

import pytest

from omni_batch.simulator import Simulator
from omni_batch.simulator.checks.models import FLASH_RULES
from tests.simulator import sim_media as media
from tests.simulator.sim_client import ask, body, post, refusal, text

MAX_DATA_URI_BYTES = FLASH_RULES.data_uri_max_bytes
GREEN = media.jpeg(640, 427)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (media.image(media.uri(GREEN, "image/jpeg")), "640 x 427 pixels, mostly green."),
        (media.image(media.uri(media.jpeg(90, 300, (250, 250, 250)))), "90 x 300 pixels, mostly w"),
        (media.audio(media.uri(media.wav(3.2))), "A recording of 3.2 seconds, loud, with pauses"),
        (media.audio(media.uri(media.wav(3, level=0))), "A recording of 3.0 seconds, silent."),
        (media.audio(media.uri(media.encoded_sound(3.2, "mp3", "mp3"))), "of 3.2 seconds, loud"),
        (media.audio(media.uri(media.encoded_sound(12, "adts", "aac"))), "of 12.0 seconds, loud"),
        (
            media.video(media.uri(media.mp4(4))),
            "A video of 4.0 seconds at 25 frames a second, 320 x 240 pixels, without sound, "
            "mostly blue.",
        ),
        (media.video(media.uri(media.mp4_with_sound(4))), "320 x 240 pixels, with sound"),
        (
            media.frames([media.uri(GREEN)] * 4),
            "A sequence of 4 frames, 640 x 427 pixels, mostly green.",
        ),
    ],
)
def test_a_data_uri_is_described_by_what_it_holds(sim: Simulator, part: Any, said: str) -> None:
    assert said in text(ask(sim, [part]))


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (media.image("https://example.com/640x427.jpg"), "An image of 640 x 427 pixels."),
        (media.audio("https://example.com/12s.mp3"), "A recording of 12.0 seconds."),
        (media.video("https://example.com/a.mp4"), "5.0 seconds at 25 frames a second, 1280 x 720"),
        (media.video("https://example.com/640x360/9s.mp4"), "9.0 seconds at 25 frames a second"),
        (media.frames(["https://example.com/640x360.jpg"] * 3), "3 frames, 640 x 360 pixels."),
    ],
)
def test_a_url_may_say_what_it_would_be(sim: Simulator, part: Any, said: str) -> None:
    assert said in text(ask(sim, [part]))


def test_a_url_is_the_same_medium_every_time(sim: Simulator) -> None:
    def sizes() -> list[str]:
        urls = [f"https://example.com/{name}" for name in "abcdefghij"]
        return [text(ask(sim, [media.image(url)])) for url in urls]

    assert sizes() == sizes()
    assert len(set(sizes())) > 2


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("404/a.jpg", "Failed to find the requested media resource"),
        ("missing.jpg", "Failed to find the requested media resource"),
        ("403/a.jpg", "Don't have authorization to access the media resource"),
        ("timeout/a.jpg", "Download multimodal file timed out"),
    ],
)
def test_a_url_may_fail(sim: Simulator, path: str, said: str) -> None:
    response = post(sim, body([media.image(f"https://example.com/{path}")]))
    assert refusal(response)[0] == 400
    assert said in refusal(response)[2]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (media.image(media.uri(b"not an image")), "Failed to decode the image"),
        (media.image(media.uri(GREEN[: len(GREEN) // 2])), "Failed to decode the image"),
        (media.image("data:image/png;base64,@@@"), "Failed to decode the image"),
        (media.audio(media.uri(b"not a sound")), "The audio format is illegal"),
        (media.audio(media.uri(media.mp4(3))), "The audio format is illegal"),
        (media.audio(media.uri(media.wav(0))), "The audio"),
        (media.video(media.uri(b"not a video")), "Invalid video file."),
        (media.video(media.uri(media.wav(3))), "Invalid video file."),
        (media.video(media.uri(media.mp4(1))), "The video file is too short."),
        (media.image(media.uri(media.jpeg(10, 100))), "The image length and width do not meet"),
        (media.image(media.uri(media.jpeg(11, 2211))), "The image length and width do not meet"),
        (media.frames([media.uri(media.jpeg(9, 9))] * 2), "The image length and width do not meet"),
        (media.audio("https://example.com/1201s.mp3"), "The input audio is longer than 1200s."),
        (media.video("https://example.com/151s.mp4"), "The video file is too long."),
    ],
)
def test_unfit_media_are_refused(sim: Simulator, part: Any, said: str) -> None:
    status, _, message = refusal(post(sim, body([part])))
    assert (status, said in message) == (400, True), message


@pytest.mark.parametrize("size", [(11, 11), (11, 2200)])
def test_the_smallest_and_the_longest_image_are_good(sim: Simulator, size: tuple[int, int]) -> None:
    assert "An image of" in text(ask(sim, [media.image(media.uri(media.jpeg(*size)))]))


def test_a_data_uri_is_too_long_by_one_byte(sim: Simulator) -> None:
    start = "data:;base64,"
    padded = start + "A" * (MAX_DATA_URI_BYTES - len(start))
    fits = refusal(post(sim, body([media.image(padded)])))[2]
    assert "Failed to decode" in fits
    too_long = refusal(post(sim, body([media.image(padded + "A")])))[2]
    assert "Exceeded limit on max bytes per data-uri item : 10485760'." in too_long


def test_limits_are_those_of_the_model(sim: Simulator) -> None:
    parts = [media.video("https://example.com/320x240/60s.mp4")]
    assert ask(sim, parts)
    for model, status in (("qwen-omni-turbo", 400), ("qwen3.5-omni-plus", 200)):
        assert post(sim, body(parts, model=model)).status_code == status
    frames = [media.frames(["https://example.com/320x240.jpg"] * 3)]
    message = refusal(post(sim, body(frames, model="qwen-omni-turbo")))[2]
    assert "shoule be (4, 80)." in message
