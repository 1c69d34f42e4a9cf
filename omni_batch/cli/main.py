"""The entry point: which commands there are, and what becomes of their errors."""

import sys
from typing import Annotated

import typer

from omni_batch import interrupts
from omni_batch._version import __version__

from omni_batch.cli import start, runs, nightly, schedule, tables, compare, service  # isort: skip
from omni_batch.cli.options import app, at_once, debugging
from omni_batch.cli.streams import StandardStreams, name_files_in_utf8
from omni_batch.errors import OmniBatchError, out_of_memory
from omni_batch.text import redacted, visible

__all__ = ["COMMANDS", "app", "main"]
COMMANDS = (start, runs, nightly, schedule, tables, compare, service)
"""Modules of the commands; importing one adds its commands to `app`, in the order of the help."""
_USAGE = 2
_STOPPED = 3


def main() -> None:
    """Run the command line: an error becomes one line on stderr and an exit code."""
    name_files_in_utf8()
    interrupts.unwind()
    streams = StandardStreams()
    # --debug belongs to no single command, and is accepted before and after each.
    arguments = [text for text in sys.argv[1:] if text != "--debug"]
    try:
        code = app(arguments, standalone_mode=False) or 0
    except KeyboardInterrupt:
        code = interrupts.INTERRUPTED
    except SystemExit:
        if not streams.failed:
            raise
        code = 0  # Rich's own console, which prints the help, at a reader that has seen enough
    except Exception as exc:
        code = _STOPPED if streams.failed and isinstance(exc, OSError) else _explain(exc)
    if reason := streams.lost():
        _print_error(f"stdout: {reason}")
        code = _STOPPED
    interrupts.end_at_once(code)
    if at_once() or code == interrupts.INTERRUPTED:  # threads may wait for what does not come
        sys.stderr.flush()
        interrupts.leave(code)
    sys.exit(code)


def _explain(exc: Exception) -> int:
    if hasattr(exc, "format_message"):  # the line itself is wrong: Typer's own error
        if text := exc.format_message().rstrip("."):  # none where the help has been printed
            _print_error(f"{text} (see --help)")
        return _USAGE
    exc = out_of_memory(exc) or exc
    if debugging():
        from omni_batch.cli.render.console import err

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
