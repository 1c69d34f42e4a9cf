"""vllm-omni: vLLM's inputs; speech comes under `content` of chunks marked `modality: audio`.

Every such chunk is a whole WAV file. Without `modalities` it speaks, so text alone is asked for by
name. A voice is a top-level member, held against the speakers of the model (0.30.0).
"""

from dataclasses import replace

from omni_batch.providers.body import Body
from omni_batch.providers.dialects import vllm
from omni_batch.providers.encoding import modalities
from omni_batch.types import Request


def encode(request: Request) -> Body:
    """The request as JSON."""
    voice = DIALECT.voice_of(request)
    return vllm.encode(request, **modalities(request, **({"voice": voice} if voice else {})))


DIALECT = replace(
    vllm.DIALECT,
    name="vllm-omni",
    encode=encode,
    docs="vllm-omni serving_chat, Dec 2025 to 2026",
    speaks=True,
    # Of a chat request it hands some sampling parameters on to the stage that writes, and no
    # `response_format` (serving_chat, 2026).
    holds_to_schema=False,
)
