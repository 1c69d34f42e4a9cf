"""Directories that others have made: which ones these are, and how far their numbers may go."""

from omni_batch.store.trust.marks import is_known, links_of, vouched

__all__ = ["is_known", "links_of", "vouched"]
