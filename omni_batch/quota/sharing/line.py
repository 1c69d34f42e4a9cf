"""The turns of processes that share one line, wherever it is kept."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from omni_batch.errors import StorageError

_AGAIN_S = 5.0
_log = logging.getLogger(__name__)


class LineTurns:
    """Turns of one account among the partitions of a run.

    Where the line can't be used, a process keeps to its share of the account until it can: then
    all of them together are never above the limit.

    Args:
        take: takes the next stretch of so many seconds, and returns when it begins, in seconds
            since 1970. StorageError where it can't.
        of: how many processes may share the line.
    """

    def __init__(self, take: Callable[[float], float], of: int) -> None:
        self._take, self._of = take, of
        self._thread = ThreadPoolExecutor(1, "omni-batch-turns")
        self._end_s = 0.0
        self._alone_until_s: float | None = None

    async def lease(self, seconds: float) -> float:
        """Take the next stretch of so many seconds; see `Turns`."""
        loop = asyncio.get_running_loop()
        if self._alone_until_s is not None and loop.time() < self._alone_until_s:
            return self._own_share(seconds)
        try:
            begin_s = await loop.run_in_executor(self._thread, self._take, seconds)
        except StorageError as exc:
            if self._alone_until_s is None:
                _log.warning("1 of %d shares of the quota is used: %s", self._of, exc)
            self._alone_until_s = loop.time() + _AGAIN_S
            return self._own_share(seconds)
        self._alone_until_s = None
        begin_s += loop.time() - time.time()
        self._end_s = begin_s + seconds
        return begin_s

    def close(self) -> None:
        """Ask for no more."""
        self._thread.shutdown(wait=False)

    def _own_share(self, seconds: float) -> float:
        """The next turn, as if all others took theirs."""
        others_s = (self._of - 1) * seconds
        begin_s = max(asyncio.get_running_loop().time(), self._end_s + others_s)
        self._end_s = begin_s + seconds
        return begin_s
