"""A night ends: its results beside those of the nights before."""

import pyarrow as pa
import pyarrow.compute as pc

from omni_batch.nights.earlier import item_keys, newest_results, nights_before, results_of
from omni_batch.nights.night import Night
from omni_batch.progress.current import current_record
from omni_batch.store import RunDir
from omni_batch.text import one_line


def end_night(directory: RunDir) -> Night:
    """What a night has come to; reads only, so it may be asked again.

    Raises:
        ConfigError: it is not a run directory.
        StorageError: its results can't be read.
    """
    record = current_record(directory)
    name = str(record.config.get("name"))
    earlier = newest_results(nights_before(directory.root.parent, name, directory))
    results = results_of(directory, record)
    return Night(
        run_id=record.run_id,
        path=str(directory.root),
        state=record.state,
        reason=one_line(record.reason) if record.reason else None,
        rows=record.items,
        left=_left(directory, results, earlier),
        cost=record.counts.spent,
        fail_above=record.config.get("fail_above"),
        **_figures(results, earlier),
    )


def _figures(results: pa.Table, earlier: pa.Table) -> dict[str, int]:
    before = earlier.select(["key", "status", "content"])
    both = results.join(before, "key", right_suffix="_before")
    asked = pc.invert(both["reused"])
    answered_before = _is(both["status_before"], "succeeded")
    failed_before = _is(both["status_before"], "failed")
    failed = _is(both["status"], "failed")
    same = pc.fill_null(pc.equal(both["content"], both["content_before"]), False)
    known = pc.and_(pc.and_(failed, failed_before), same)
    return {
        "new": _count(pc.and_(asked, pc.is_null(both["status_before"]))),
        "changed": _count(pc.and_(asked, answered_before)),
        "retried": _count(pc.and_(asked, failed_before)),
        "reused": _count(both["reused"]),
        "failed_new": _count(failed) - _count(known),
        "failed_known": _count(known),
    }


def _left(directory: RunDir, results: pa.Table, earlier: pa.Table) -> int:
    answered = earlier.filter(_is(earlier["status"], "succeeded"))
    known = pa.concat_tables([results.select(["key"]), answered.select(["key"])])["key"]
    return sum(len(keys) - _count(pc.is_in(keys, value_set=known)) for keys in item_keys(directory))


def _is(column: pa.ChunkedArray, value: str) -> pa.ChunkedArray:
    return pc.fill_null(pc.equal(column, value), False)


def _count(column: pa.ChunkedArray) -> int:
    return pc.sum(column).as_py() or 0
