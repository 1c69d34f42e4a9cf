"""What all parts of a configuration are."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A part of the configuration: unknown keys are refused, values can't change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def matching(pattern: str, otherwise: str) -> dict[str, Any]:
    """JSON Schema of a text. Validators name what forbids a text, so it is forbidden with words."""
    return {"type": "string", "not": {"description": otherwise, "not": {"pattern": pattern}}}
