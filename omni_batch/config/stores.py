"""`stores`: how object stores are talked to. Credentials come from the environment alone."""

from typing import Literal

from omni_batch.config.frozen import Frozen


class StoresConfig(Frozen):
    """What the environment does not say of stores."""

    addressing: Literal["auto", "path", "virtual"] = "auto"
    """Where a bucket's name goes in addresses of S3's kind. path: behind the host. virtual: before
    it, as OSS wants it. auto: before it at AWS and OSS, else behind it."""
    anonymous: bool = False
    """Whether requests carry no signature, as public buckets take them."""
