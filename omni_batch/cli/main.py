"""The entry point: which commands there are, and what becomes of their errors."""

import io
import os
import sys
from contextlib import suppress
from typing import Annotated, Any

import typer

from omni_batch import interrupts
from omni_batch._version import __version__

from omni_batch.cli import start, runs, tables, service  # isort: skip
from omni_batch.cli.options import app, at_once, debugging, to_nowhere
from omni_batch.errors import OmniBatchError, out_of_memory
from omni_batch.text import redacted, visible

__all__ = ["COMMANDS", "app", "main"]
COMMANDS = (start, runs, tables, service)
"""Modules of the commands; importing one adds its commands to `app`, in the order of the help."""
_USAGE = 2
_STOPPED = 3
_STDOUT, _STDERR = 1, 2


def main() -> None:
    """Run the command line: an error becomes one line on stderr and an exit code."""
    interrupts.unwind()
    _open_what_is_closed()
    stdout = _watch_what_is_written()
    _replace_what_cannot_be_encoded()
    # --debug belongs to no single command, and is accepted before and after each.
    arguments = [text for text in sys.argv[1:] if text != "--debug"]
    try:
        code = app(arguments, standalone_mode=False) or 0
    except KeyboardInterrupt:
        code = interrupts.INTERRUPTED
    except Exception as exc:
        code = _STOPPED if stdout and stdout.failed and isinstance(exc, OSError) else _explain(exc)
    code = _flushed(stdout, code)
    interrupts.end_at_once(code)
    if at_once() or code == interrupts.INTERRUPTED:  # threads may wait for what does not come
        sys.stderr.flush()
        interrupts.leave(code)
    sys.exit(code)


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


def _flushed(stdout: _Stdout | None, code: int) -> int:
    """The exit code, once all that was printed is out, or is known to be lost."""
    with suppress(OSError):
        sys.stdout.flush()
    if stdout is None or stdout.failed is None:
        return code
    to_nowhere(sys.stdout)
    if isinstance(stdout.failed, BrokenPipeError):  # `| head` has seen enough
        return code
    _print_error(f"stdout: {os.strerror(stdout.failed.errno or 0).lower()}")
    return _STOPPED


def _replace_what_cannot_be_encoded() -> None:
    """From now on, a character that the output's encoding lacks becomes `?` and no error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(errors="replace")


def _explain(exc: Exception) -> int:
    if hasattr(exc, "format_message"):  # the line itself is wrong: Typer's own error
        if text := exc.format_message().rstrip("."):  # none where the help has been printed
            _print_error(f"{text} (see --help)")
        return _USAGE
    exc = out_of_memory(exc) or exc
    if debugging():
        from omni_batch.cli.render import err

        err.print_exception()
    elif isinstance(exc, OmniBatchError):
        _print_error(str(exc))
    else:
        _print_error(
            f"Unexpected error: {type(exc).__name__}: {exc}. Rerun with `omni-batch --debug …` for "
            "the traceback and report it."
        )
    return 2 if isinstance(exc, OmniBatchError) and not exc.stops_run else 3


def _print_error(message: str) -> None:
    head = typer.style("Error:", fg="red", bold=True)
    typer.echo(f"{head} {visible(redacted(message))}", err=True)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks; log attempts.")] = False,
) -> None:
    if version:
        print(f"omni-batch {__version__}")
        raise typer.Exit
    from omni_batch.quota.room import spare_memory

    spare_memory()


if __name__ == "__main__":
    main()
