"""sglang-omni: media in lists beside the messages, usage in the finish frame.

It silently answers without speech if its talker is not loaded (sglang-omni#1354); the assembler
fails such an item. It skips members that it does not know, and reads no voice for chat (0.1.9).
"""

from typing import Any

from omni_batch.providers.body import Body
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.encoding import data_url, modalities, refuse, streaming
from omni_batch.requests.request_options import options_beside
from omni_batch.types import Frames, Message, Request

_LISTS = {"image": "images", "audio": "audios", "video": "videos"}
_OF_VIDEOS = {
    "fps": "video_fps",
    "min_pixels": "video_min_pixels",
    "max_pixels": "video_max_pixels",
    "total_pixels": "video_total_pixels",
}
"""Options of media, which are members of its request and hold for all videos."""


def encode(request: Request) -> Body:
    """The request as JSON; text stays in the messages."""
    tree = streaming(request, [_message(turn) for turn in request.messages])
    for media in request.media():
        tree.setdefault(_LISTS[media.kind], []).append(data_url(media, media.mime_type))
        if media.kind == "video":
            options = options_beside(media, request)
            tree |= {_OF_VIDEOS[name]: value for name, value in options.items()}
    return Body.of(tree | modalities(request, audio={"format": "wav"}))


def _message(turn: Message) -> dict[str, Any]:
    for part in turn.parts:
        if isinstance(part, Frames):
            raise refuse(part, DIALECT.name)
    texts = [part for part in turn.parts if isinstance(part, str)]
    return {"role": turn.role, "content": "\n".join(texts)}


DIALECT = Dialect(
    name="sglang-omni",
    encode=encode,
    docs="sglang-omni serve/openai_api and serve/protocol, 2026",
    fetches_itself=True,
    takes_voice=False,
    thinking_switch=False,
    parameters=frozenset(
        (
            *("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "seed", "stop"),
            *_OF_VIDEOS,
        )
    ),
    no_options_beside=frozenset({"image"}),
    shares_options=True,
    keeps_places=False,
    first_byte_timeout_s=300,
    thinks_aloud=True,  # without a reasoning parser
)
