"""A text that speaks of a medium is not sent without one."""

import pytest

from omni_batch.errors import ManifestError
from omni_batch.requests.placeholders import refuse_lost_media
from omni_batch.types import Frames, Media, Message, Part

IMAGE, AUDIO, VIDEO = Media("image", "i"), Media("audio", "a"), Media("video", "v")
SIGNS = {
    "<image>": "image",
    "<image>\nWhat is this?": "image",
    "Compare <image_1> and <image_2>.": "image",
    "<|image_1|> What?": "image",
    "<|vision_start|><|image_pad|><|vision_end|>What?": "image or video",
    "Picture 1: <img>photos/a.jpg</img>": "image",
    "<start_of_image> What?": "image",
    "<image_placeholder>": "image",
    "<ImageHere>": "image",
    "(<image>./</image>)": "image",
    "<audio>What is said?": "audio",
    "<|audio_bos|><|AUDIO|><|audio_eos|>": "audio",
    "Audio 1: <audio>a.wav</audio>": "audio",
    "<speech>": "audio",
    "<video>": "video",
    "<|video_pad|>": "video",
    "<VIDEO>": "video",
}


@pytest.mark.parametrize("text", SIGNS)
def test_a_text_with_a_sign_and_no_such_medium_is_refused(text: str) -> None:
    with pytest.raises(ManifestError, match=f"the row has no {SIGNS[text]}: give it in the column"):
        refuse_lost_media([Message("user", (text,))])


@pytest.mark.parametrize(
    "parts",
    [
        (IMAGE, "<image>What?"),
        (Frames((IMAGE,)), "<image>What?"),
        (Frames((IMAGE,)), "<video>What?"),
        (AUDIO, "<audio>"),
        (VIDEO, "<video><audio>"),
        (VIDEO, "<|vision_start|><|video_pad|>"),
    ],
)
def test_a_medium_of_the_kind_is_enough(parts: tuple[Part, ...]) -> None:
    refuse_lost_media([Message("user", parts)])


def test_the_medium_of_another_kind_is_not() -> None:
    with pytest.raises(ManifestError, match="no audio"):
        refuse_lost_media([Message("user", (IMAGE, "<audio>"))])


def test_a_medium_of_an_earlier_turn_counts() -> None:
    turns = [Message("user", (IMAGE, "What?")), Message("assistant", ("A cup.",))]
    refuse_lost_media([*turns, Message("user", ("Look at <image> again.",))])


@pytest.mark.parametrize(
    "text",
    [
        "a < image > b",
        "<imagery>",
        "What does the <img> tag do?",
        "<div><video></video></div>",
        "Explain the HTML element <audio>.",
        "<b>bold</b>",
    ],
)
def test_other_texts_in_brackets_are_texts(text: str) -> None:
    refuse_lost_media([Message("user", (text,))])


def test_only_what_the_user_says_is_looked_at() -> None:
    said = "<image> stands for a picture."
    refuse_lost_media([Message("system", (said,)), Message("user", ("Hi",))])
