"""How fast requests may start at one endpoint: the limits it states, corrected by what is met."""

from omni_batch.quota.line import Quota, Slot

__all__ = ["Quota", "Slot"]
