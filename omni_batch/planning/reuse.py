"""Fingerprint → Answer: what an earlier run, or another row of this one, has paid for."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import Any, Protocol

from omni_batch.changes import Window
from omni_batch.config import Config
from omni_batch.doubts import Doubt
from omni_batch.planning.plan import Plan
from omni_batch.store import RunDir
from omni_batch.store.reuse_index import ReuseIndex, link_speech
from omni_batch.types import Answer, Response, Speech, Usage, WavFile


@dataclass(frozen=True, slots=True)
class Reused:
    """An answer with the run that paid for it."""

    answer: Answer
    run_id: str
    row_number: int | None
    """Of the row whose answer it is, where that is a row of the same run."""
    windows: tuple[Window, ...] = ()


class Answers(Protocol):
    """Where rows with answers are found, by the fingerprint of what was asked."""

    async def row(self, fingerprint: str) -> tuple[RunDir, dict[str, Any]] | None:
        """The run and its row of `results`; None where there is none."""


def open_reuse_index(config: Config, own: RunDir | None = None) -> ReuseIndex | None:
    """The index over `reuse`; None where nothing is to be reused. Reads some 2 µs for each row."""
    return ReuseIndex(config.reuse, config.models, own) if config.reuse else None


async def reuse(
    answers: Answers | None, fingerprint: str, directory: RunDir, name: str
) -> Reused | None:
    """The answer that is there to a request, its speech linked into this run.

    Args:
        answers: those of earlier runs, or of this one.
        name: of the item in this run.

    Raises:
        StorageError: the speech can't be written.
    """
    found = await answers.row(fingerprint) if answers else None
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
    paid_by = row["reused_from"] or row["run_id"]
    own_row = row["row_number"] if run.root == directory.root else None
    return Reused(answer, paid_by, own_row, tuple(_windows(row)))


def same_question_doubts(plan: Plan) -> Iterator[Doubt]:
    """For a run with equal rows: whether each may have been meant to get an answer of its own."""
    if any(_varies(asked) for asked in plan.by_variant().values()):
        yield Doubt(
            "same-question-reused",
            "rows that ask the very same as another row have its answer, and are not sent; for an "
            "answer of its own for each set samples, or same_question: send",
        )


def _varies(asked: Plan) -> bool:
    """Whether an answer is drawn, so that the next one to the same question may be another."""
    request = asked.config.request
    given = {**request.model_dump(), **request.extra}
    return given["seed"] is None and given["temperature"] != 0 and given["top_k"] != 1


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
