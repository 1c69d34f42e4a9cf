"""Ctrl-C, SIGTERM and the end of the terminal, for a process of the command line.

While its modules are loaded, and once all is done, they end it at once. In between they unwind it
as KeyboardInterrupt, which removes what is half written; what does not end in time is ended by a
thread, whatever the main thread is busy with. A run at work takes them over
(`engine/supervise.py`). What is ignored from the start, as nohup has it, stays ignored.
"""

import asyncio
import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""The exit code, as shells have it: 128 + SIGINT."""
_TIDYING_S = 1.5
_HANGUP = getattr(signal, "SIGHUP", None)  # not on every system
_ENDING = tuple(filter(None, (signal.SIGINT, signal.SIGTERM, _HANGUP)))
_last_acts: list[Callable[[], None]] = []
_watchers: list[threading.Thread] = []


def before_leaving(act: Callable[[], None]) -> None:
    """Have something done, and quickly, where the process ends without unwinding."""
    _last_acts.append(act)


def leave(code: int = INTERRUPTED) -> NoReturn:
    """End the process now, without its other threads, which may wait for what does not come."""
    for act in tuple(_last_acts):
        with suppress(Exception):
            act()
    os._exit(code)


def end_at_once(code: int = INTERRUPTED) -> None:
    """From now on there is nothing to tidy up: a signal ends the process, and nothing is said."""
    for number in _heard():
        signal.signal(number, lambda *_: leave(code))


def unwind() -> None:
    """From now on a signal is a KeyboardInterrupt, which has little time; a second one has none."""
    if not _watchers:
        atexit.register(_ignore)  # runs last; after it Python hands the signals back to the system
        numbers, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        _watchers.append(threading.Thread(target=_watch, args=(numbers,), daemon=True))
        _watchers[0].start()
    for number in _heard():
        # asyncio ends a loop in order at Ctrl-C only where it finds Python's own handler.
        ours = signal.default_int_handler if number == signal.SIGINT else _as_ctrl_c
        signal.signal(number, ours)


@contextmanager
def heard_in_loop(acts: Mapping[int, Callable[[], None]]) -> Iterator[None]:
    """Have signals do something else in the running event loop, until the block ends.

    Only the main thread hears of signals, and not on every system: elsewhere nothing changes. What
    is ignored from the start stays ignored.
    """
    with ExitStack() as stack:
        with suppress(NotImplementedError, RuntimeError, ValueError, AttributeError):
            stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(-1))
            for number, act in acts.items():
                _take(stack, signal.Signals(number), act)
        yield


def _take(stack: ExitStack, number: signal.Signals, act: Callable[[], None]) -> None:
    """Hear a signal in the event loop; whoever heard it before does so again afterwards."""
    before, loop = signal.getsignal(number), asyncio.get_running_loop()
    if number == _HANGUP and before == signal.SIG_IGN:  # nohup
        return
    loop.add_signal_handler(number, act)
    stack.callback(signal.signal, number, before or signal.SIG_DFL)
    stack.callback(loop.remove_signal_handler, number)


def _ignore() -> None:
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


def _heard() -> list[signal.Signals]:
    return [number for number in _ENDING if signal.getsignal(number) != signal.SIG_IGN]


def _as_ctrl_c(_number: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)


def _watch(numbers: int) -> None:
    """See to it that the process ends, also where its main thread does not hear of signals."""
    asked = False
    while True:
        number = os.read(numbers, 1)[0]
        if number not in _ENDING or (asked and number == _HANGUP):
            continue  # a terminal that is closed says so more than once, which is no hurry
        if asked:
            leave()
        asked = True
        timer = threading.Timer(_TIDYING_S, leave)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:  # the system gives no more threads
            leave()
