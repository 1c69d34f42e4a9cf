"""A LiteLLM proxy in front of Model Studio: it passes the parts through (litellm#6289 and later).

Its downstream is Model Studio, so the body is the same; files go inline, as the proxy has no
temporary storage.
"""

from dataclasses import replace

from omni_batch.providers.dialects import dashscope

DIALECT = replace(
    dashscope.DIALECT,
    name="litellm",
    docs="LiteLLM's dashscope provider, 2026",
    fetches=frozenset({"image", "video"}),  # its sound must be a data URI already
    uploads=False,
    vendor_quota=False,  # the proxy has limits of its own
    # It closes a stream that was cut with a `stop`, a usage of its own count and [DONE]
    # (litellm#40260). What Model Studio bills has details of the prompt; its own count has none.
    bill_proves_end=True,
)
