"""What is wrong with a configuration, in words for its author."""

from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from omni_batch.config.plain import shortened
from omni_batch.text import did_you_mean

_NEVER_SHOWN = ("base_url", "api_key_env", "api_key_block", "notify")
"""Keys whose values may hold a secret, most of them by mistake; they stay out of messages."""

_SHOWN_AT_MOST = 5
_NO_TEXT = ("string_type", "string_sub_type")
_NO_GROUP = ("dict_type", "model_type")


def problems(found: ValidationError, model: type[BaseModel]) -> str:
    """Every problem with its key, value and reason; `model` is what was checked."""
    errors = found.errors(include_url=False)
    shown = [_explain(error, model) for error in errors[:_SHOWN_AT_MOST]]
    if others := len(errors) - len(shown):
        shown.append(f"and {others:,} more")
    return "; ".join(shown)


def _explain(error: Any, model: type[BaseModel]) -> str:
    *parents, leaf = [str(part) for part in error["loc"]] or [""]
    where = shortened(".".join([*parents, leaf]))
    if error["type"] == "extra_forbidden":
        return f"unknown key {where}; {_nearest_key(model, parents, leaf)}"
    if error["type"] == "missing":
        return f"{where} is missing; add it"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] in _NO_GROUP:
        message = "must be a group of keys with their values"
    if not where:  # about several keys at once
        return str(message)
    value = "…" if {leaf, *parents}.intersection(_NEVER_SHOWN) else shortened(repr(error["input"]))
    if error["type"] in _NO_TEXT and isinstance(error["input"], bool | int | float):
        message += "; put it in quotes"
    return f"{where} = {value}: {message[:1].lower()}{message[1:]}"


def _nearest_key(model: type[BaseModel], parents: list[str], leaf: str) -> str:
    names = iter(parents)
    for parent in names:
        annotation = model.model_fields[parent].annotation
        kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
        model = next(kind for kind in kinds if issubclass(kind, BaseModel))
        if get_origin(annotation) in (tuple, dict):  # a number or name: which of several groups
            next(names)
    return did_you_mean(leaf, model.model_fields, "known keys")
