"""One file for each kind of server; `DIALECTS` is the table of them."""

from omni_batch.providers.dialect import Dialect
from omni_batch.providers.dialects import (
    batch_chat,
    batch_files,
    dashscope,
    litellm,
    openai,
    sglang_omni,
    vllm,
    vllm_omni,
)

_MODULES = (dashscope, batch_chat, vllm, vllm_omni, sglang_omni, openai, litellm)
_ALL = (*(module.DIALECT for module in _MODULES), batch_files.DASHSCOPE, batch_files.OPENAI)
DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in _ALL}
