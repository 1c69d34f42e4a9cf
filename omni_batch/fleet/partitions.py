"""Writes the partitions of a run."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from omni_batch.config import Config, parse_config
from omni_batch.counts import Counts
from omni_batch.errors import ConfigError
from omni_batch.fleet.shares import configs_of
from omni_batch.fleet.split import PartWork, ShardWork, split
from omni_batch.planning.consent import require_known
from omni_batch.planning.fitness.at_work import owned_alone
from omni_batch.planning.fitness.sharing import refuse_sharing
from omni_batch.planning.plan import make_plan
from omni_batch.progress.counters import COUNTED, of_tables
from omni_batch.progress.month import month_of
from omni_batch.store import Owner, RunDir, RunRecord
from omni_batch.store.census import refuse_other_manifest
from omni_batch.store.read import read_shard
from omni_batch.store.record import Slice, write_record
from omni_batch.store.remote.copies import address_of
from omni_batch.store.trust.marks import vouched


@contextmanager
def partitioned(directory: RunDir, workers: int) -> Iterator[list[RunDir]]:
    """Lead a run: own it, split into partitions that other processes work on.

    Args:
        workers: how many partitions are wanted; there are no more than shards.

    Yields:
        Its partitions.

    Raises:
        ConfigError: another process works on it or on a partition of it; a limit of the budget has
            nothing to share.
        RunAtWork: another run is at work whose answers would be reused.
        UntrustedRun: somebody else prepared it.
    """
    if address := address_of(directory.root):
        raise ConfigError(
            f"run {address} is worked on by one process: workers share a run by a folder that all "
            "of them see; leave --workers"
        )
    with owned_alone(directory, leading=True) as record:
        require_known(directory, record)
        refuse_other_manifest(directory, record)
        with directory.owned_partitions():
            work = [_work(directory, record, number) for number in record.shards]
            parts = split(work, workers)
            config = parse_config(record.config)
            refuse_sharing(make_plan(config, Path(record.base_folder), needs_key=False))
            configs = configs_of(config, parts, _spent_elsewhere(directory, record, config))
            shutil.rmtree(directory.partitions, ignore_errors=True)
            made = list(_written(directory, record, parts, configs))
        running = msgspec.structs.replace(record, state="running", owner=Owner.this_process())
        write_record(directory.record, running, directory.disk)
        yield made


def _work(directory: RunDir, record: RunRecord, shard_number: int) -> ShardWork:
    found = read_shard(directory, record, shard_number, COUNTED)
    rows = len(record.shard_rows(shard_number))
    return ShardWork(rows, of_tables(*found) if found else Counts())


def _spent_elsewhere(directory: RunDir, record: RunRecord, config: Config) -> Counts:
    month = month_of(directory.root.parent, config, record.created_at, directory.run_id)
    return month.spent if month else Counts()


def _written(
    directory: RunDir, record: RunRecord, parts: list[PartWork], configs: list[Config]
) -> Iterator[RunDir]:
    for number, (part, config) in enumerate(zip(parts, configs, strict=True)):
        partition = directory.part(number)
        directory.disk.make_folders(partition.home)
        own = _record_of(record, part, Slice(number, len(parts), part.first_shard, record.items))
        if len(parts) > 1:
            own = msgspec.structs.replace(own, config={**own.config, **_shares(config)})
        write_record(partition.record, vouched(partition, own), directory.disk)
        yield partition


def _shares(config: Config) -> dict[str, object]:
    tree = config.model_dump(mode="json")
    return {key: tree[key] for key in ("budget", "quota", "endpoints")}


def _record_of(record: RunRecord, part: PartWork, place: Slice) -> RunRecord:
    first_row = part.first_shard * record.shard_size
    failed_before = record.failed_before
    if failed_before is not None:
        failed_before = min(part.rows, max(0, failed_before - first_row))
    return msgspec.structs.replace(
        record,
        state="prepared",
        items=part.rows,
        slice=place,
        counts=Counts(),
        failed_before=failed_before,
        flow_run_id=None,
        finished_at=None,
        reason=None,
        owner=None,
    )


def partition_of(root: Path, number: int) -> RunDir:
    """A partition that a worker is told to work on.

    Raises:
        ConfigError: there is none.
    """
    partition = RunDir(root).part(number)
    if not partition.record.exists():
        raise ConfigError(
            f"{partition.words} is not there: the run has been finished or split anew, or its "
            "folder is not shared with this machine"
        )
    return partition
