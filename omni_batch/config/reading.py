"""A YAML file or a tree of plain values becomes a `Config`."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from omni_batch.config.messages import problems
from omni_batch.config.plain import shortened
from omni_batch.config.request import RequestConfig
from omni_batch.config.run import Config, NotifyConfig
from omni_batch.config.yaml_values import file_tree, value_of
from omni_batch.errors import ConfigError


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a YAML file; `overrides` are `a.b=value` pairs, values in YAML.

    Raises:
        ConfigError: the file can't be read, or a key or value is wrong.
    """
    return parse_config(override_tree(file_tree(Path(path)), overrides), str(path))


def notify_of(path: str | Path, overrides: Iterable[str] = ()) -> NotifyConfig | None:
    """Who is told of nights, also where the rest of a config is wrong; None where nobody is."""
    try:
        who = override_tree(file_tree(Path(path)), overrides).get("notify")
        return None if who is None else NotifyConfig.model_validate(who)
    except (ConfigError, ValidationError):
        return None


def parse_config(tree: Mapping[str, Any], origin: str = "config") -> Config:
    """Check a tree of plain values.

    Raises:
        ConfigError: names every wrong key with the nearest known one.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as exc:
        raise ConfigError(f"{origin}: {problems(exc, Config)}") from None


def check_request(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by the names and ranges of `request`; values as a config would hold them.

    Raises:
        ConfigError: names each that is wrong.
    """
    try:
        checked = RequestConfig.model_validate(options)
    except ValidationError as exc:
        raise ConfigError(problems(exc, RequestConfig)) from None
    return {name: getattr(checked, name) for name in options}


def override_tree(tree: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of a tree of plain values with `a.b=value` pairs put in.

    Raises:
        ConfigError: a pair is malformed, or a group of keys is a value.
    """
    changed = deepcopy(dict(tree))
    for override in overrides:
        _override(changed, override)
    return changed


def _override(tree: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    shown = shortened(override)
    *parents, leaf = key.strip().split(".")
    if not separator or not leaf:
        raise ConfigError(f"--set {shown}: write it as a.b=value")
    for parent in parents:
        branch = tree.setdefault(parent, {})
        if not isinstance(branch, dict):
            raise ConfigError(f"--set {shown}: {parent} is a value, not a group of keys")
        tree = branch
    tree[leaf] = value_of(key, text)
