"""Make the sample media and their manifest in ``data/sample``.

Needs scikit-image (its bundled photographs are the source), Pillow, PyAV (with H.264, AAC and
MP3 encoders, as its wheels have) and the ``espeak-ng`` program. No network is used. Run::

    pip install scikit-image pillow av
    python data/make_sample.py

Every file is overwritten. The photographs come out the same each time; the encoded sound and
video may differ by some bytes from one version of the encoders to the next.
"""

import csv
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from PIL import Image
from skimage import data as photos

SAMPLE = Path(__file__).resolve().parent / "sample"
LONG_SIDE_PX = 512
QUALITY = 85

CLIP_SIZE = (320, 240)
CLIP_RATE_HZ = 12
CLIP_S = 4.5
# One thread and x264's plain C code: the bytes stay the same from one call to the next.
H264_OPTIONS = {"crf": "26", "preset": "slow", "threads": "1", "x264-params": "asm=0"}

FRAME_COUNT = 6
FRAMES = [f"frames/cat-{number}.jpg" for number in range(1, FRAME_COUNT + 1)]

# file: (name of the photograph in skimage.data, longest side in pixels)
PHOTOS = {
    "photos/coffee.jpg": ("coffee", LONG_SIDE_PX),
    "photos/cat.webp": ("chelsea", LONG_SIDE_PX),
    "photos/photographer.png": ("camera", 384),
    "photos/astronaut.jpg": ("astronaut", LONG_SIDE_PX),
    "photos/brick.jpg": ("brick", 384),
    "photos/gravel.jpg": ("gravel", 384),
}

ANNOUNCEMENT = "The next train to the harbour leaves from platform four, at a quarter past nine."
NARRATION = "Here is your espresso. Careful, the cup is very hot."

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels of the photograph
CLIP_VIEWS: tuple[Box, Box] = ((155, 20, 435, 230), (34, 0, 567, 400))
FRAME_VIEWS: tuple[Box, Box] = ((25, 0, 425, 300), (120, 60, 320, 210))

EARLIER_TURNS = [
    {
        "role": "user",
        "content": [{"image": "photos/coffee.jpg"}, {"text": "What is on the table?"}],
    },
    {"role": "assistant", "content": "A cup of coffee."},
]

COLUMNS = ["item_id", "subject", "prompt", "image", "audio", "video", "frames", "system"]
COLUMNS += ["voice", "messages"]
ROWS = [
    {
        "item_id": "read-aloud",
        "subject": "a welcome",
        "prompt": 'Read this aloud: "Good evening, and welcome to the Café Olé. '
        'The soup of the day is leek and potato."',
    },
    {
        "item_id": "photo-coffee",
        "subject": "the cup and what it stands on",
        "image": "photos/coffee.jpg",
    },
    {
        "item_id": "photo-cat-webp",
        "subject": "the cat",
        "image": "photos/cat.webp",
    },
    {
        "item_id": "photo-gray-png",
        "subject": "what the man is doing",
        "image": "photos/photographer.png",
    },
    {
        "item_id": "two-photos",
        "subject": "two surfaces",
        "prompt": "Which of these two surfaces would be harder to cycle on, and why?",
        "image": "photos/brick.jpg|photos/gravel.jpg",
    },
    {
        "item_id": "announcement-audio",
        "subject": "a station announcement",
        "prompt": "When does the train leave, and from where?",
        "audio": "audio/announcement.mp3",
        "system": "Answer in at most ten words.",
    },
    {
        "item_id": "video-with-sound",
        "subject": "a short clip",
        "prompt": "What does the clip show, and what does the speaker warn of?",
        "video": "video/espresso.mp4",
    },
    {
        "item_id": "broken-image",
        "subject": "a photograph that is cut off in the middle",
        "image": "photos/broken-photo.jpg",
    },
    {
        "item_id": "frames-zoom",
        "subject": "the movement of the camera",
        "frames": "|".join(FRAMES),
    },
    {
        "item_id": "multi-turn-coffee",
        "subject": "the same cup",
        "prompt": "What colour is the saucer it stands on?",
        "messages": json.dumps(EARLIER_TURNS),
    },
    {
        "item_id": "missing-file",
        "subject": "a photograph that is not there",
        "image": "photos/no-such-photo.jpg",
    },
    {
        "item_id": "voice-ethan",
        "subject": "the person and the clothes",
        "image": "photos/astronaut.jpg",
        "voice": "Ethan",
    },
]


