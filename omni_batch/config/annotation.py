"""`annotation`: what an answer has to be."""

from typing import Any, Self

from pydantic import Field, model_validator

from omni_batch.config.frozen import Frozen


class AnnotationConfig(Frozen):
    """Typed answers: the schema, and how often an answer that breaks it is asked for again."""

    json_schema: dict[str, Any] | str | None = None
    """A JSON Schema, or the path of a JSON or YAML file with one."""
    model: str | None = None
    """A pydantic model by its import path, `package.module:Name`, in place of a schema."""
    max_reasks: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.json_schema is None) == (self.model is None):
            raise ValueError("needs either json_schema or model")
        return self
