"""Batch files: requests as lines of a file, answered within a day or more, at half the price.

Model Studio's Batch API (guide of Dec 2025, pages of May and autumn 2026) and OpenAI's (2026)
have one form. No stream, no speech. Newer models of Model Studio think by default there, so that
each body says whether it wants that (qwen-code, pull request 11874).
"""

from dataclasses import replace

from omni_batch.providers.body import Body
from omni_batch.providers.dialect import Dialect, FileRoute
from omni_batch.providers.dialects import dashscope, openai
from omni_batch.providers.encoding import messages
from omni_batch.types import Request

_LINE_BYTES = 6_000_000
_TRIAL = FileRoute(
    lines=100,
    file_bytes=1_000_000,
    line_bytes=1_000_000,
    longest_window_h=336,
    names_jobs=True,
    url="/v1/chat/ds-test",
)
MODEL_EDITIONS = {
    "qwen-omni-turbo": "the guide of December 2025",
    "qwen3.5-omni-plus": "the page of autumn 2026",
}
"""Omni models that Model Studio's jobs take, by the edition that names them: each names one."""


def encode(request: Request) -> Body:
    """As for the live service, but whole, and with the switch of thinking in each body."""
    tree = {
        "model": request.model,
        "enable_thinking": False,
        **request.options,
        "messages": messages(request, dashscope.part),
        **dashscope.thinking(request),
    }
    return Body.of(tree)


def encode_for_openai(request: Request) -> Body:
    """As for OpenAI's live service, but whole."""
    tree = {"model": request.model, **request.options, "messages": messages(request, openai.part)}
    return Body.of(tree)


DASHSCOPE = Dialect(
    name="dashscope-batch",
    encode=encode,
    docs="Batch pages, 2025 to autumn 2026",
    takes=dashscope.DIALECT.takes,
    doubted_parameters=dashscope.DIALECT.doubted_parameters,
    vendor_limits=True,
    omni_models=frozenset(MODEL_EDITIONS),
    speaks=False,
    streams=False,
    inline_max_bytes=_LINE_BYTES,
    files=FileRoute(
        file_bytes=500_000_000,
        line_bytes=_LINE_BYTES,
        longest_window_h=336,
        names_jobs=True,
        models=MODEL_EDITIONS,
        trial_models={"batch-test-model": _TRIAL},
    ),
)
OPENAI = replace(
    openai.DIALECT,
    name="openai-batch",
    encode=encode_for_openai,
    docs="OpenAI's Batch API, 2026",
    needs_voice=False,
    speaks=False,
    streams=False,
    files=FileRoute(file_bytes=200_000_000, line_bytes=200_000_000, longest_window_h=24),
)
