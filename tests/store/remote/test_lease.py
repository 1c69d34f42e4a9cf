"""One process at a time on a run at a store, whatever machine it is on."""

from collections.abc import Callable

import msgspec
import pytest

from omni_batch.errors import RunAtWork
from omni_batch.sources import Address
from omni_batch.sources.stores.object_store import StoreSettings, WritableStore
from omni_batch.sources.stores.opening import open_for_writing
from omni_batch.store.remote.lease import LAPSES_S, Lease
from tests.support.object_store import BUCKET, Fault, ObjectServer

KEY = "out/run/lease.json"
NOBODY = 2**22 + 1  # above the largest number of a process


class Time:
    """Goes by only when somebody waits."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.then: Callable[[float], None] = lambda now_s: None

    def pause(self, seconds: float) -> None:
        self.now_s += seconds
        self.then(self.now_s)


@pytest.fixture
def store(object_server: ObjectServer) -> WritableStore:
    return open_for_writing(Address.of(f"s3://{BUCKET}/out"), StoreSettings())


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def lease(store: WritableStore, time: Time) -> Lease:
    return Lease(store, KEY, "run s3://photos/out/run", lambda: time.now_s, time.pause)


def holder(store: WritableStore) -> dict[str, object]:
    content = store.read(KEY, 10_000)
    assert content is not None
    found: dict[str, object] = msgspec.json.decode(content)
    return found


def held_by(store: WritableStore, mark: str = "", **changes: object) -> None:
    """Somebody else has it."""
    other = {"nonce": "theirs", "pid": 7, "host": "other", "machine": "other", "mark": mark}
    since = {"since": "2026-11-27T01:02:03Z"}
    store.put(KEY, msgspec.json.encode({**other, **since, **changes}))


def test_it_is_there_while_it_is_held(store: WritableStore, lease: Lease) -> None:
    lease.take()
    first = store.entry(KEY)
    lease.renew()
    assert first
    assert store.entry(KEY) != first
    lease.release()
    assert store.entry(KEY) is None


def test_one_that_is_renewed_is_left_alone(store: WritableStore, lease: Lease, time: Time) -> None:
    held_by(store)
    time.then = lambda now_s: held_by(store, mark=f"{now_s // 15}")
    with pytest.raises(RunAtWork, match="is in use by process 7 on other since 2026-11-27 01:02"):
        lease.take()
    assert holder(store)["nonce"] == "theirs"
    assert time.now_s < LAPSES_S


def test_one_that_is_not_renewed_lapses(store: WritableStore, lease: Lease, time: Time) -> None:
    held_by(store)
    lease.take()
    assert holder(store)["nonce"] != "theirs"
    assert LAPSES_S < time.now_s < LAPSES_S + 5
    lease.renew()


def test_that_of_a_dead_process_of_this_machine_is_taken_at_once(
    store: WritableStore, lease: Lease, time: Time
) -> None:
    Lease(store, KEY, "run").take()
    mine = holder(store)
    store.put(KEY, msgspec.json.encode({**mine, "pid": NOBODY, "nonce": "theirs"}))
    lease.take()
    assert time.now_s == 0


def test_who_was_not_heard_of_learns_that_another_has_it(
    store: WritableStore, lease: Lease
) -> None:
    lease.take()
    held_by(store)
    with pytest.raises(RunAtWork, match=r"in use by process 7 on other .*was not heard of"):
        lease.renew()
    lease.release()
    assert holder(store)["nonce"] == "theirs"


def test_a_lost_answer_to_its_own_writing_is_no_other_holder(
    store: WritableStore, lease: Lease, object_server: ObjectServer
) -> None:
    lease.take()
    lost = Fault(method="PUT", key="lease", hang_up="after", times=1)
    object_server.faults.append(lost)
    lease.renew()
    lease.renew()
    assert lost.times == 0


def test_a_store_that_overlooks_conditions_still_has_one_holder(
    store: WritableStore, lease: Lease, time: Time, object_server: ObjectServer
) -> None:
    """Somebody writes it between our writing and our look at it."""
    object_server.faults.append(
        Fault(method="PUT", key="lease", times=1, then=lambda: held_by(store))
    )
    time.then = lambda now_s: held_by(store, mark=f"{now_s}")
    with pytest.raises(RunAtWork):
        lease.take()
    assert holder(store)["nonce"] == "theirs"
