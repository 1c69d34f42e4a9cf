"""YAML of files and of `--set` becomes plain values, in bounded time. Nothing else knows YAML.

PyYAML parses; what its scalars mean is said here. Where YAML 1.1 and 1.2 differ, a scalar stays the
text that was written (a date, `0777`, `16:9`), which a key of another type then reads or refuses.
"""

import re
import stat
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from omni_batch.config.plain import MOST_LEVELS, Switch, shortened
from omni_batch.errors import ConfigError

_MOST_CHARS = 2**20
_MOST_VALUES = 100_000
_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C, where PyYAML brings it along: twenty times as fast."""
_TAG = "tag:yaml.org,2002:"
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)|[-+]?0x[0-9a-fA-F]+|[-+]?0b[01]+")
_DECIMAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"([-+]?)\.(inf|nan)", re.IGNORECASE)
_MOST_DIGITS = 100


def file_tree(path: Path) -> dict[str, Any]:
    """The keys and values of a file.

    Raises:
        ConfigError: it can't be read, or contains something else.
    """
    try:
        tree = _read(_text(path))
    except FileNotFoundError:
        raise ConfigError(f"config {path} does not exist; give the path of a YAML file") from None
    except OSError as exc:
        raise ConfigError(f"config {path} can't be read: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"config {path} can't be read: it is not UTF-8; convert it") from None
    except ValueError as exc:
        raise ConfigError(f"config {path} can't be read as YAML: {exc}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"config {path} contains {type(tree).__name__}; expected keys: values")
    return tree


def _text(path: Path) -> str:
    if stat.S_ISFIFO(path.stat().st_mode) and path.parent.name != "fd":  # as of <(command)
        raise ConfigError(f"config {path} is a pipe; write it to a file first")
    with path.open(encoding="utf-8") as file:
        return file.read(_MOST_CHARS + 1)


def value_of(key: str, text: str) -> Any:
    """The value of `--set key=text`.

    Raises:
        ConfigError: it is not YAML.
    """
    try:
        return _read(text)
    except ValueError as exc:
        quoted = f"; put it in quotes: {key}='…'" if "{{" in text else ""
        raise ConfigError(
            f"--set {shortened(f'{key}={text}')}: the value is not YAML: {exc}{quoted}"
        ) from None


def _read(text: str) -> Any:
    """The value of a document.

    Raises:
        ValueError: it is not YAML, means two things, or is too large.
    """
    if len(text) > _MOST_CHARS:
        raise ValueError(f"it has more than {_MOST_CHARS:,} characters; shorten it")
    try:
        node = yaml.compose(text, _PARSER)
        return None if node is None else _Values().value(node)
    except RecursionError:
        raise _too_deep() from None
    except yaml.reader.ReaderError as exc:
        raise ValueError(f"it contains the control character {chr(exc.character)!r}") from None
    except yaml.MarkedYAMLError as exc:
        line = f"line {exc.problem_mark.line + 1}: " if exc.problem_mark else ""
        problem = exc.problem or "it breaks off"
        raise (_too_deep() if "nesting" in problem else ValueError(f"{line}{problem}")) from None


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MOST_LEVELS} levels deep; make it flatter")


class _Values:
    """Makes values of nodes. What aliases stand for counts each time."""

    def __init__(self) -> None:
        self._count = 0

    def value(self, node: yaml.Node, level: int = 0) -> Any:
        """The value of a node and of all below it."""
        self._count += 1
        if self._count > _MOST_VALUES:
            raise ValueError(
                f"it has more than {_MOST_VALUES:,} values, where an alias (*name) counts as all "
                "that it stands for; shorten it"
            )
        if level > MOST_LEVELS:
            raise _too_deep()
        match node:
            case yaml.MappingNode(tag=tag) if tag == f"{_TAG}map":
                return self._mapping(node, level)
            case yaml.SequenceNode(tag=tag) if tag == f"{_TAG}seq":
                return [self.value(entry, level + 1) for entry in node.value]
            case yaml.ScalarNode():
                return _scalar(node)
        raise _unknown_tag(node)

    def _mapping(self, node: yaml.MappingNode, level: int) -> dict[Any, Any]:
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        seen: set[str] = set()
        for key_node, value_node in node.value:
            is_merge = key_node.tag == f"{_TAG}merge"
            key = "<<" if is_merge else self._key(key_node, level)
            if str(key) in seen:  # 1 and "1" are one key of JSON
                raise ValueError(f"{_line(key_node)}: duplicate key {key}; keep one")
            seen.add(str(key))
            value = self.value(value_node, level + 1)
            if is_merge:
                merged = _merged(value, value_node)
            else:
                own[key] = value
        return merged | own

    def _key(self, node: yaml.Node, level: int) -> Hashable:
        key = self.value(node, level + 1)
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise ValueError(f"{_line(node)}: a key is {key!r:.60}; expected a text")
        return key


def _merged(value: Any, node: yaml.Node) -> dict[Any, Any]:
    """What `<<` takes over; of several the first wins."""
    groups = value if isinstance(value, list) else [value]
    if not all(isinstance(group, dict) for group in groups):
        raise ValueError(f"{_line(node)}: << takes over {value!r:.60}; expected keys: values")
    return {key: member for group in reversed(groups) for key, member in group.items()}


def _scalar(node: yaml.ScalarNode) -> Any:
    text = str(node.value)
    match node.tag.removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return text.lower() == "true" if text.lower() in ("true", "false") else Switch(text)
        case "int" | "float":
            return _number(text, node)
        case "str" if not node.style and _DECIMAL.fullmatch(text):  # 1e3
            return _number(text, node)
        case "str" | "timestamp" | "value" | "merge":
            return text
    raise _unknown_tag(node)


def _number(text: str, node: yaml.ScalarNode) -> int | float | str:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"{_line(node)}: a number of {len(text):,} digits; put it in quotes")
    if _WHOLE.fullmatch(text):
        return int(text.replace("_", ""), 0)
    if _DECIMAL.fullmatch(text) and not re.match(r"[-+]?0[0-9]+$", text):
        return float(text)
    if found := _NO_NUMBER.fullmatch(text):
        return float(found[1] + found[2])
    return text


def _unknown_tag(node: yaml.Node) -> ValueError:
    tag = node.tag.replace(_TAG, "!!")
    return ValueError(f"{_line(node)}: the tag {tag} is not understood; leave it out")


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"
