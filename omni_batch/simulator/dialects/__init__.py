"""The servers whose API can be simulated, one class each."""

from collections.abc import Mapping

from omni_batch.simulator.dialects.base import Dialect
from omni_batch.simulator.dialects.batch_chat import BatchChat
from omni_batch.simulator.dialects.batch_files import BatchFiles
from omni_batch.simulator.dialects.dashscope import DashScope
from omni_batch.simulator.dialects.openai import OpenAI
from omni_batch.simulator.dialects.sglang_omni import SGLangOmni
from omni_batch.simulator.dialects.vllm import VLLM
from omni_batch.simulator.dialects.vllm_omni import VLLMOmni

BY_NAME: Mapping[str, type[Dialect]] = {
    "dashscope": DashScope,
    "vllm": VLLM,
    "vllm-omni": VLLMOmni,
    "sglang-omni": SGLangOmni,
    "openai": OpenAI,
}
"""Name of a dialect to its class."""

__all__ = ["BY_NAME", "BatchChat", "BatchFiles", "DashScope", "Dialect"]
