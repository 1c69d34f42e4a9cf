"""An event loop in virtual time: its clock jumps to the next timer once nothing else can run.

Hours pass in milliseconds and every run of the same code is the same. Nothing outside the process
exists in it: sockets, pipes and threads are refused, since virtual time can't wait for them.
"""

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

_LEAST_STEP_S = 1e-9
_MOST_ROUNDS = 200_000
"""Rounds of the loop without time moving; far more than all tasks of a test need to get ready."""


class Stuck(BaseException):
    """Nothing can happen any more. No task may take it for an error of its own."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time, which starts at 0.

    Raises:
        Stuck: everybody waits for somebody, or code runs on and on without time passing.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` moves only while everybody waits."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(_Clockwork(self))

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self.now_s

    def run_in_executor(self, *_: Any) -> NoReturn:  # type: ignore[override]
        """Refuse: a thread takes real time."""
        raise RuntimeError("virtual time can't wait for a thread")


class _Clockwork(selectors.BaseSelector):
    """What the loop calls when it has nothing to do but wait."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self._keys: dict[Any, selectors.SelectorKey] = {}
        self._rounds = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Let time pass instead of waiting."""
        if timeout is None:
            raise Stuck(f"nobody can go on, and no timer is set: {_tasks(self._loop)}")
        self._rounds = 0 if timeout > _LEAST_STEP_S else self._rounds + 1
        if self._rounds > _MOST_ROUNDS:
            self._rounds = 0  # so that the tasks can be cancelled
            raise Stuck(f"time stands still at {self._loop.now_s:g} s: {_tasks(self._loop)}")
        self._loop.now_s += max(0.0, timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Take the pipe by which the loop wakes itself, and nothing more."""
        if self._keys:
            raise RuntimeError("virtual time can't wait for a file or socket")
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, fileobj, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Forget the pipe."""
        return self._keys.pop(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """What is registered."""
        return self._keys


def _tasks(loop: asyncio.AbstractEventLoop) -> str:
    names = sorted(task.get_name() for task in asyncio.all_tasks(loop))
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"{len(names)} tasks wait ({shown})"
