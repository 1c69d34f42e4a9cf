"""vLLM serving the thinker of Qwen-Omni: text out only, media as URLs of any kind.

It silently ignores a request for speech (vllm#29965), so we never send one. Sound goes as
`audio_url`, because its `input_audio` takes bare base64, which Model Studio refuses (vllm#32636).
"""

from typing import Any

from omni_batch.providers.body import Body
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.encoding import data_url, messages, refuse, streaming, url_part
from omni_batch.types import Frames, Media, Request


def encode(request: Request, **output: Any) -> Body:
    """The request as JSON; thinking is a switch of the chat template, `output` goes before it."""
    tree = streaming(request, messages(request, part)) | output
    if request.thinking is not None:
        template = dict(request.options.get("chat_template_kwargs") or {})
        tree["chat_template_kwargs"] = template | {"enable_thinking": request.thinking}
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
    fetches_itself=True,
    # Of its ChatCompletionRequest; all else is skipped without a word.
    parameters=frozenset(
        (
            *("temperature", "top_p", "top_k", "presence_penalty", "repetition_penalty"),
            *("max_tokens", "seed", "stop", "reasoning_effort", "tools", "tool_choice"),
        )
    ),
    doubted_parameters=frozenset({"detail"}),
    instead={
        "fps": "request.extra.media_io_kwargs",
        **dict.fromkeys(
            ("min_pixels", "max_pixels", "total_pixels"), "request.extra.mm_processor_kwargs"
        ),
        "thinking_budget": "request.extra.thinking_token_budget",
        "enable_thinking": "request.thinking",
        "preserve_thinking": "request.extra.chat_template_kwargs",
    },
    first_byte_timeout_s=300,
    holds_to_schema=True,  # its structured outputs, by `response_format` (its docs, 2026)
    thinks_aloud=True,  # without a reasoning parser
)
