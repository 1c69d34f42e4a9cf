"""Runs that make media fit, and what the simulator received for each row."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import omni_batch
from omni_batch.simulator import Simulator
from tests.conftest import MakeConfig, read_table

MAKES_FIT = {"fit": "fit", "transport": "inline"}
_ADDRESSES = {"image_url": "url", "video_url": "url", "input_audio": "data"}


@dataclass
class Sent:
    """What became of a row."""

    row: dict[str, Any]
    """Of the results."""
    files: list[bytes] = field(default_factory=list)
    """In the order in which they were sent, over all requests; a frame list is its images."""
    parts: list[dict[str, Any]] = field(default_factory=list)
    """The parts of the messages that they were in."""

    @property
    def rules(self) -> list[str]:
        """What its warnings are about."""
        return [warning.partition(":")[0] for warning in self.row["warnings"]]

    @property
    def only(self) -> bytes:
        """The one file that was sent, by a row that succeeded."""
        assert self.row["status"] == "succeeded", self.row["error_message"]
        (file,) = self.files
        return file


async def sent_by_fit(
    make_config: MakeConfig,
    simulator: Simulator,
    rows: Sequence[Mapping[str, str]],
    *,
    media: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Sent]:
    """Run rows with ids and media; what each of them sent."""
    asked = [{**row, "prompt": f"Row {row['item_id']}."} for row in rows]
    before = len(simulator.requests)
    config = make_config(asked, media=MAKES_FIT | dict(media or {}), **changes)
    record = (await omni_batch.run_batch(config)).record
    found = {row["item_id"]: Sent(row) for row in read_table(Path(config.output) / record.run_id)}
    for request in simulator.requests[before:]:
        content: Any = request.body["messages"][-1]["content"]  # type: ignore[index]
        item_id = content[-1]["text"].removeprefix("Row ").rstrip(".")
        for part in content[:-1]:
            found[item_id].parts.append(part)
            found[item_id].files += _files(part)
    return found


def made_in(folder: Path) -> list[str]:
    """Names of the files that a test has made, each of one letter, in order."""
    return sorted(path.name for path in folder.glob("?.*"))


def _files(part: dict[str, Any]) -> list[bytes]:
    kind = part["type"]
    if kind == "video":
        return [_content(address) for address in part["video"]]
    return [_content(part[kind][_ADDRESSES[kind]])]


def _content(address: str) -> bytes:
    return base64.b64decode(address.partition(",")[2])
