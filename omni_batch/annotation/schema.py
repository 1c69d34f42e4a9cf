"""What an answer has to be: a JSON Schema, its shape, and who has the last word on it."""

import json
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs

from omni_batch.annotation.convert import Violation
from omni_batch.annotation.shape import Shape, read_shape
from omni_batch.errors import ConfigError

_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class AnnotationSchema:
    """One schema, ready to judge.

    Attributes:
        json_schema: as the user wrote it.
        text: the same as JSON, for the model.
        shape: the type of each member.
        model: a pydantic model whose validators have the last word and whose defaults fill what is
            missing.
    """

    json_schema: dict[str, Any]
    text: str
    shape: Shape
    validator: Any = field(repr=False, compare=False)
    model: Any = None

    def judge(self, value: Any) -> Any:
        """The value, if the schema accepts it; with a model's defaults if there is one.

        Raises:
            Violation: the first thing that it does not accept.
        """
        for error in self.validator.iter_errors(value):
            path = ".".join(map(str, error.instance_path))
            raise Violation(path, error.message[:_LONGEST_REASON])
        return self._by_model(value) if self.model else value

    def _by_model(self, value: Any) -> Any:
        from pydantic import ValidationError

        try:
            return self.model.model_validate(value).model_dump(mode="json", by_alias=True)
        except ValidationError as exc:
            error = exc.errors(include_url=False, include_input=False)[0]
            path = ".".join(map(str, error["loc"]))
            raise Violation(path, error["msg"][:_LONGEST_REASON]) from None


def read_schema(json_schema: object, *, model: Any = None) -> AnnotationSchema:
    """A schema, checked before anything is sent.

    Args:
        json_schema: as JSON or YAML gave it.
        model: the pydantic model that it was made from, if any.

    Raises:
        ConfigError: it is not a schema, or gives a member no type that a column can have.
    """
    if not isinstance(json_schema, dict):
        raise ConfigError('annotation.json_schema must be an object with a "type" and "properties"')
    try:
        jsonschema_rs.meta.validate(json_schema)
    except jsonschema_rs.ValidationError as exc:
        raise _not_a_schema(exc) from None
    shape = read_shape(json_schema)
    text = json.dumps(json_schema, ensure_ascii=False)
    return AnnotationSchema(json_schema, text, shape, _validator(json_schema), model)


def _validator(json_schema: dict[str, Any]) -> Any:
    try:
        return jsonschema_rs.validator_for(json_schema, validate_formats=True, retriever=_fetch)
    except jsonschema_rs.ValidationError as exc:  # a pattern that is no regular expression
        raise _not_a_schema(exc) from None
    except jsonschema_rs.ReferencingError as exc:
        reason = str(exc).partition("\n")[0][:_LONGEST_REASON]
        raise ConfigError(f"annotation.json_schema can't be used: {reason}") from None


def _not_a_schema(error: Any) -> ConfigError:
    place = ".".join(map(str, error.instance_path)) or "its root"
    reason = f"{place}: {error.message[:_LONGEST_REASON]}"
    return ConfigError(f"annotation.json_schema is not a JSON Schema: {reason}")


def _fetch(url: str) -> Any:
    raise ValueError(f"{url} is outside of the schema; nothing is fetched")
