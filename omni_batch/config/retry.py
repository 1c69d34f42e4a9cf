"""`retry`: when to try again, how long to wait."""

from pydantic import Field

from omni_batch.config.frozen import Frozen


class RetryConfig(Frozen):
    """When to try again and how long to wait for an answer."""

    max_attempts: int = Field(default=5, ge=1)
    """Tries for each item; a wait for quota is not one."""
    first_wait_s: float = Field(default=2, ge=0)
    max_wait_s: float = Field(default=60, ge=0)
    connect_timeout_s: float = Field(default=15, gt=0)
    first_byte_timeout_s: float | None = Field(default=None, gt=0)
    """null: the endpoint's own, 120 or more."""
    idle_timeout_s: float = Field(default=90, gt=0)
    """Longest silence inside a stream."""
    item_timeout_s: float | None = Field(default=None, gt=0)
    """Most time for all attempts of an item, waits for quota not counted; null: an hour, or what
    two answers of a slow endpoint may take."""
    outage_timeout_s: float = Field(default=600, ge=0)
    """How long an endpoint may be down before the run stops."""
