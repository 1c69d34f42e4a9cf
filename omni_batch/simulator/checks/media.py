"""From a reference to its facts: data URIs are decoded, URLs are treated as if downloaded."""

import binascii
import hashlib
import io
import re
import zlib
from collections.abc import Callable, Mapping
from typing import IO

import pybase64

from omni_batch.simulator.checks.chat import Part
from omni_batch.simulator.checks.media_info import (
    Failure,
    Film,
    Frames,
    Medium,
    NotDownloaded,
    Picture,
    Sound,
    Undecodable,
)
from omni_batch.simulator.checks.models import MediaRules
from omni_batch.simulator.checks.refusal import invalid, unprocessable

SIZES_PX = ((1280, 720), (1024, 768), (640, 480), (1920, 1080), (800, 600))
_SIZE = re.compile(r"(?<!\d)(\d{1,5})x(\d{1,5})(?!\d)")
_SECONDS = re.compile(r"(?<!\d)(\d{1,4})s(?![a-z0-9])")

URL_FAILURES: Mapping[str, Failure] = {
    "/404": "missing",
    "missing": "missing",
    "/403": "denied",
    "/timeout": "slow",
    "/unreachable": "unreachable",
    "/503": "down",
    "/wrong-type": "mistyped",
}
"""What a URL contains, and how its download then fails."""

Fetch = Callable[[str, str], Medium]
"""Takes a kind and an oss:// reference, and gives what is stored there."""


def measure_part(part: Part, rules: MediaRules, *, oss: Fetch | None = None) -> Medium:
    """Measure one media part and hold it against the model's limits.

    Args:
        part: an image, audio, video or frames part.
        rules: limits of the model.
        oss: gives the files behind oss:// references; None refuses them.
    Raises:
        Refused: it can't be decoded, or it is too large, too small or too long.
        NotDownloaded: it can't be had.
    """
    if part.kind == "frames":
        pictures = tuple(_fetch("image", ref, rules, oss) for ref in part.refs)
        return Frames(tuple(p for p in pictures if isinstance(p, Picture)), part.fps)
    medium = _fetch(part.kind, part.refs[0], rules, oss)
    _check_length(medium, rules)
    return medium


def _check_length(medium: Medium, rules: MediaRules) -> None:
    match medium:
        case Sound(duration_s=seconds) if seconds > rules.audio_max_s:
            message = f"The input audio is longer than {rules.audio_max_s:.0f}s."
            raise invalid(message, code="InvalidURL")
        case Film(duration_s=seconds) if seconds > rules.video_max_s:
            raise _unprocessable_video("The video file is too long.")
        # Rates are rounded, so a clip of two seconds may measure a little less, but no frame less.
        case Film(duration_s=seconds, fps=fps) if seconds < rules.video_min_s - 0.5 / fps:
            raise _unprocessable_video("The video file is too short.")
        case _:
            pass


def _unprocessable_video(why: str) -> Exception:
    return unprocessable(f"The video modality input does not meet the requirements because: {why}")


def _fetch(kind: str, ref: str, rules: MediaRules, oss: Fetch | None) -> Medium:
    if ref.startswith("data:") and ";base64," in ref[:200]:
        return _decode(kind, ref, rules)
    if ref.startswith(("http://", "https://")):
        return fake_download(kind, ref)
    if ref.startswith("oss://") and oss is not None:
        return checked(oss(kind, ref))
    raise unprocessable(
        "The provided URL does not appear to be valid. Ensure it is correctly formatted."
    )


def fake_download(kind: str, url: str) -> Medium:
    """Stand-in for a download: size and length come from the URL, so they never change.

    A URL may ask for them, as in ".../640x480/clip-12s.mp4".

    Raises:
        NotDownloaded: the URL asks for that.
    """
    for sign, why in URL_FAILURES.items():
        if sign in url:
            raise NotDownloaded(url, why)
    number = zlib.crc32(url.encode())
    sized, timed = _SIZE.search(url), _SECONDS.search(url)
    width, height = SIZES_PX[number % len(SIZES_PX)]
    if sized:
        width, height = int(sized[1]), int(sized[2])
    seconds = float(timed[1]) if timed else 5.0
    if kind == "audio":
        return Sound(seconds, 16_000, 1)
    if kind == "image":
        return checked(Picture(width, height))
    if not sized:
        width, height = 1280, 720
    return Film(seconds, 25.0, round(seconds * 25), width, height, sound_s=seconds)


_measured: dict[tuple[str, bytes], Medium] = {}
"""By kind and hash, since the same media come again and again."""
_MOST_MEASURED = 4096


def _decode(kind: str, ref: str, rules: MediaRules) -> Medium:
    if len(ref) > rules.data_uri_max_bytes:
        limit = rules.data_uri_max_bytes
        raise unprocessable(f"Exceeded limit on max bytes per data-uri item : {limit}'.")
    encoded = ref[ref.index(",") + 1 :].encode()
    key = (kind, hashlib.blake2b(encoded, digest_size=16).digest())
    if key not in _measured:
        if len(_measured) >= _MOST_MEASURED:
            _measured.clear()
        _measured[key] = _measure(kind, encoded)
    return _measured[key]


def _measure(kind: str, encoded: bytes) -> Medium:
    try:
        data = pybase64.b64decode(encoded, validate=True)
    except binascii.Error:
        data = b""
    try:
        medium = measures()[kind](io.BytesIO(data))
    except Undecodable:
        raise unprocessable(UNDECODABLE[kind]) from None
    return checked(medium)


def measures() -> Mapping[str, Callable[[IO[bytes]], Medium]]:
    """Kind of part to the way a file of it is measured, which may raise Undecodable."""
    # Pillow and PyAV take a quarter of a second to import; only requests with media pay it.
    from omni_batch.simulator.checks import pictures, recordings

    return {"image": pictures.picture, "audio": recordings.sound, "video": recordings.film}


UNDECODABLE = {
    "image": "Failed to decode the image during the data inspection.",
    "audio": "The audio format is illegal and cannot be opened",
    "video": "Invalid video file.",
}
"""The message for bytes that can't be decoded, by kind."""


def checked(medium: Medium) -> Medium:
    """Refuse what no model takes."""
    if isinstance(medium, Picture):
        short, long = sorted((medium.width_px, medium.height_px))
        if short <= 10 or long > 200 * short:
            raise unprocessable("The image length and width do not meet the model restrictions.")
    if isinstance(medium, Sound) and medium.duration_s < 0.01:
        raise unprocessable("The audio is empty")
    return medium
