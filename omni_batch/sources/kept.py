"""Kept: values that are made once for each key, also where several threads ask at once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Remembers what was made of a key; of many, the ones asked for last.

    A failure is told to all who wait for it, and not remembered.

    Args:
        most: values that are kept; with 0, a value is shared by those who wait for it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._values: OrderedDict[K, Future[V]] = OrderedDict()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of a key; `make` is called in this thread where there is none yet."""
        with self._lock:
            future = self._values.get(key)
            is_new = future is None
            if future is None:
                future = self._values[key] = Future()
            else:
                self._values.move_to_end(key)
        if is_new:
            self._fill(key, future, make)
        return future.result()

    def _fill(self, key: K, future: "Future[V]", make: Callable[[], V]) -> None:
        try:
            future.set_result(make())
        except BaseException as exc:
            with self._lock:
                if self._values.get(key) is future:
                    del self._values[key]
            future.set_exception(exc)
        with self._lock:
            self._drop_old()

    def _drop_old(self) -> None:
        """Drop the oldest; what is still being made stays."""
        while len(self._values) > self._most:
            made = (key for key, future in self._values.items() if future.done())
            if (oldest := next(made, None)) is None:
                return
            del self._values[oldest]
