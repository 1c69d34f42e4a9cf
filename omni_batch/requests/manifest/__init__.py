"""Manifest → Item: files of rows, folders and globs, streamed, each row checked as it passes."""

from omni_batch.requests.manifest.formats.source import base_folder
from omni_batch.requests.manifest.names import TARGETS
from omni_batch.requests.manifest.reading import Manifest
from omni_batch.requests.manifest.rows import ManifestRow

__all__ = ["TARGETS", "Manifest", "ManifestRow", "base_folder"]
