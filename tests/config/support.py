"""Trees of configurations, and what a refused one says."""

from typing import Any

import pytest

from omni_batch.config import parse_config
from omni_batch.errors import ConfigError

MINIMAL = {"manifest": {"path": "rows.csv"}}


def refusal(tree: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as refused:
        parse_config(tree)
    return str(refused.value)


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    first, *inner = path
    return {first: nested(tuple(inner), value) if inner else value}
