"""Media: from a reference to what it is, how large and how long. Only content decides."""

from omni_batch.requests.media.loader import LARGEST_FILE_BYTES, MediaLoader

__all__ = ["LARGEST_FILE_BYTES", "MediaLoader"]
