"""Rows of media in; text, speech and token counts out: batches over the Qwen-Omni chat API."""

from typing import TYPE_CHECKING, Any

from omni_batch._version import __version__

if TYPE_CHECKING:
    from omni_batch.analytics.results import read_results
    from omni_batch.api import RunHandle, check, list_runs, read_run, run, run_batch
    from omni_batch.config import Config, load_config

__all__ = [
    "Config",
    "RunHandle",
    "__version__",
    "check",
    "list_runs",
    "load_config",
    "read_results",
    "read_run",
    "run",
    "run_batch",
]
_HOMES = {
    "Config": "config",
    "RunHandle": "api",
    "check": "api",
    "list_runs": "api",
    "load_config": "config",
    "read_results": "analytics.results",
    "read_run": "api",
    "run": "api",
    "run_batch": "api",
}


def __getattr__(name: str) -> Any:
    """Import on first use: a command that only prints help pays for nothing else."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
