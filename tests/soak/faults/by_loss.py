"""What goes missing: files of a run that are removed or cut by another program."""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.soak.faults.stage import Fault, Stage
from tests.soak.plan import Strike

_DAMAGED = frozenset({3})


def _one_of(stage: Stage, strike: Strike, pattern: str) -> Path | None:
    found = sorted(stage.run.glob(pattern))
    return found[int(strike.luck * len(found))] if found else None


def _removed(pattern: str) -> Fault:
    def strike(stage: Stage, strike: Strike) -> bool:
        path = _one_of(stage, strike, pattern)
        if path is not None:
            path.unlink(missing_ok=True)
        return path is not None

    return _fault(strike)


def _cut(pattern: str) -> Fault:
    def strike(stage: Stage, strike: Strike) -> bool:
        path = _one_of(stage, strike, pattern)
        if path is not None:
            _truncate(path, strike.luck)
        return path is not None

    return _fault(strike)


def _truncate(path: Path, share: float) -> None:
    with suppress(FileNotFoundError):  # the run has removed it just now
        os.truncate(path, int(path.stat().st_size * share))


def _fault(strike: Callable[[Stage, Strike], bool]) -> Fault:
    return Fault(strike, _DAMAGED, takes=True)


def _remove_all_speech(stage: Stage, _: Strike) -> bool:
    shutil.rmtree(stage.run / "audio", ignore_errors=True)
    return True


def _nul_tail(stage: Stage, strike: Strike) -> bool:
    path = _one_of(stage, strike, "journal/shard-*.jsonl")
    if path is not None:
        with path.open("ab") as file:
            file.write(bytes(4096))
    return path is not None


def _record_away(stage: Stage, strike: Strike) -> bool:
    """As a copy that left it out, or cut it; then it is brought back."""
    if not stage.record.exists():
        return False
    _take_record(stage, strike)
    code = stage.begin(["resume", str(stage.run), "--no-prefect"]).wait(120)
    if code != 2:
        stage.complain(f"resume without a whole run.json ended with {code}")
    stage.record.write_bytes(stage.record_copy)
    return True


def _record_cut_under(stage: Stage, strike: Strike) -> bool:
    """Its owner writes it again."""
    if not stage.record.exists():
        return False
    _take_record(stage, strike)
    return True


def _take_record(stage: Stage, strike: Strike) -> None:
    with suppress(FileNotFoundError):
        stage.record_copy = stage.record.read_bytes()
        if strike.luck < 0.5:
            stage.record.unlink()
        else:
            os.truncate(stage.record, 0)


BY_LOSS: Mapping[str, Fault] = {
    "journal removed": _removed("journal/shard-*.jsonl"),
    "journal cut": _cut("journal/shard-*.jsonl"),
    "NUL behind a journal": Fault(_nul_tail),
    "part of results removed": _removed("results/*.parquet"),
    "part of attempts removed": _removed("attempts/*.parquet"),
    "part of results cut": _cut("results/*.parquet"),
    "part of attempts cut": _cut("attempts/*.parquet"),
    "speech removed": _removed("audio/*.wav"),
    "speech cut": _cut("audio/*.wav"),
    "all speech removed": Fault(_remove_all_speech, _DAMAGED, takes=True, weight=0.5),
    "run.json away": Fault(_record_away),
}
"""When no process works on the run."""
UNDER_IT: Mapping[str, Fault] = {
    "journal removed under it": _removed("journal/shard-*.jsonl"),
    "journal cut under it": _cut("journal/shard-*.jsonl"),
    "part removed under it": _removed("results/*.parquet"),
    "speech removed under it": _removed("audio/*.wav"),
    "run.json cut under it": Fault(_record_cut_under, frozenset({2}), weight=0.5),
}
"""While one does."""
