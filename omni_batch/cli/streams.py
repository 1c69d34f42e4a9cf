"""The standard streams: some are closed, full, lack characters, or lose their reader.

And the names of files, whose characters the locale may lack as well.
"""

import errno
import io
import locale
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

_STDOUT, _STDERR = 1, 2


def name_files_in_utf8() -> None:
    """Begin again where the locale can't name files as manifests do, in UTF-8.

    Python itself does so for the locales C and POSIX, unless `PYTHONUTF8=0` forbids it. What is
    printed stays in the locale's encoding.
    """
    if sys.getfilesystemencoding() == "utf-8" or sys.flags.utf8_mode or not sys.executable:
        return
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", f"{locale.getpreferredencoding(False)}:replace")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


class StandardStreams:
    """What this process reads and writes; made before anything is written, asked at its end."""

    def __init__(self) -> None:
        _open_what_is_closed()
        self._stdout = _watch_what_is_written()
        _replace_what_cannot_be_encoded()

    @property
    def failed(self) -> bool:
        """Whether something could not be written to stdout."""
        return self._stdout is not None and self._stdout.failed is not None

    def lost(self) -> str | None:
        """Why what was printed is lost; None once all of it is out, or nobody reads it."""
        with suppress(OSError):
            sys.stdout.flush()
        if self._stdout is None or (failed := self._stdout.failed) is None:
            return None
        to_nowhere(sys.stdout)
        if isinstance(failed, BrokenPipeError):  # `| head` has seen enough
            return None
        return os.strerror(failed.errno or 0).lower()


def to_nowhere(stream: TextIO) -> None:
    """From now on, what is written there is lost."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Whoever reads stdout may have seen enough (`| head`); the command goes on to its end."""
    try:
        yield
    except BrokenPipeError:
        to_nowhere(sys.stdout)


def _open_what_is_closed() -> None:
    """Standard streams that were closed lead nowhere: else a file of the run gets their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: theirs
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


class _Stderr(io.FileIO):
    """What can't be shown costs nobody anything."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:  # a full disk, a terminal or a reader that is gone
            return len(data)


class _Stdout(io.FileIO):
    """Keeps in mind why something could not be written."""

    failed: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as exc:
            if exc.errno == errno.EIO:  # its terminal is gone, and with it whoever would read
                return len(data)
            self.failed = exc
            raise


def _watch_what_is_written() -> _Stdout | None:
    """Put files of ours behind the standard streams, unless a program of another has its own."""
    stdout = None
    if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr.fileno() == _STDERR:
        sys.stderr = _text(_Stderr(_STDERR, "wb", closefd=False), sys.stderr)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.fileno() == _STDOUT:
        sys.stdout.flush()
        stdout = _Stdout(_STDOUT, "wb", closefd=False)
        sys.stdout = _text(stdout, sys.stdout)
    return stdout


def _text(raw: io.FileIO, like: io.TextIOWrapper) -> io.TextIOWrapper:
    how = like.encoding, like.errors
    return io.TextIOWrapper(io.BufferedWriter(raw), *how, line_buffering=like.line_buffering)


def _replace_what_cannot_be_encoded() -> None:
    """From now on, a character that the output's encoding lacks becomes `?` and no error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(errors="replace")
