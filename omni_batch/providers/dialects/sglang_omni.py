"""sglang-omni: media in lists beside the messages, usage in the finish frame.

It silently answers without speech if its talker is not loaded (sglang-omni#1354); the assembler
fails such an item.
"""

from typing import Any

from omni_batch.providers.body import Body
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.encoding import data_url, modalities, refuse, streaming
from omni_batch.types import Frames, Message, Request

_LISTS = {"image": "images", "audio": "audios", "video": "videos"}


def encode(request: Request) -> Body:
    """The request as JSON; text stays in the messages."""
    tree = streaming(request, [_message(turn) for turn in request.messages])
    for media in request.media():
        tree.setdefault(_LISTS[media.kind], []).append(data_url(media, media.mime_type))
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
    docs="sglang-omni serve/openai_api, 2026",
    first_byte_timeout_s=300,
    thinks_aloud=True,  # without a reasoning parser
)
