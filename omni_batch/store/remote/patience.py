"""What is worth another try at a store, and for how long. And whether an output can be written."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from omni_batch.errors import ConfigError
from omni_batch.sources.address import Address
from omni_batch.sources.fault import SourceFault
from omni_batch.sources.stores.faults import Unreachable
from omni_batch.sources.stores.object_store import StoreSettings, WritableStore
from omni_batch.sources.stores.opening import open_for_writing
from omni_batch.store.remote.copies import below, output_address

T = TypeVar("T")
_TRIES = 4
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 15.0
_REFUSED_TWICE_S = 2.0
"""Credentials are renewed by then, where they can be."""
_TEST_NAME = ".omni-batch-write-test"
STORE_DEFAULTS = StoreSettings()


def is_refusal(fault: SourceFault) -> bool:
    """Whether the store said no, which time alone does not change."""
    return fault.for_all and not isinstance(fault, Unreachable)


def tried(work: Callable[[], T], pause: Callable[[float], object] = time.sleep) -> T:
    """Do something at a store, some times over where it breaks off. The libraries below have tried
    again already what the store puts off.

    Raises:
        SourceFault: the last one; a refusal at once.
    """
    for number in range(_TRIES - 1):
        try:
            return work()
        except SourceFault as exc:
            if exc.for_all:
                raise
        pause(_FIRST_PAUSE_S * 2**number)
    return work()


class Patience:
    """How long one run goes on trying, over all that it sends.

    Args:
        seconds: without any success, after which it gives up.
        over: set when nobody waits any more.
    """

    def __init__(self, seconds: float, over: threading.Event) -> None:
        self._seconds, self._over = seconds, over
        self._failing_since: float | None = None

    def until_done(self, work: Callable[[], T]) -> T:
        """Do it, and again until it succeeds.

        Raises:
            SourceFault: the store refuses it, or has been away for too long, or it is over.
        """
        pause_s, refused = _FIRST_PAUSE_S, False
        while True:
            try:
                done = work()
            except SourceFault as exc:
                if (is_refusal(exc) and refused) or self._is_too_long():
                    raise
                refused = is_refusal(exc)
                if self._over.wait(_REFUSED_TWICE_S if refused else pause_s):
                    raise
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                self._failing_since = None
                return done

    def _is_too_long(self) -> bool:
        now_s = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now_s
        return now_s - self._failing_since >= self._seconds


def refuse_unwritable(output: str, settings: StoreSettings) -> None:
    """Write and remove a small object where runs are to be kept.

    Raises:
        ConfigError: that can't be done.
    """
    address = output_address(output)
    try:
        store = open_for_writing(address, settings)
        key = below(address, _TEST_NAME).key
        tried(lambda: store.put(key, b"can be removed\n"))
        tried(lambda: store.delete(key))
    except SourceFault as exc:
        raise ConfigError(f"output {output}: {exc}; nothing was sent") from exc


def opened(address: Address, settings: StoreSettings = STORE_DEFAULTS) -> WritableStore:
    """The store of an address.

    Raises:
        ConfigError: a package or credentials are missing.
    """
    try:
        return open_for_writing(address, settings)
    except SourceFault as exc:
        raise ConfigError(str(exc)) from exc
