"""vLLM serving the thinker of Qwen-Omni: text out only, media as URLs of any kind.

It silently ignores a request for speech (vllm#29965), so we never send one. Sound goes as
`audio_url`, because its `input_audio` takes bare base64, which Model Studio refuses (vllm#32636).
"""

from typing import Any

from omni_batch.providers.body import Body, Inlined
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.encoding import data_url, message, refuse, streaming
from omni_batch.stream.chunks import decode
from omni_batch.types import Media, Part, Request


def encode(request: Request) -> Body:
    """The request as JSON; thinking is a switch of the chat template."""
    inlined = Inlined()
    tree = streaming(request)
    tree["messages"] = [message(turn, part, inlined) for turn in request.messages]
    if request.thinking is not None:
        tree["chat_template_kwargs"] = {"enable_thinking": request.thinking}
    return Body.of(tree, inlined)


def part(found: Part, inlined: Inlined) -> dict[str, Any]:
    """A part whose type is its kind plus `_url`.

    Raises:
        MediaError: a frame list, for which there is no documented form.
    """
    match found:
        case str(text):
            return {"type": "text", "text": text}
        case Media(kind=kind):
            url = {"url": data_url(found, inlined, found.mime_type)}
            return {"type": f"{kind}_url", f"{kind}_url": url}
        case _:
            raise refuse(found, DIALECT.name)


DIALECT = Dialect(
    name="vllm",
    encode=encode,
    decode=decode,
    docs="vLLM's multimodal inputs and issues, 2025-2026",
    speaks=False,
    first_byte_timeout_s=300,
)
