"""Objects are written whole or not at all, against a real S3 server."""

from pathlib import Path

import pytest

from omni_batch.sources import Address, SourceFault
from omni_batch.sources.stores.object_store import StoreSettings, WritableStore
from omni_batch.sources.stores.opening import open_for_writing
from tests.support.object_store import BUCKET, SECRET, TOKEN, Fault, ObjectServer

PIECES = 20 * 2**20


@pytest.fixture
def store(object_server: ObjectServer) -> WritableStore:
    return open_for_writing(Address.of(f"s3://{BUCKET}/out"), StoreSettings())


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * (PIECES // 256))
    return path


def test_what_was_written_is_listed_by_the_version_that_writing_it_gave(
    store: WritableStore, tmp_path: Path
) -> None:
    (tmp_path / "small").write_bytes(b"hello")
    version = store.put("out/a run/small", tmp_path / "small")
    assert [(e.key, e.size_bytes, e.version) for e in store.entries("out")] == [
        ("out/a run/small", 5, version)
    ]
    assert store.entry("out/a run/small") == next(iter(store.entries("out")))
    assert store.read("out/a run/small", 100) == b"hello"
    assert store.folders("out") == ["a run"]
    store.delete("out/a run/small")
    assert store.entry("out/a run/small") is None
    assert store.read("out/a run/small", 100) is None


def test_a_large_file_goes_in_pieces(
    store: WritableStore, object_server: ObjectServer, large: Path
) -> None:
    object_server.faults.append(Fault(503, "SlowDown", method="PUT", key="large", times=2))
    version = store.put("out/large", large)
    assert object_server.count("PUT", "out/large") == 3 + 2
    assert object_server.content("out/large") == large.read_bytes()
    assert [entry.version for entry in store.entries("out")] == [version]


def test_a_piece_that_is_refused_leaves_nothing_behind(
    store: WritableStore, object_server: ObjectServer, large: Path
) -> None:
    object_server.faults.append(Fault(400, "ExpiredToken", method="PUT", key="large"))
    with pytest.raises(SourceFault, match=r"may not be written \(ExpiredToken") as refused:
        store.put("out/large", large)
    assert refused.value.for_all
    assert object_server.all_keys() == []
    assert object_server.unfinished() == 0
    assert SECRET not in str(refused.value)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_connection_is_tried_again(
    store: WritableStore, object_server: ObjectServer, when: str
) -> None:
    object_server.faults.append(Fault(method="PUT", hang_up=when, times=2))  # type: ignore[arg-type]
    store.put("out/a", b"whole")
    assert object_server.content("out/a") == b"whole"


def test_what_a_dead_process_has_sent_in_pieces_is_ended(
    store: WritableStore, object_server: ObjectServer
) -> None:
    object_server.begin_upload("out/run/large")
    object_server.begin_upload("elsewhere/large")
    store.abort_uploads("out/run")
    assert object_server.unfinished() == 1


def test_of_two_writers_one_creates(store: WritableStore) -> None:
    first = store.create("out/lease", b"mine")
    assert first
    assert store.create("out/lease", b"yours") is None
    second = store.replace("out/lease", b"mine still", first)
    assert second
    assert store.replace("out/lease", b"yours", first) is None
    assert store.read("out/lease", 100) == b"mine still"
    store.delete("out/lease")
    assert store.replace("out/lease", b"mine", second) is None


def test_names_that_cant_be_listed_are_said(
    store: WritableStore, object_server: ObjectServer
) -> None:
    object_server.put("out/a/../evil", b"")
    with pytest.raises(SourceFault, match="s3://photos/out holds an object whose name can't be"):
        list(store.entries("out"))


def test_a_missing_bucket_is_named(object_server: ObjectServer) -> None:
    store = open_for_writing(Address.of("s3://nowhere/out"), StoreSettings())
    for work in (
        lambda: store.put("a", b""),
        lambda: store.create("a", b""),
        lambda: store.entry("a"),
        lambda: store.read("a", 1),
        lambda: store.folders("a"),
        lambda: next(iter(store.entries("a"))),
    ):
        with pytest.raises(SourceFault, match="s3://nowhere: there is no such bucket"):
            work()
