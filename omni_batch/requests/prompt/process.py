"""A process of its own for a template that may take any time and memory, within limits of both.

Nothing inside an interpreter stops one operation of its own (`'x' * 10 ** 10`), and nothing counts
the memory of a part of it. The operating system does both, for processes.
"""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from typing import IO, Any, cast

from omni_batch.errors import ConfigError, ManifestError
from omni_batch.requests.prompt.child import (
    DONE,
    FAILED,
    MOST_CPU_S,
    MOST_MEMORY_BYTES,
    NO_MEMORY,
    receive,
    send,
)

_CODE = "import sys; sys.path[:] = {!r}; from omni_batch.requests.prompt import child; child.main()"
_KEPT = ("PATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
"""Of the environment, which holds keys: what an interpreter needs to start."""
_MEMORY = f"takes more than {MOST_MEMORY_BYTES // 2**20} MiB of memory; simplify it"
_TIME = f"takes more than {MOST_CPU_S} s of processor time; simplify it"
_ENDED_FOR_TIME = 1 if sys.platform == "win32" else -signal.SIGXCPU


class TemplateProcess:
    """Fills in one template, one row after the other; ends with this object or our process.

    Raises:
        ConfigError: the template can't be read, or not within the limits.
    """

    def __init__(self, text: str) -> None:
        self._one_at_a_time = threading.Lock()
        self._process = _started()
        self._end = weakref.finalize(self, _ended, self._process)
        self._limit = _how(None)
        kind, answer = self._ask(text)
        if kind != DONE:
            self._end()
            raise ConfigError(f"request.prompt{answer if kind == FAILED else f' {answer}'}")
        self.variables: frozenset[str] = frozenset(json.loads(answer))
        """Names that it takes from a row."""

    def render(self, row: Mapping[str, Any]) -> str:
        """The prompt of a row. Once a limit has been met, no other row is tried.

        Raises:
            ManifestError: the template fails on this row, or not within the limits.
        """
        kind, answer = self._ask(dict(row))
        if kind != DONE:
            reason = answer if kind == FAILED else f"it {answer}"
            raise ManifestError(f"request.prompt can't be filled in: {reason}")
        return answer

    def _ask(self, question: object) -> tuple[bytes, str]:
        """An answer and its kind, which is `DONE`, `FAILED` or else a limit that was met."""
        with self._one_at_a_time:
            if self._end.alive:
                kind, answer = self._exchange(pickle.dumps(question))
                if kind in (DONE, FAILED):
                    return kind, answer
                self._end()
                self._limit = _MEMORY if kind == NO_MEMORY else _how(self._process.returncode)
            return b"", self._limit

    def _exchange(self, question: bytes) -> tuple[bytes, str]:
        pipes = cast("tuple[IO[bytes], IO[bytes]]", (self._process.stdin, self._process.stdout))
        try:
            send(pipes[0], b"", question)
            kind, answer = receive(pipes[1])
        except (OSError, EOFError):
            return b"", ""
        except BaseException:  # half an answer may be under way
            self._end()
            raise
        return kind, answer.decode("utf-8", "surrogatepass")


def _started() -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            [sys.executable, "-c", _CODE.format(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
            start_new_session=True,  # Ctrl-C and signals to our group are not meant for it
        )
    except OSError as exc:
        raise ConfigError(
            f"request.prompt needs a process of its own, which can't be started: {exc.strerror}"
        ) from exc


def _ended(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    with process:  # closes its pipes and waits
        pass


def _how(exit_code: int | None) -> str:
    """Why there is no answer."""
    if exit_code == _ENDED_FOR_TIME:
        return _TIME
    return f"needs a process of its own, which has ended ({exit_code}): begin again"
