"""What the shell offers on Tab. Each function returns all names; Typer keeps those that fit."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

RUNS = "data/runs"
"""Where `output` puts runs unless it is set."""


def run_folders(incomplete: str) -> list[str]:
    """Runs in the folder that is being typed, else in the default one; folders on the way."""
    folder = incomplete.rpartition("/")[0] + "/" if "/" in incomplete else ""
    runs = [str(path.parent) for path in Path(RUNS).glob("[!.]*/run.json")]
    below = [path for path in Path(folder or ".").glob("[!.]*/") if path.is_dir()]
    return sorted({*runs, *(folder + path.name for path in below)})


def error_kinds() -> list[str]:
    """Values of `error_kind`."""
    from omni_batch.errors import item_kinds

    return sorted(item_kinds())


def models() -> list[str]:
    """Names of the catalogue."""
    from omni_batch.catalogue import catalogue

    return sorted(catalogue().names())


def settings(incomplete: str) -> list[str]:
    """Keys of a config; models and endpoints once their key is there (not in bash, which cuts a
    word at `=`).
    """
    key, separator, _ = incomplete.partition("=")
    if not separator:
        from omni_batch.config import parse_config

        default = parse_config({"manifest": {"path": "rows.csv"}})
        return [f"{name}=" for name in _keys(default.model_dump())]
    return [f"{key}={name}" for name in _values(key)]


def _values(key: str) -> list[str]:
    if key == "model":
        return models()
    if key == "endpoint.name":
        from omni_batch.providers.profiles import PROFILES

        return sorted(PROFILES)
    return []


def _keys(tree: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _keys(value, f"{above}{name}.")
        else:
            yield above + name
