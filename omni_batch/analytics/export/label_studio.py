"""A folder for Label Studio: `tasks.json` with a prediction each, `labels.xml`, and the media.

Files are copied into `media/`, where a Label Studio whose LOCAL_FILES_DOCUMENT_ROOT is the folder
around this one serves them as `/data/local-files/?d=…`; URLs stay URLs.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from omni_batch.analytics.export.labelling_config import (
    PROMPT,
    Control,
    controls_of,
    labelling_config,
    shown_names,
    shown_of,
)
from omni_batch.analytics.export.rows import ExportRow, Medium, RunReader, encode_row
from omni_batch.analytics.export.web_dataset import ending, image_ending, sample_key
from omni_batch.annotation.shape import read_shape
from omni_batch.requests.messages import messages_of
from omni_batch.store.items import to_item
from omni_batch.types import MediaKind

_MEDIA = "media"


def write_label_studio(reader: RunReader, folder: Path, name: str) -> None:
    """Write `tasks.json`, or a file for each split; `labels.xml`; and `media/` where there are any.

    Args:
        name: that the folder will have.

    Raises:
        ConfigError: a label can't stand in the config.
        OSError: disk full or not writable.
    """
    described = reader.record.annotation_schema
    controls = controls_of(read_shape(described) if described is not None else None)
    shown = shown_of(reader.inputs())
    (folder / "labels.xml").write_text(labelling_config(shown, controls), encoding="utf-8")
    names = shown_names(shown, controls)
    writer = _Tasks(reader, folder, name, controls, tuple(names), next(iter(names.values())))
    for split in reader.splits:
        with (folder / f"{split or 'tasks'}.json").open("wb") as file:
            before = b"[\n"
            for row in reader.rows(split, whole=True):
                file.write(before + encode_row(writer.task(row)))
                before = b",\n"
            file.write(b"\n]\n" if before == b",\n" else b"[]\n")


@dataclass(frozen=True, slots=True)
class _Tasks:
    reader: RunReader
    folder: Path
    name: str
    controls: tuple[Control, ...]
    keys: tuple[str, ...]
    """Members of a task's data that the config shows; a task has all of them."""
    object_name: str

    def task(self, row: ExportRow) -> dict[str, Any]:
        own = {name: row.values[name] for name in self.reader.own_columns}
        shown = {key: self._shown(key, row) for key in self.keys}
        data = {**own, **row.names, **shown}
        answered = row.values["status"] == "succeeded"
        return {"data": data, "predictions": [self._prediction(row)] if answered else []}

    def _prediction(self, row: ExportRow) -> dict[str, Any]:
        has_schema = self.reader.record.annotation_schema is not None
        found = row.values["annotation" if has_schema else "text"]
        values = ((control, control.value(found)) for control in self.controls)
        result = [
            {
                "id": f"{number}",
                "from_name": control.name,
                "to_name": self.object_name,
                "type": control.tag.lower(),
                "value": value,
            }
            for number, (control, value) in enumerate(values, 1)
            if value is not None
        ]
        return {"model_version": row.values["run_id"], "result": result}

    def _shown(self, key: str, row: ExportRow) -> Any:
        """A text, an address, or a list of them; never null, as the config asks for it."""
        item, stem = row.item, sample_key(row.values["row_number"], row.values["item_id"])
        match key:
            case "image":
                return next(iter(self._images(item["image"], stem, "")), "")
            case "images":
                return list(self._images(item["image"], stem, ""))
            case "frames":
                return list(self._images(item["frames"], stem, ".frame"))
            case "audio" | "video":
                return self._address(item[key], key, f"{stem}.input") if item[key] else ""
        return _conversation(row) if key == PROMPT else ""

    def _images(self, references: list[str] | None, stem: str, suffix: str) -> Iterator[str]:
        for number, reference in enumerate(references or ()):
            yield self._address(reference, "image", f"{stem}{suffix}.{number}")

    def _address(self, reference: str, kind: MediaKind, stem: str) -> str:
        found = self.reader.embedded(reference, kind)
        if not found.embeddable:
            return found.reference
        kind_of_file = image_ending(found) if kind == "image" else ending(found)
        path = self.folder / _MEDIA / f"{stem}.{kind_of_file}"
        path.parent.mkdir(exist_ok=True)
        _copy(found, path)
        return f"/data/local-files/?d={quote(f'{self.name}/{_MEDIA}/{path.name}')}"


def _copy(medium: Medium, path: Path) -> None:
    if medium.path is not None:
        shutil.copyfile(medium.path, path)
    else:
        path.write_bytes(medium.data or b"")


def _conversation(row: ExportRow) -> str:
    """The prompt; with the turns before it, if there were any."""
    prompt: str = row.values["prompt"] or ""
    if not row.item["messages"]:
        return prompt
    lines = []
    for turn in messages_of(to_item(row.item), prompt):
        lines += [f"{turn.role}: {part}" for part in turn.parts if isinstance(part, str)]
    return "\n\n".join(lines)
