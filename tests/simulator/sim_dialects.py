"""What the tests of several dialects share."""

import base64
from collections.abc import Callable
from typing import Any

from omni_batch.simulator import Simulator
from tests.simulator import sim_media as media
from tests.simulator.sim_client import body, deltas, post

Start = Callable[..., Simulator]
RAW = base64.b64encode(media.wav(2)).decode()
RAW_AUDIO = {"type": "input_audio", "input_audio": {"data": RAW, "format": "wav"}}
IMAGE = media.image(media.uri(media.jpeg(64, 48)))
SAID = 'You wrote: "hello there"'


def whole(sim: Simulator, **changes: Any) -> Any:
    response = post(sim, body(stream=None, stream_options=None, **changes))
    assert response.status_code == 200, response.text
    return response.json()


def pieces(chunks: list[dict[str, Any]]) -> list[bytes]:
    """The speech of streams that have it in delta.audio."""
    sounds = [
        delta["audio"]["data"] for delta in deltas(chunks) if "data" in delta.get("audio", {})
    ]
    return [base64.b64decode(sound, validate=True) for sound in sounds]


def rate_hz(wav: bytes) -> int:
    assert wav.startswith(b"RIFF")
    return int.from_bytes(wav[24:28], "little")
