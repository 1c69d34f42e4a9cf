"""`annotation` of a config → the schema that answers are held against."""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omni_batch.annotation.grammar import without_grammar
from omni_batch.annotation.instructions import response_format
from omni_batch.annotation.schema import AnnotationSchema, read_schema
from omni_batch.config import AnnotationConfig
from omni_batch.config.yaml_values import file_tree
from omni_batch.errors import ConfigError


def load_annotation(config: AnnotationConfig | None) -> AnnotationSchema | None:
    """The schema that a config names; None where it asks for none.

    Raises:
        ConfigError: there is no such file or model, or a column can't hold what it describes.
    """
    if config is None:
        return None
    if config.model is not None:
        return _of_model(config.model)
    if isinstance(config.json_schema, str):
        return read_schema(schema_file(config.json_schema))
    return read_schema(config.json_schema)


def enforced(
    config: AnnotationConfig | None, schema: AnnotationSchema | None, *, thinks: bool
) -> tuple[Mapping[str, Any] | None, str | None]:
    """What servers hold answers to while they are written, or why they are not to.

    Args:
        thinks: whether the model answers in thinking mode: a server without a reasoning parser
            would let it write nothing but the answer.

    Returns:
        A `response_format`, or None with a reason; None twice where nobody wants it.
    """
    if config is None or schema is None or config.response_format == "off":
        return None, None
    if thinks:
        why = "the model thinks before it answers"
    elif part := without_grammar(schema.json_schema):
        why = f"the schema has {part}, for which a server may have no grammar"
    else:
        return response_format(schema), None
    return None, f"{why}: the schema is told in the prompt only, without response_format"


def schema_file(path: str) -> Any:
    """The schema in a JSON or YAML file.

    Raises:
        ConfigError: there is none, or it is not JSON or YAML.
    """
    if Path(path).suffix in (".yaml", ".yml"):
        return file_tree(Path(path))
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise ConfigError(f"annotation.json_schema {path} can't be read: {exc}") from None


def _of_model(name: str) -> AnnotationSchema:
    from pydantic import BaseModel

    model = _imported(name)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise ConfigError(f"annotation.model {name} is not a pydantic model")
    try:
        json_schema = model.model_json_schema()
    except Exception as exc:  # of pydantic, or of the model's own methods
        raise ConfigError(f"annotation.model {name} has no JSON Schema: {exc}") from None
    try:
        return read_schema(json_schema, model=model)
    except ConfigError as exc:
        raise ConfigError(f"annotation.model {name}: {exc}") from None


def _imported(name: str) -> Any:
    module, separator, attribute = name.partition(":")
    if not separator or not module or not attribute:
        raise ConfigError(f"annotation.model = {name!r}: write it as package.module:Name")
    try:
        return getattr(importlib.import_module(module), attribute)
    except AttributeError:
        raise ConfigError(f"annotation.model: {module} has no {attribute}") from None
    except Exception as exc:  # whatever the user's module does while it is imported
        raise ConfigError(f"annotation.model {name} can't be imported: {exc}") from None
