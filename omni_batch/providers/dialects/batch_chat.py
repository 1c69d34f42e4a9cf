"""Model Studio's Batch Chat: the same body, queued, at half the price, with one JSON reply."""

from omni_batch.providers.body import Body
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.dialects import dashscope
from omni_batch.providers.encoding import messages
from omni_batch.types import Request

_LONGEST_WAIT_S = 3600  # of the queue
_TO_ANSWER_S = 120
# 10,000 requests may wait in the queue of an account and model, 1,000 a second may join them.


def encode(request: Request) -> Body:
    """As for the live service, but whole. Whether `stream` must be left out is not documented."""
    tree = {
        "model": request.model,
        **request.options,
        "messages": messages(request, dashscope.part),
        **dashscope.thinking(request),
    }
    return Body.of(tree, dashscope.headers(request))


DIALECT = Dialect(
    name="dashscope-batch-chat",
    encode=encode,
    docs="Batch Chat page, 2026",
    takes=dashscope.DIALECT.takes,
    doubted_parameters=dashscope.DIALECT.doubted_parameters,
    vendor_limits=True,
    omni_models=frozenset({"qwen3.5-omni-plus"}),
    speaks=False,
    streams=False,
    uploads=True,
    inline_max_bytes=dashscope.DIALECT.inline_max_bytes,
    max_in_flight=1_000,
    requests_per_minute=60 * 1_000,
    first_byte_timeout_s=_LONGEST_WAIT_S + _TO_ANSWER_S,
)
