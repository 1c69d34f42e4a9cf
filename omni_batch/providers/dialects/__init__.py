"""One file for each kind of server; `DIALECTS` is the table of them."""

from omni_batch.providers.dialect import Dialect
from omni_batch.providers.dialects import (
    batch_chat,
    dashscope,
    litellm,
    openai,
    sglang_omni,
    vllm,
    vllm_omni,
)

_ALL = (dashscope, batch_chat, vllm, vllm_omni, sglang_omni, openai, litellm)
DIALECTS: dict[str, Dialect] = {module.DIALECT.name: module.DIALECT for module in _ALL}
