"""Rows of media in; text, speech and token counts out: batches over the Qwen-Omni chat API."""

from typing import TYPE_CHECKING, Any

from omni_batch._version import __version__

if TYPE_CHECKING:
    from omni_batch.analytics.results import read_results
    from omni_batch.config import Config, load_config
    from omni_batch.engine.pipeline import run_batch

__all__ = ["Config", "__version__", "load_config", "read_results", "run_batch"]
_HOMES = {
    "Config": "config",
    "load_config": "config",
    "read_results": "analytics.results",
    "run_batch": "engine.pipeline",
}


def __getattr__(name: str) -> Any:
    """Import on first use: a command that only prints help pays for nothing else."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
