"""Reopens a finished run for items that failed. What succeeded stays as it is."""

from collections.abc import Collection, Iterable

import msgspec

from omni_batch.errors import ConfigError, StorageError, item_kinds
from omni_batch.planning.consent import require_known
from omni_batch.planning.fitness.at_work import owned_alone
from omni_batch.planning.learned_limits import carry_over
from omni_batch.planning.prepare import changed_config
from omni_batch.store import RunDir
from omni_batch.store.census import refuse_other_manifest, shortage
from omni_batch.store.record import write_record
from omni_batch.store.remote.copies import shown
from omni_batch.store.reopen import failed_rows, reopen
from omni_batch.store.trust.marks import vouched
from omni_batch.text import did_you_mean


def reopen_failed(
    directory: RunDir,
    kinds: Collection[str] = (),
    overrides: Iterable[str] = (),
    *,
    trust: bool = False,
) -> int:
    """Make failed items of a finished run unfinished ones, with their attempts as history.

    What dies on the way leaves a run that `resume` finishes; shards that were not reached keep
    their failures.

    Args:
        kinds: values of `error_kind`; none means all.
        overrides: `a.b=value` pairs, as for `resume`.
        trust: consent to a run that somebody else prepared.

    Returns:
        The number of items; with 0 the run stays as it was.

    Raises:
        ConfigError: the run is not finished or not free, or a kind or a pair is wrong.
        RunAtWork: another run is at work whose answers it would reuse.
        UntrustedRun: somebody else prepared it, and there is no consent.
        StorageError: disk full, or not readable or writable.
    """
    _check_kinds(kinds)
    with owned_alone(directory) as record:
        if not trust:
            require_known(directory, record)
        if record.state != "finished":
            raise ConfigError(
                f"run {shown(directory.root)} is {record.state}; finish it with: "
                f"omni-batch resume {shown(directory.root)}"
            )
        refuse_other_manifest(directory, record)
        if lack := shortage(directory, record):
            raise StorageError(lack)
        config = changed_config(record, overrides)
        chosen = {n: failed_rows(directory, n, kinds) for n in record.shards}
        items = sum(map(len, chosen.values()))
        if items:
            reason = f"a retry of {items} failed items was started"
            marked = msgspec.structs.replace(
                record,
                state="prepared",
                reason=reason,
                finished_at=None,
                config=config,
                endpoints=carry_over(record, config),
            )
            write_record(directory.record, vouched(directory, marked))
            directory.make_folders()
        for shard_number, rows in chosen.items():
            if rows:
                reopen(directory, shard_number, rows)
    return items


def _check_kinds(kinds: Iterable[str]) -> None:
    known = sorted(item_kinds() | {"internal_error"})
    for kind in kinds:
        if kind not in known:
            raise ConfigError(f"--error {kind}: no such kind; {did_you_mean(kind, known)}")
