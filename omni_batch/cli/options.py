"""The application, and what its commands share: their options and their JSON."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from omni_batch.cli import complete
from omni_batch.cli.streams import reader_may_leave
from omni_batch.errors import UntrustedRun
from omni_batch.package_files import package_file
from omni_batch.text import visible

app = typer.Typer(
    name="omni-batch",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Rows of media in; text, speech and token counts out, over the Qwen-Omni chat API.",
)


T = TypeVar("T")
_REFUSED = 2
_LEAVING: list[bool] = []


def debugging() -> bool:
    """Whether tracebacks and single attempts are of interest: `--debug`, anywhere in the line."""
    return "--debug" in sys.argv


def leave_at_once() -> None:
    """The process ends without its other threads, which wait for what does not come."""
    _LEAVING.append(True)


def at_once() -> bool:
    """Whether `leave_at_once` was called."""
    return bool(_LEAVING)


def example(text: str, *, all_keys: bool = False) -> str:
    """The last lines of a command's help: an example, and where every key of a config is listed."""
    keys = f"\n\nAll keys of a config: {package_file('configs/reference.yaml')}" if all_keys else ""
    return f"Example: omni-batch {text}{keys}"


def print_path(path: Path | str) -> None:
    """A path for scripts, to the letter; on a terminal with escapes."""
    text = str(path)
    with reader_may_leave():
        print(visible(text) if sys.stdout.isatty() else text, flush=True)


def print_json(value: Any) -> None:
    """An indented JSON document on stdout."""
    import msgspec

    document = msgspec.json.format(msgspec.json.encode(value), indent=2)
    with reader_may_leave():
        sys.stdout.flush()
        sys.stdout.buffer.write(document + b"\n")  # JSON is UTF-8, whatever the terminal is
        sys.stdout.buffer.flush()


def with_consent(work: Callable[[bool], T], trust: bool) -> T:
    """Do something with a run; where it is not the user's own, ask on a terminal.

    Args:
        work: told whether there is consent; without it, raises UntrustedRun before all else.

    Raises:
        UntrustedRun: there is no consent, and nobody to ask.
    """
    try:
        return work(trust)
    except UntrustedRun as exc:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        typer.echo(visible(str(exc)), err=True)
        if not typer.confirm("Trust it?", default=False, err=True):
            raise typer.Exit(_REFUSED) from None
    return work(True)


def _open_log(context: typer.Context, path: Path | None) -> Path | None:
    if path is not None:
        from omni_batch.progress.log_files import logging_to

        context.with_resource(logging_to(path, debug=debugging()))
    return path


def run_argument(metavar: str, text: str) -> Any:
    """An argument that names a run; the shell completes it."""
    return typer.Argument(metavar=metavar, help=text, autocompletion=complete.run_folders)


ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file.")]
RunPath = Annotated[str, run_argument("RUN_DIR", "Directory of a run, or its address at a store.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="a.b=c",
        help="Override a key of the config.",
        autocompletion=complete.settings,
    ),
]
ManifestPath = Annotated[
    str | None, typer.Option("--manifest", metavar="FILE", help="Replaces manifest.path.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first rows.")]
Prefect = Annotated[
    bool, typer.Option("--prefect/--no-prefect", help="Run through Prefect (default) or directly.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Share it among N workers of a work pool."),
]
WorkPool = Annotated[
    str | None, typer.Option(metavar="NAME", help="Prefect's work pool, with --workers.")
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Go on with a run that you did not prepare, and what it asks."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Log = Annotated[
    Path | None,
    typer.Option("--log", metavar="FILE", callback=_open_log, help="Append JSON lines to it."),
]
