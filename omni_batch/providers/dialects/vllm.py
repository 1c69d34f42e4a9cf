"""vLLM serving the thinker of Qwen-Omni: text out only, media as URLs of any kind.

It silently ignores a request for speech (vllm#29965), so we never send one. Sound goes as
`audio_url`, because its `input_audio` takes bare base64, which Model Studio refuses (vllm#32636).
"""

from typing import Any

from omni_batch.providers.body import Body
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.encoding import data_url, message, refuse, streaming, url_part
from omni_batch.types import Frames, Media, Request


def encode(request: Request, **output: Any) -> Body:
    """The request as JSON; thinking is a switch of the chat template, `output` goes before it."""
    tree = streaming(request, [message(turn, part) for turn in request.messages]) | output
    if request.thinking is not None:
        tree["chat_template_kwargs"] = {"enable_thinking": request.thinking}
    return Body.of(tree)


def part(found: Media | Frames) -> dict[str, Any]:
    """A medium by its URL.

    Raises:
        MediaError: a frame list, for which there is no documented form.
    """
    if isinstance(found, Frames):
        raise refuse(found, DIALECT.name)
    return url_part(found, data_url(found, found.mime_type))


DIALECT = Dialect(
    name="vllm",
    encode=encode,
    docs="vLLM's multimodal inputs and issues, 2025-2026",
    speaks=False,
    first_byte_timeout_s=300,
    thinks_aloud=True,  # without a reasoning parser
)
