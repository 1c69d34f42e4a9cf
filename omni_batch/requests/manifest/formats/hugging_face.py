"""A data set of Hugging Face, by its name on the Hub or its folder → rows, as a stream.

Columns of the types Image, Audio and Video are media: they are taken as they are stored, and
decoded by nobody.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import fsspec

from omni_batch.errors import ManifestError
from omni_batch.requests.manifest.names import TARGETS
from omni_batch.requests.manifest.notes import Notes
from omni_batch.requests.manifest.rows import ManifestRow
from omni_batch.text import one_line
from omni_batch.types import MediaKind

PREFIX = "hf:"
_OPTIONS = ("split", "config", "revision")
_SAVED = ("dataset_info.json", "dataset_dict.json")
"""What `save_to_disk` leaves in a folder."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """Which data set, and what of it: `hf:NAME-OR-FOLDER?split=train&config=…&revision=…`."""

    name: str
    split: str | None = None
    config: str | None = None
    revision: str | None = None

    @classmethod
    def of(cls, path: str) -> "DataSet":
        """Read a manifest's path.

        Raises:
            ManifestError: an option is unknown.
        """
        name, _, query = path.removeprefix(PREFIX).partition("?")
        options = dict(parse_qsl(query))
        if unknown := options.keys() - set(_OPTIONS):
            known = ", ".join(_OPTIONS)
            raise ManifestError(f"manifest {path}: unknown option {min(unknown)}; known: {known}")
        return cls(name, **options)

    @property
    def folder(self) -> Path | None:
        """Where it lies; None for one of the Hub."""
        return Path(self.name) if Path(self.name).is_dir() else None


def is_data_set(path: str) -> bool:
    """Whether a manifest is one: `hf:name`, and not a file `hf://…` of the Hub."""
    return path.startswith(PREFIX) and not path.startswith(f"{PREFIX}//")


def read_data_set(path: str, named: Collection[str], notes: Notes) -> Iterator[ManifestRow]:
    """Read rows one after the other; memory holds a few.

    Args:
        named: columns that the config speaks of itself; they keep their names.

    Raises:
        ManifestError: it is not there, has several splits or can't be read.
    """
    wanted = DataSet.of(path)
    try:
        rows = _opened(path, wanted)
        columns = _Columns.of(rows.features or {}, named, notes)
        for number, cells in enumerate(_undecoded(rows), 1):
            yield ManifestRow(f"{path}, row {number}", columns.read(cells, wanted.folder))
    except ManifestError:
        raise
    except ImportError as exc:
        raise ManifestError(
            f"manifest {path} is read with the package {exc.name}, which is not installed; "
            "pip install 'omni-batch[hub]'"
        ) from None
    except Exception as exc:  # each builder and file system has exceptions of its own
        reason = one_line(str(exc)) or type(exc).__name__
        raise ManifestError(f"manifest {path} can't be read: {reason:.300}") from exc


def _opened(path: str, wanted: DataSet) -> Any:
    """One split as a stream, its features known."""
    import datasets  # takes seconds

    found = _loaded(datasets, wanted)
    if isinstance(found, dict):
        if wanted.split is None and len(found) > 1:
            raise ManifestError(
                f"manifest {path} has the splits {', '.join(found)}; write {path}?split="
                f"{next(iter(found))}"
            )
        split = wanted.split or next(iter(found))
        if split not in found:
            raise ManifestError(f"manifest {path} has no split {split}; it has {', '.join(found)}")
        found = found[split]
    if not isinstance(found, datasets.IterableDataset):
        found = found.to_iterable_dataset()
    # Without declared features the first rows tell them.
    return found if found.features else found._resolve_features()


def _loaded(datasets: Any, wanted: DataSet) -> Any:
    folder = wanted.folder
    if folder is not None and any((folder / name).is_file() for name in _SAVED):
        return datasets.load_from_disk(str(folder))
    name = str(folder.resolve()) if folder else wanted.name
    return datasets.load_dataset(name, wanted.config, revision=wanted.revision, streaming=True)


def _undecoded(rows: Any) -> Any:
    from datasets import Features

    plain = {name: _without_decoder(feature) for name, feature in (rows.features or {}).items()}
    return rows.cast(Features(plain)) if plain else rows


def _without_decoder(feature: Any) -> Any:
    from datasets import Audio, Image, LargeList, List, Video

    if isinstance(feature, Image | Audio | Video):
        return type(feature)(decode=False)
    if isinstance(feature, List | LargeList):
        return type(feature)(_without_decoder(feature.feature))
    if isinstance(feature, dict):
        return {name: _without_decoder(inner) for name, inner in feature.items()}
    return feature


def _kind(feature: Any) -> MediaKind | None:
    from datasets import Audio, Image, LargeList, List, Video

    if isinstance(feature, List | LargeList):
        return _kind(feature.feature)
    kinds: dict[type, MediaKind] = {Image: "image", Audio: "audio", Video: "video"}
    return kinds.get(type(feature))


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns of media, and under which name a row has them."""

    target: Mapping[str, str]

    @classmethod
    def of(cls, features: Mapping[str, Any], named: Collection[str], notes: Notes) -> "_Columns":
        target: dict[str, str] = {}
        for name, feature in features.items():
            kind = _kind(feature)
            if kind is not None:
                known = name in TARGETS or name in named
                target[name] = name if known else kind
                if not known:
                    notes.add("column-read-as", f"column {name} is read as {kind}")
        return cls(target)

    def read(self, cells: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
        row = {name: value for name, value in cells.items() if name not in self.target}
        found: dict[str, list[Any]] = {}
        for name, target in self.target.items():
            values = cells[name] if isinstance(cells[name], list) else [cells[name]]
            found.setdefault(target, []).extend(_at_hand(value, folder) for value in values)
        media = {name: values[0] if len(values) == 1 else values for name, values in found.items()}
        return {**row, **media}


def _at_hand(value: Any, folder: Path | None) -> Any:
    """A medium as references name it: paths from the folder, members of archives read."""
    path = value.get("path") if isinstance(value, Mapping) else None
    if not isinstance(path, str) or value.get("bytes") is not None:
        return value
    if "::" in path:  # in an archive, as fsspec writes it
        with fsspec.open(path, "rb") as file:
            return {"bytes": file.read(), "path": path.partition("::")[0]}
    if folder is not None and Path(path).is_absolute():
        return {"bytes": None, "path": os.path.relpath(path, folder.resolve())}
    return value
