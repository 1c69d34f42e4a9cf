"""Copies of finished runs make room; what is not at the store stays."""

import asyncio
import os
from pathlib import Path

import msgspec

import omni_batch
from omni_batch import RunHandle
from omni_batch.store.record import read_record, write_record
from omni_batch.store.remote.kept import drop_old_copies
from tests.conftest import MakeConfig, prompts
from tests.support.object_store import ObjectServer


def finished(make_config: MakeConfig, run_id: str) -> RunHandle:
    config = make_config(prompts(2), output="s3://photos/out")
    return asyncio.run(omni_batch.run_batch(config, run_id=run_id))


def test_the_oldest_finished_copies_go(
    make_config: MakeConfig, object_server: ObjectServer, tmp_path: Path
) -> None:
    old, new, used = (finished(make_config, name).path for name in ("old", "new", "used"))
    for age_s, path in enumerate((new, old)):
        os.utime(path, (1e9 - age_s, 1e9 - age_s))
    sizes = [sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) for path in (new, used)]
    drop_old_copies(used, sum(sizes) + 1)
    assert [path.exists() for path in (old, new, used)] == [False, True, True]
    drop_old_copies(used, 0)
    assert [path.exists() for path in (old, new, used)] == [False, False, True]
    assert omni_batch.read_run("s3://photos/out/old").counts.succeeded == 2


def test_what_is_only_here_stays(
    make_config: MakeConfig, object_server: ObjectServer, tmp_path: Path
) -> None:
    stopped, changed, used = (finished(make_config, name).path for name in ("x", "y", "z"))
    record = read_record(stopped / "run.json")
    write_record(stopped / "run.json", msgspec.structs.replace(record, state="stopped"))
    (changed / "results" / "part-00000.parquet").write_bytes(b"newer")
    drop_old_copies(used, 0)
    assert stopped.exists()
    assert changed.exists()
