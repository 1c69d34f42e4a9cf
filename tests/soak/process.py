"""A command of omni-batch as a process, under a terminal or not, and what it leaves behind."""

import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path
from select import select

MARK = "OMNI_BATCH_SOAK"
"""An environment variable by which all processes of a round are known, theirs included."""
_WINDOW = struct.pack("HHHH", 40, 120, 0, 0)


class Life:
    """One process from its start to its end; what it shows is kept in a file.

    Args:
        screen: that file.
        prefix: what the command is started by, such as prlimit.
        terminal: it is in the foreground of a terminal of its own.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        screen: Path,
        environment: Mapping[str, str],
        prefix: Sequence[str] = (),
        terminal: bool = False,
    ) -> None:
        self.screen = screen
        self._terminal: int | None = None
        self._reader: threading.Thread | None = None
        self._is_closing = threading.Event()
        command = [*prefix, sys.executable, "-m", "omni_batch", *arguments]
        with screen.open("wb") as file:
            file.write(f"$ {' '.join([*prefix, 'omni-batch', *arguments])}\n".encode())
            file.flush()
            start = self._start_in_terminal if terminal else self._start
            self._process = start(command, file.fileno(), cwd, {**os.environ, **environment})
        self.started_s = time.monotonic()

    @property
    def pid(self) -> int:
        """Of the command itself."""
        return self._process.pid

    @property
    def has_terminal(self) -> bool:
        """Whether keys can be pressed."""
        return self._terminal is not None

    def _start(
        self, command: list[str], screen: int, cwd: Path, environment: dict[str, str]
    ) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=screen,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _start_in_terminal(
        self, command: list[str], screen: int, cwd: Path, environment: dict[str, str]
    ) -> "subprocess.Popen[bytes]":
        ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, _WINDOW)
        in_front = ["setsid", "--ctty", *command]
        environment = {**environment, "TERM": "xterm-256color"}
        process = subprocess.Popen(
            in_front, cwd=cwd, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self._terminal = ours
        self._reader = threading.Thread(target=self._copy, args=(ours, os.dup(screen)), daemon=True)
        self._reader.start()
        return process

    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait(self, seconds: float) -> int | None:
        """Its exit code; None if it is still there after so long."""
        try:
            code = self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return None
        if self._reader:
            self._reader.join(1)
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self.is_alive():
            self._process.send_signal(number)

    def press(self, key: bytes) -> None:
        """Press a key in its terminal."""
        if self._terminal is not None:
            with suppress(OSError):
                os.write(self._terminal, key)

    def close_window(self) -> None:
        """The terminal goes, as when its window is closed."""
        if self._reader is not None:
            self._is_closing.set()
            self._reader.join()

    def shown(self) -> str:
        """All that was on its screen."""
        return self.screen.read_bytes().decode(errors="replace")

    def _copy(self, terminal: int, screen: int) -> None:
        with os.fdopen(screen, "wb", buffering=0) as file, suppress(OSError):
            while not self._is_closing.is_set():
                if select([terminal], [], [], 0.1)[0]:
                    file.write(os.read(terminal, 65536))
        self._terminal = None
        os.close(terminal)


def left_behind(mark: str) -> dict[int, str]:
    """Processes whose mark begins so: command lines by id."""
    wanted, found = f"\0{MARK}={mark}".encode(), {}
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in b"\0" + (place / "environ").read_bytes():
                line = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(place.name)] = line
    return found


def none_left(mark: str, within_s: float) -> list[str]:
    """Command lines of those that are still there after so long, which ends them."""
    until_s = time.monotonic() + within_s
    while (found := left_behind(mark)) and time.monotonic() < until_s:
        time.sleep(0.1)
    end_all(mark)
    return list(found.values())


def end_all(mark: str) -> None:
    """At once."""
    for pid in left_behind(mark):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
