"""`quota`: what the account may use."""

from pydantic import Field

from omni_batch.config.frozen import Frozen


class QuotaConfig(Frozen):
    """What the account may use. None takes the catalogue's value for the model."""

    requests_per_minute: float | None = Field(default=None, ge=0.01, le=1e9)
    tokens_per_minute: float | None = Field(default=None, ge=1, le=1e12)
    max_in_flight: int | None = Field(default=None, ge=1, le=4096)
    """None takes what the rate needs for answers of a minute, 16 to 512; 1,000 at Batch Chat."""
    adaptive: bool = True
    """Learn what is let through where the numbers are too high; false keeps to them."""
    explore: bool = False
    """Try more than the numbers where they bind and nothing is refused."""
