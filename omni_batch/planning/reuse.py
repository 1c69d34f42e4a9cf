"""Fingerprint → Answer: what an earlier run has paid for is not sent again."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import Any

from omni_batch.changes import Window
from omni_batch.config import Config
from omni_batch.doubts import Doubt
from omni_batch.store import RunDir
from omni_batch.store.reuse_index import ReuseIndex, link_speech
from omni_batch.types import Answer, Response, Speech, Usage, WavFile


@dataclass(frozen=True, slots=True)
class Reused:
    """An answer with the run that paid for it."""

    answer: Answer
    run_id: str
    windows: tuple[Window, ...] = ()


def open_reuse_index(config: Config, own: RunDir | None = None) -> ReuseIndex | None:
    """The index over `reuse`; None where nothing is to be reused. Reads some 2 µs for each row."""
    return ReuseIndex(config.reuse, config.models, own) if config.reuse else None


async def reuse(
    earlier: ReuseIndex | None, fingerprint: str, directory: RunDir, name: str
) -> Reused | None:
    """The earlier answer to a request, its speech linked into this run.

    Args:
        name: of the item in this run.

    Raises:
        StorageError: the speech can't be written.
    """
    found = await earlier.row(fingerprint) if earlier else None
    if found is None:
        return None
    run, row = found
    wav: WavFile | None = None
    if row["audio_path"] is not None:
        target = directory.speech(name)
        draft = directory.unfinished_speech(name)
        if not await asyncio.to_thread(link_speech, run, row, target, draft, directory.disk):
            return None
        wav = _wav(row, target.relative_to(directory.root))
    answer = Answer(_response(row, wav), wav, row["voice"])
    return Reused(answer, row["reused_from"] or row["run_id"], tuple(_windows(row)))


def _windows(row: Mapping[str, Any]) -> Iterator[Window]:
    """Of a run that has such columns."""
    names = ("window_begins_s", "window_ends_s", "window_texts")
    yield from starmap(Window, zip(*(row.get(name) or () for name in names), strict=True))


def _wav(row: Mapping[str, Any], path: Path) -> WavFile:
    rate_hz = row["audio_sample_rate_hz"]
    speech = Speech(round(row["audio_s"] * rate_hz), rate_hz)
    return WavFile(path.as_posix(), speech, row["audio_sha256"])


def _response(row: Mapping[str, Any], wav: WavFile | None) -> Response:
    counts = {name: row[name] for name in Usage.__dataclass_fields__}
    return Response(
        text=row["text"],
        reasoning=row["reasoning"],
        finish_reason=row["finish_reason"],
        usage=Usage(**counts) if counts["prompt_tokens"] is not None else None,
        speech=wav.speech if wav else None,
        response_id=None,
        doubts=tuple(map(Doubt.read, row["warnings"] or ())),
    )
