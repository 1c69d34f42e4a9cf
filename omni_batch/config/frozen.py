"""What all parts of a configuration are."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A part of the configuration: unknown keys are refused, values can't change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
