"""Whether a finished run is what it should be, by the manifest and the service's book alone.

Nothing of the package is used: tables are read by pyarrow, sound by the standard library.
"""

import hashlib
import json
import wave
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tests.soak.book import Book, Told
from tests.soak.record import Record
from tests.soak.rows import Row, table_rows

_RATE_HZ = 24_000
_AT_REST = {"run.json", "items.parquet", "results", "attempts", "audio"}
_REPORT = "report.html"  # where somebody has asked for it


def judge(run: Path, item_ids: Sequence[str], book: Book, record: Record) -> Iterator[str]:
    """What is wrong with it; counts rows and WAV files on the way."""
    rows = [row for path in sorted(run.glob("results/*.parquet")) for row in table_rows(path)]
    attempts = [row for path in sorted(run.glob("attempts/*.parquet")) for row in table_rows(path)]
    record.rows = len({row["row_number"] for row in rows})
    record.answered_twice = sum(count - 1 for count in book.whole.values())
    tried = Counter(row["item_id"] for row in attempts)
    record.unknown = (book.asked - tried).total()
    record.in_doubt = sum(row["error_kind"] == "in_doubt" for row in attempts)
    if [(row["row_number"], row["item_id"]) for row in rows] != list(enumerate(item_ids)):
        yield f"the table has {len(rows)} rows, which are not the {len(item_ids)} of the manifest"
    for row in rows:
        fault = _row_fault(run, row, book)
        record.wavs += fault is None
        if fault:
            yield f"{row['item_id']}: {fault}"
    yield from _attempt_faults(attempts, book)
    yield from _sum_faults(run, attempts)
    yield from _untidy(run, rows)


def _row_fault(run: Path, row: Row, book: Book) -> str | None:
    if row["status"] != "succeeded":
        return f"failed: {row['error_kind']} {row['error_message']}"
    told = book.told.get(row["request_id"])
    if told is None:
        return f"its answer {row['request_id']} is none that the service gave whole"
    if told.item_id != row["item_id"]:
        return f"it has the answer to {told.item_id}"
    if row["text"] != told.text:
        return f"its text is {row['text']!r}, the service said {told.text!r}"
    if _bill(row) != (told.prompt_tokens, told.completion_tokens):
        return f"its bill is {_bill(row)}, not the service's"
    return _sound_fault(run / str(row["audio_path"]), told)


def _bill(row: Row) -> tuple[int, int]:
    return row["prompt_tokens"], row["completion_tokens"]


def _sound_fault(path: Path, told: Told) -> str | None:
    try:
        with wave.open(str(path), "rb") as file:
            form = file.getnchannels(), file.getsampwidth(), file.getframerate()
            samples = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as exc:
        return f"{path.name} can't be read: {exc}"
    if form != (1, 2, _RATE_HZ):
        return f"{path.name} has the form {form}"
    if hashlib.sha256(samples).hexdigest() != told.sound_sha256:
        return f"{path.name} has {len(samples)} bytes of sound, not the {told.sound_bytes} sent"
    return None


def _attempt_faults(attempts: list[Row], book: Book) -> Iterator[str]:
    numbered = [(row["row_number"], row["number"]) for row in attempts]
    if len(set(numbered)) != len(numbered):
        yield "an attempt is in the table twice"
    for row in attempts:
        told = book.told.get(row["request_id"])
        if (
            told
            and row["prompt_tokens"]
            and _bill(row)
            != (
                told.prompt_tokens,
                told.completion_tokens,
            )
        ):
            yield f"attempt {row['number']} of {row['item_id']} has another bill than the service's"


def _sum_faults(run: Path, attempts: list[Row]) -> Iterator[str]:
    record = json.loads((run / "run.json").read_bytes())
    if record["state"] != "finished":
        yield f"run.json says {record['state']}"
    for name in ("prompt_tokens", "completion_tokens"):
        wanted = sum(row[name] or 0 for row in attempts)
        if record["counts"][name] != wanted:
            yield f"run.json counts {record['counts'][name]} {name}, the attempts {wanted}"


def _untidy(run: Path, rows: list[Row]) -> Iterator[str]:
    if odd := {path.name for path in run.iterdir()} - {_REPORT} ^ _AT_REST:
        yield f"the run directory has, or lacks, {sorted(odd)}"
    named = {str(row["audio_path"]) for row in rows if row["audio_path"]}
    if odd := {f"audio/{path.name}" for path in (run / "audio").iterdir()} ^ named:
        yield f"audio/ has files that no row names, or lacks some: {sorted(odd)[:5]}"
    if drafts := [path.name for path in run.parent.iterdir() if path != run and _is_draft(path)]:
        yield f"beside the run there is {drafts}"


def _is_draft(path: Path) -> bool:
    """Not so the mark of a killed flow run, kept for a day while no server knows that flow run."""
    return path.suffix != ".flow-run"


def screen_faults(shown: str) -> Iterator[str]:
    """Words that no screen of a command should show."""
    for words in (
        "Traceback (most recent call last)",
        "this is a bug",
        "Unexpected error",
        "was never retrieved",
        "was never awaited",
        "Fatal Python error",
    ):
        if words in shown:
            yield f"a screen shows {words!r}"


def secret_faults(folder: Path, secret: str) -> Iterator[str]:
    """Files below a folder that hold a secret."""
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # of another round beside this one
            if path.is_file() and not path.is_symlink() and secret.encode() in path.read_bytes():
                yield f"{path} holds the key"
