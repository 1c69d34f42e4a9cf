"""No two runs pay for the same rows at once.

A run with `reuse` looks up what others have answered when it begins. What another run of the same
config is asking for at this moment it would ask for, and pay for, again. So it begins only when
nobody is at work on a run that it takes answers from. Run directories tell that by themselves: each
is locked by its process, however that one ends, and `run.json` is its heartbeat where a lock of
another machine can't be seen. Runs without `reuse` share nothing, and work side by side.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from omni_batch.errors import ConfigError, RunAtWork
from omni_batch.progress.current import is_at_work
from omni_batch.store.locks.lock import Taken, locked
from omni_batch.store.record import RunRecord, read_record
from omni_batch.store.remote.copies import shown
from omni_batch.store.reuse_index import reused_directories
from omni_batch.store.run_dir import RunDir

_GATE_S = 5.0
_GLANCE_S = 0.5
"""Whoever only asks whether a run is owned holds its lock for an instant."""


@contextmanager
def owned_alone(directory: RunDir, *, leading: bool = False) -> Iterator[RunRecord]:
    """Own a run for this process, and read its record, unless another one is at work on its rows.

    Args:
        leading: leave its partitions to other processes.

    Raises:
        ConfigError: not a run directory, or another process owns it.
        RunAtWork: as `refuse_beside`.
    """
    with ExitStack() as stack:
        with _one_after_another(directory.root.parent):
            record = stack.enter_context(directory.owned_record(leading=leading))
            reuse, name = record.config.get("reuse"), record.config.get("name")
            refuse_beside(str(name), reuse or (), record.models, directory)
        yield record


def refuse_beside(
    name: str, reuse: Iterable[str], models: Collection[str], own: RunDir | None = None
) -> None:
    """Refuse to begin while a run is at work whose answers would be reused.

    Args:
        name: of the config; runs of other names are others' concern.
        reuse: globs of run directories.
        models: of the config; runs of none of them have no answer to reuse.
        own: the run that is to begin.

    Raises:
        RunAtWork: names the run, since when it works, and its process.
    """
    for directory in reused_directories(reuse, own):
        if _is_shared(directory, name, models):
            raise RunAtWork(
                f"run {shown(directory.root)} of this config is at work{_owner(directory)}; its "
                "rows would be paid for twice: wait for it, or give the config another name or "
                "output"
            )


def _is_shared(directory: RunDir, name: str, models: Collection[str]) -> bool:
    try:
        record = read_record(directory.record)
    except ConfigError:  # no run at work leaves it like that; the reuse itself says so
        return False
    is_ours = record.config.get("name") == name and not set(models).isdisjoint(record.models)
    return is_ours and record.state != "finished" and is_at_work(directory, record, _GLANCE_S)


@contextmanager
def _one_after_another(output: Path) -> Iterator[None]:
    """Of two runs that begin at once, one sees the other; else both might, and none would begin."""
    with ExitStack() as stack:
        with suppress(Taken, OSError):
            stack.enter_context(locked(output, _GATE_S))
        yield


def _owner(directory: RunDir) -> str:
    owner = read_record(directory.record).owner
    if owner is None:
        return ""
    return f" since {owner.since:%Y-%m-%d %H:%M} UTC, pid {owner.pid} on {owner.host}"