def photo(name: str) -> Image.Image:
    """Return a photograph that scikit-image bundles, at its own size."""
    return Image.fromarray(getattr(photos, name)())


def make_photos() -> None:
    """Write the still photographs, each made no larger than its longest side allows."""
    for target, (name, long_side_px) in PHOTOS.items():
        image = photo(name)
        image.thumbnail((long_side_px, long_side_px), Image.Resampling.LANCZOS)
        image.save(SAMPLE / target, quality=QUALITY, optimize=True)


def make_broken_photo() -> None:
    """Write the first half of a JPEG file: its type is plain, its picture cannot be decoded."""
    whole = (SAMPLE / "photos/coffee.jpg").read_bytes()
    (SAMPLE / "photos/broken-photo.jpg").write_bytes(whole[: len(whole) // 2])


def move(image: Image.Image, views: tuple[Box, Box], count: int) -> Iterator[Image.Image]:
    """Yield `count` pictures of a camera that moves evenly from the first view to the second."""
    for step in range(count):
        part = step / (count - 1)
        left, top, right, bottom = (a + (b - a) * part for a, b in zip(*views, strict=True))
        box = (left, top, right, bottom)
        yield image.resize(CLIP_SIZE, Image.Resampling.LANCZOS, box=box)


def make_frames() -> None:
    """Write the frames: a slow zoom in on the cat, meant to be shown at 2 per second."""
    pictures = move(photo("chelsea"), FRAME_VIEWS, FRAME_COUNT)
    for target, picture in zip(FRAMES, pictures, strict=True):
        picture.save(SAMPLE / target, quality=QUALITY, optimize=True)


def add_speech(container: OutputContainer, stream: AudioStream, text: str) -> None:
    """Speak `text` with espeak-ng and encode it into `stream`."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", "-v", "en-us", "-s", "150", "-w", wav, text], check=True)
        with av.open(wav) as source:
            for frame in source.decode(audio=0):
                container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def make_audio() -> None:
    """Write the spoken announcement as MP3."""
    with av.open(SAMPLE / "audio/announcement.mp3", "w") as container:
        stream = container.add_stream("libmp3lame", rate=22_050, layout="mono", bit_rate=48_000)
        add_speech(container, stream, ANNOUNCEMENT)


def make_video() -> None:
    """Write the clip: a slow zoom out from the cup (H.264) with a spoken sentence (AAC)."""
    options = {"movflags": "+faststart"}
    with av.open(SAMPLE / "video/espresso.mp4", "w", options=options) as container:
        picture_stream = container.add_stream("libx264", rate=CLIP_RATE_HZ)
        picture_stream.width, picture_stream.height = CLIP_SIZE
        picture_stream.pix_fmt = "yuv420p"
        picture_stream.options = H264_OPTIONS
        sound_stream = container.add_stream("aac", rate=44_100, layout="mono", bit_rate=64_000)
        for picture in move(photo("coffee"), CLIP_VIEWS, round(CLIP_RATE_HZ * CLIP_S)):
            container.mux(picture_stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(picture_stream.encode(None))
        add_speech(container, sound_stream, NARRATION)


def make_manifest() -> None:
    """Write the manifest: one row per item, empty cells where a column is not used."""
    with (SAMPLE / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(ROWS)


def main() -> None:
    """Make every file of the sample."""
    for folder in ("photos", "frames", "audio", "video"):
        (SAMPLE / folder).mkdir(parents=True, exist_ok=True)
    make_photos()
    make_broken_photo()
    make_frames()
    make_audio()
    make_video()
    make_manifest()


if __name__ == "__main__":
    main()
