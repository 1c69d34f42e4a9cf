"""sglang-omni: media in lists beside the messages, usage in the finish frame.

It silently answers without speech if its talker is not loaded (sglang-omni#1354); the assembler
fails such an item.
"""

from typing import Any

from omni_batch.providers.body import Body, Inlined
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.encoding import data_url, refuse, streaming
from omni_batch.stream.chunks import decode
from omni_batch.types import Frames, Media, Message, Request

_LISTS = {"image": "images", "audio": "audios", "video": "videos"}


def encode(request: Request) -> Body:
    """The request as JSON; text stays in the messages."""
    inlined = Inlined()
    tree = streaming(request)
    tree["messages"] = [_message(turn) for turn in request.messages]
    for media in request.media():
        url = data_url(media, inlined, media.mime_type)
        tree.setdefault(_LISTS[media.kind], []).append(url)
    tree["modalities"] = ["text", "audio"] if request.wants_audio else ["text"]
    if request.wants_audio:
        tree["audio"] = {"format": "wav"}
    return Body.of(tree, inlined)


def _message(turn: Message) -> dict[str, Any]:
    for part in turn.parts:
        if isinstance(part, Frames):
            raise refuse(part, DIALECT.name)
    texts = [part for part in turn.parts if not isinstance(part, Media)]
    return {"role": turn.role, "content": "\n".join(map(str, texts))}


DIALECT = Dialect(
    name="sglang-omni",
    encode=encode,
    decode=decode,
    docs="sglang-omni serve/openai_api, 2026",
    first_byte_timeout_s=300,
)
