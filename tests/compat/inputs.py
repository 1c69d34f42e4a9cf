"""What can be put to the model, and the words by which its answer shows that it arrived."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]

SAMPLES = Path(__file__).parents[2] / "data" / "sample"
_WEB = "https://media.example.com"
_ASKED = 'You asked: "What is it?"'
_IMAGE_TYPES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


@dataclass(frozen=True, slots=True)
class Input:
    """A conversation up to the model's turn."""

    name: str
    messages: list[Json]
    says: tuple[str, ...]
    """Phrases that the answer must contain."""
    kinds: tuple[str, ...] = ()
    """Kinds of media that usage must count: image, audio, video."""


def inputs() -> Iterator[Input]:
    """Every kind of input; media once by URL and once by data URI."""
    yield Input("text", [_user("Say hello.")], ('You wrote: "Say hello."',))
    yield from _images()
    yield from _recordings()
    yield from _films()
    yield from _frames()
    yield from _conversations()


def uri(name: str) -> str:
    """A sample file as a data URI; sound and films without a media type, as the guide has it."""
    kind = _IMAGE_TYPES.get(Path(name).suffix, "")
    return f"data:{kind};base64,{base64.b64encode((SAMPLES / name).read_bytes()).decode()}"


def _user(*content: Any) -> Json:
    """A user's message: one text, or media followed by a question."""
    if isinstance(content[0], str):
        return {"role": "user", "content": content[0]}
    return {"role": "user", "content": [*content, {"type": "text", "text": "What is it?"}]}


def _image(url: str) -> Json:
    return {"type": "image_url", "image_url": {"url": url}}


def _images() -> Iterator[Input]:
    cat, coffee = "An image of 451 x 300 pixels", "An image of 512 x 341 pixels"
    web = _image(f"{_WEB}/451x300/cat.webp"), _image("http://media.example.com/512x341/coffee.jpg")
    own = _image(uri("photos/cat.webp")), _image(uri("photos/coffee.jpg"))
    for way, (first, second) in {"URL": web, "data URI": own}.items():
        yield Input(f"image, {way}", [_user(first)], (cat, _ASKED), ("image",))
        both = [_user(first, second)]
        yield Input(f"two images, {way}", both, (cat, coffee, _ASKED), ("image",))


def _recordings() -> Iterator[Input]:
    ways = {
        "URL": (f"{_WEB}/announcement-7s.mp3", "A recording of 7.0 seconds"),
        "data URI": (uri("audio/announcement.mp3"), "A recording of 5.7 seconds"),
    }
    for way, (data, fact) in ways.items():
        part = {"type": "input_audio", "input_audio": {"data": data, "format": "mp3"}}
        yield Input(f"audio, {way}", [_user(part)], (fact, _ASKED), ("audio",))


def _films() -> Iterator[Input]:
    ways = {
        "URL": (f"{_WEB}/640x480/espresso-6s.mp4", "A video of 6.0 seconds", "640 x 480 pixels"),
        "data URI": (uri("video/espresso.mp4"), "A video of 4.5 seconds", "320 x 240 pixels"),
    }
    for way, (url, *facts) in ways.items():
        part = {"type": "video_url", "video_url": {"url": url}}
        says = (*facts, "with sound", _ASKED)
        yield Input(f"video, {way}", [_user(part)], says, ("video", "audio"))


def _frames() -> Iterator[Input]:
    web = [f"{_WEB}/320x240/cat-{number}.jpg" for number in range(1, 5)]
    own = [uri(f"frames/cat-{number}.jpg") for number in range(1, 7)]
    for way, urls in {"URL": web, "data URI": own}.items():
        says = (f"A sequence of {len(urls)} frames, 320 x 240 pixels", _ASKED)
        part = {"type": "video", "video": urls}
        yield Input(f"frames, {way}", [_user(part)], says, ("video",))


def _conversations() -> Iterator[Input]:
    """An image that only an earlier turn shows: it is counted, and no more described."""
    says = ('You wrote: "Is it old?"', "This is turn 2 of our conversation.")
    ways = {"URL": f"{_WEB}/512x512/astronaut.jpg", "data URI": uri("photos/astronaut.jpg")}
    for way, url in ways.items():
        answered = {"role": "assistant", "content": "A portrait."}
        turns = [_user(_image(url)), answered, _user("Is it old?")]
        yield Input(f"image in an earlier turn, {way}", turns, says, ("image",))
