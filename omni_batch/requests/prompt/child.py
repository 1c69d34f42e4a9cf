"""The process of a template: it reads the template, then rows, and answers each.

It trusts what it reads, which is ours; what it writes is text only, never objects.
"""

import contextlib
import faulthandler
import json
import pickle
import struct
import sys
import time
from collections.abc import Iterator
from typing import IO, Any

from omni_batch.requests.prompt.language import TemplateError, compiled, filled_in

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MOST_CPU_S = 1
"""For one row. Where the system counts no processor time of processes, it is time on the clock."""
MOST_MEMORY_BYTES = 512 * 2**20
"""All that the process may use, where the system keeps to it: Linux does, macOS and Windows don't.
A prompt of the longest kind takes a quarter."""
DONE, FAILED, NO_MEMORY = b"d", b"f", b"m"
_HEAD = struct.Struct(">1sQ")


def send(pipe: IO[bytes], kind: bytes, content: bytes) -> None:
    """Write one message."""
    pipe.write(_HEAD.pack(kind, len(content)))
    pipe.write(content)
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[bytes, bytes]:
    """Read one message.

    Raises:
        EOFError: the other side has ended.
    """
    head = pipe.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise EOFError
    kind, size_bytes = _HEAD.unpack(head)
    content = pipe.read(size_bytes)
    if len(content) < size_bytes:
        raise EOFError
    return kind, content


def main() -> None:
    """Answer until the other side closes."""
    _limit_memory()
    answer = _Answer()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            _, question = receive(sys.stdin.buffer)
            kind, text = answer(question)
            send(sys.stdout.buffer, kind, text.encode("utf-8", "surrogatepass"))


class _Answer:
    """Reads the template at first, then fills it in."""

    def __init__(self) -> None:
        self._template: Any = None

    def __call__(self, question: bytes) -> tuple[bytes, str]:
        try:
            with _limited_time():
                return DONE, self._answer(pickle.loads(question))
        except (TemplateError, ValueError) as exc:
            return FAILED, str(exc)
        except MemoryError:
            return NO_MEMORY, ""

    def _answer(self, question: Any) -> str:
        if self._template is not None:
            return filled_in(self._template, question)
        self._template, variables = compiled(question)
        return json.dumps(sorted(variables))


def _limit_memory() -> None:
    if resource is None:
        return
    with contextlib.suppress(OSError, ValueError):  # macOS knows the limit and refuses it
        _lower(resource.RLIMIT_AS, MOST_MEMORY_BYTES)
    _lower(resource.RLIMIT_CORE, 0)  # what ends for its time leaves no image of itself


@contextlib.contextmanager
def _limited_time() -> Iterator[None]:
    if resource is not None:  # the system kills; it counts in whole seconds
        _lower(resource.RLIMIT_CPU, int(time.process_time()) + 1 + MOST_CPU_S)
        yield
        return
    faulthandler.dump_traceback_later(MOST_CPU_S, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _lower(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
