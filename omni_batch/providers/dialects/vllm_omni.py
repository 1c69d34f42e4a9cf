"""vllm-omni: vLLM's inputs; speech comes under `content` of chunks marked `modality: audio`.

Every such chunk is a whole WAV file. Without `modalities` it speaks, so text alone is asked for by
name.
"""

from dataclasses import replace

from omni_batch.providers.body import Body, Inlined
from omni_batch.providers.dialects import vllm
from omni_batch.providers.encoding import message, streaming
from omni_batch.stream.chunks import decode
from omni_batch.types import Request


def encode(request: Request) -> Body:
    """The request as JSON."""
    inlined = Inlined()
    tree = streaming(request)
    tree["messages"] = [message(turn, vllm.part, inlined) for turn in request.messages]
    tree["modalities"] = ["text", "audio"] if request.wants_audio else ["text"]
    if request.thinking is not None:
        tree["chat_template_kwargs"] = {"enable_thinking": request.thinking}
    return Body.of(tree, inlined)


DIALECT = replace(
    vllm.DIALECT,
    name="vllm-omni",
    encode=encode,
    decode=decode,
    docs="vllm-omni serving_chat, Dec 2025 to 2026",
    speaks=True,
)
