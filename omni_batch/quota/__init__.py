"""How fast requests may start at one endpoint: the limits it states, corrected by what is met."""

from omni_batch.quota.limiter import Permit, RateLimiter

__all__ = ["Permit", "RateLimiter"]
