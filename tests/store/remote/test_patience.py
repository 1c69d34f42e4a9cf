"""What is tried again at a store, and for how long."""

import threading
from collections.abc import Callable, Iterator

import pytest

from omni_batch.sources.fault import SourceFault
from omni_batch.sources.stores import faults
from omni_batch.store.remote import patience
from omni_batch.store.remote.patience import Patience, is_refusal, tried

AWAY = faults.unreachable("s3://b/k", "s3://b", "no route")
BUSY = faults.of_code("s3://b/k", "s3://b", "SlowDown", "", "503", "written")
TIMEOUT = faults.of_code("s3://b/k", "s3://b", "RequestTimeout", "", "400", "written")
EXPIRED = faults.of_code("s3://b/k", "s3://b", "ExpiredToken", "", "400", "written")


class Attempts:
    """Fails in these ways, then succeeds."""

    def __init__(self, *failures: SourceFault) -> None:
        self.made = 0
        self._failures: Iterator[SourceFault] = iter(failures)

    def __call__(self) -> str:
        self.made += 1
        if failure := next(self._failures, None):
            raise failure
        return "done"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_FIRST_PAUSE_S", "_LONGEST_PAUSE_S", "_REFUSED_TWICE_S"):
        monkeypatch.setattr(patience, name, 0.0)


def test_a_refusal_is_what_time_does_not_change() -> None:
    assert [is_refusal(fault) for fault in (AWAY, BUSY, TIMEOUT, EXPIRED)] == [False] * 3 + [True]


@pytest.mark.parametrize("fault", [BUSY, TIMEOUT])
def test_before_a_run_some_tries_are_made(fault: SourceFault) -> None:
    assert tried(Attempts(fault, fault, fault), lambda _: None) == "done"
    with pytest.raises(SourceFault):
        tried(Attempts(*[fault] * 4), lambda _: None)


@pytest.mark.parametrize("fault", [AWAY, EXPIRED])
def test_before_a_run_nobody_waits_for_what_is_wrong_with_all(fault: SourceFault) -> None:
    work = Attempts(fault)
    with pytest.raises(SourceFault):
        tried(work, lambda _: None)
    assert work.made == 1


def test_a_run_goes_on_trying_while_the_store_is_away() -> None:
    work = Attempts(*[AWAY, BUSY] * 20)
    assert Patience(600, threading.Event()).until_done(work) == "done"
    assert work.made == 41


def test_after_too_long_it_gives_up() -> None:
    with pytest.raises(SourceFault, match="does not answer"):
        Patience(0, threading.Event()).until_done(Attempts(AWAY))


@pytest.mark.parametrize(
    ("failures", "ends"),
    [([EXPIRED], True), ([EXPIRED, BUSY, EXPIRED], True), ([EXPIRED] * 2, False)],
)
def test_credentials_may_be_renewed_once(failures: list[SourceFault], ends: bool) -> None:
    work: Callable[[], str] = Attempts(*failures)
    if ends:
        assert Patience(600, threading.Event()).until_done(work) == "done"
    else:
        with pytest.raises(SourceFault, match="ExpiredToken"):
            Patience(600, threading.Event()).until_done(work)


def test_when_it_is_over_nothing_is_tried_again() -> None:
    over, work = threading.Event(), Attempts(AWAY)
    over.set()
    with pytest.raises(SourceFault):
        Patience(600, over).until_done(work)
    assert work.made == 1
