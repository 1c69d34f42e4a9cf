"""A LiteLLM proxy in front of Model Studio: it passes the parts through (litellm#6289 and later).

Its downstream is Model Studio, so the body is the same; files go inline, as the proxy has no
temporary storage. It knows no part `video`, the list of frames, and answers 500; URLs of sound it
passes on (both seen with LiteLLM 1.108.7).
"""

from dataclasses import replace

from omni_batch.providers.dialects import dashscope

DIALECT = replace(
    dashscope.DIALECT,
    name="litellm",
    docs="LiteLLM's dashscope provider, 2026",
    takes=dashscope.DIALECT.takes - {"frames"},
    uploads=False,
    vendor_quota=False,  # the proxy has limits of its own
    # It closes a stream that was cut with a `stop`, a usage of its own count and [DONE]
    # (litellm#40260). What Model Studio bills has details of the prompt; its own count has none.
    bill_proves_end=True,
)
