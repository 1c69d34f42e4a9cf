"""A manifest read whole, for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omni_batch.config import ManifestConfig
from omni_batch.errors import ManifestError
from omni_batch.requests.manifest import Manifest, ManifestRow, base_folder
from omni_batch.types import Item


def read_items(config: ManifestConfig) -> Iterator[tuple[ManifestRow, Item]]:
    manifest = Manifest(config, base_folder(config.path))
    for number, row in enumerate(manifest.rows()):
        try:
            item, _ = manifest.read(row, number)
        except ManifestError as exc:
            raise ManifestError(f"{row.where}: {exc}") from None
        yield row, item


def items_of(path: Path, **config: Any) -> list[Item]:
    return [item for _, item in read_items(ManifestConfig(path=str(path), **config))]
