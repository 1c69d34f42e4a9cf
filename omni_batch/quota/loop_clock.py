"""The event loop's clock stands still while this process does.

A process that was stopped (Ctrl-Z, a debugger, the host of a virtual machine) would find every
timeout over before it has read what came meanwhile, and ask again for answers that lie in its
buffers, and are paid for. With this clock a timeout, a wait and a quota's window go on where they
were.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_BEAT_S = 0.25
_PAUSE_S = 1.0
"""The clock is read at each beat: what is so much longer is no waiting of the loop's."""


@contextmanager
def pauses_left_out() -> Iterator[None]:
    """Within the block the running loop's clock leaves out in what this process stood still."""
    clock = _Clock(asyncio.get_running_loop())
    try:
        yield
    finally:
        clock.stop()


class _Clock:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._time = loop, loop.time
        self._seen_s, self._left_out_s, self._runs = loop.time(), 0.0, True
        with suppress(AttributeError):  # a loop of another make keeps its own
            loop.time = self.time  # type: ignore[method-assign]
        self._beat()

    def time(self) -> float:
        """Seconds in which the loop ran or waited."""
        now_s = self._time()
        if (gap_s := now_s - self._seen_s) > _PAUSE_S and self._runs:
            self._left_out_s += gap_s - _BEAT_S
        self._seen_s = now_s
        return now_s - self._left_out_s

    def stop(self) -> None:
        """From now on it is like any clock, and gone unless another one stands on it."""
        self._runs = False
        self._timer.cancel()
        if self._loop.time == self.time:
            self._loop.time = self._time  # type: ignore[method-assign]

    def _beat(self) -> None:
        self._timer = self._loop.call_later(_BEAT_S, self._beat)
