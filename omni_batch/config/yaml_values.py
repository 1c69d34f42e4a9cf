"""YAML of files and of `--set` becomes plain values. The only module that knows YAML."""

from pathlib import Path
from typing import Any

import yaml

from omni_batch.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Refuses a duplicate key, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                line = key.start_mark.line + 1
                raise ValueError(f"line {line}: duplicate key {key.value}; keep one")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def file_tree(path: Path) -> dict[str, Any]:
    """The keys and values of a file.

    Raises:
        ConfigError: it can't be read, or contains something else.
    """
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise ConfigError(f"config {path} does not exist; give the path of a YAML file") from None
    except (OSError, ValueError, yaml.YAMLError) as exc:  # YAML's dates raise plain ValueError
        raise ConfigError(f"config {path} can't be read as YAML: {_where(exc)}") from None
    except RecursionError:
        raise ConfigError(f"config {path} is nested too deeply; make it flatter") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"config {path} contains {type(tree).__name__}; expected keys: values")
    return tree


def value_of(key: str, text: str) -> Any:
    """The value of `--set key=text`.

    Raises:
        ConfigError: it is not YAML.
    """
    try:
        return yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as exc:
        quoted = f"; put it in quotes: {key}='…'" if "{{" in text else ""
        raise ConfigError(
            f"--set {key}={text}: the value is not YAML: {_where(exc)}{quoted}"
        ) from None


def _where(exc: Exception) -> str:
    """What YAML does not understand, in one line."""
    if isinstance(exc, yaml.MarkedYAMLError) and exc.problem and exc.problem_mark:
        return f"line {exc.problem_mark.line + 1}: {exc.problem}"
    return str(exc)
