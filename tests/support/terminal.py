"""A command in the foreground of a real terminal, whose keys are pressed when it shows a text."""

import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_MARK = "OMNI_BATCH_TEST_TERMINAL"
# The terminal belongs to who is in front of it, and its keys are signals for that one's group.
_IN_FRONT = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
CTRL_C = b"\x03"


class Terminal:
    """Use it as a context manager; what still runs of the command at its end is killed.

    Args:
        command: what is run; a process that it starts is in its group, unless it leaves it.
        cwd: where.
        environment: variables beside our own.
    """

    def __init__(self, *command: str, cwd: Path, **environment: str) -> None:
        self._mark = f"{_MARK}={secrets.token_hex(8)}"
        self._shown = ""
        self._more = threading.Condition()
        self._end, its_end = os.openpty()
        wide = {"COLUMNS": "300", "LINES": "40", "TERM": "xterm-256color"}
        mark = dict([self._mark.split("=")])
        self.process = subprocess.Popen(
            [sys.executable, "-c", _IN_FRONT, *command],
            cwd=cwd,
            env={**os.environ, **wide, **mark, **environment},
            stdin=its_end,
            stdout=its_end,
            stderr=its_end,
            start_new_session=True,
        )
        os.close(its_end)
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: object, trace: TracebackType | None
    ) -> None:
        for process in self.left():
            os.kill(process, signal.SIGKILL)
        self.process.wait()
        self._reading.join()
        os.close(self._end)

    @property
    def shown(self) -> str:
        """All that the terminal has got so far, without its colours and movements."""
        return _CONTROLS.sub("", self._shown)

    def until(self, pattern: str, timeout_s: float = 120) -> None:
        """Wait until the command has shown a text that a pattern matches."""
        with self._more:
            self._more.wait_for(
                lambda: re.search(pattern, self.shown) or self.process.poll() is not None, timeout_s
            )
        assert re.search(pattern, self.shown), f"no {pattern!r} in …{self.shown[-2000:]}"

    def press(self, key: bytes) -> None:
        """Press a key."""
        os.write(self._end, key)

    def ended_within(self, timeout_s: float) -> int:
        """The exit code; what was shown is complete then."""
        code = self.process.wait(timeout_s)
        self._reading.join(1)
        return code

    def left(self) -> list[int]:
        """Processes of the command that are still there, also those that left its group."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (place / "environ").read_bytes().split(b"\0"):
                    found.append(int(place.name))
            except OSError:
                continue
        return found

    def all_ended_within(self, timeout_s: float) -> bool:
        """Whether no process of the command is left, at the latest after so many seconds."""
        end = time.monotonic() + timeout_s
        while self.left():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def _read(self) -> None:
        try:
            while data := os.read(self._end, 2**16):
                with self._more:
                    self._shown += data.decode(errors="replace")
                    self._more.notify_all()
        except OSError:  # as Linux says that nobody is at the other end
            pass
        with self._more:
            self._more.notify_all()
