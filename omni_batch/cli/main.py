"""The entry point: which commands there are, and what becomes of their errors."""

import io
import sys
from contextlib import suppress
from typing import Annotated

import typer

from omni_batch import interrupts
from omni_batch._version import __version__

from omni_batch.cli import start, runs, tables, service  # isort: skip
from omni_batch.cli.options import app, at_once, debugging
from omni_batch.errors import OmniBatchError, out_of_memory
from omni_batch.text import one_line

__all__ = ["COMMANDS", "app", "main"]
COMMANDS = (start, runs, tables, service)
"""Modules of the commands; importing one adds its commands to `app`, in the order of the help."""
_USAGE = 2


def main() -> None:
    """Run the command line: an error becomes one line on stderr and an exit code."""
    interrupts.unwind()
    _replace_what_cannot_be_encoded()
    # --debug belongs to no single command, and is accepted before and after each.
    arguments = [text for text in sys.argv[1:] if text != "--debug"]
    try:
        code = app(arguments, standalone_mode=False) or 0
    except KeyboardInterrupt:
        code = interrupts.INTERRUPTED
    except Exception as exc:
        code = _explain(exc)
    interrupts.end_at_once(code)
    if at_once() or code == interrupts.INTERRUPTED:  # threads may wait for what does not come
        with suppress(OSError):  # its terminal may be gone
            sys.stdout.flush()
        interrupts.leave(code)
    sys.exit(code)


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
    lines = "\n".join(map(one_line, message.splitlines()))  # several only from SQL's parser
    typer.echo(f"{head} {lines}", err=True)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks; log attempts.")] = False,
) -> None:
    if version:
        print(f"omni-batch {__version__}")
        raise typer.Exit


if __name__ == "__main__":
    main()
