"""What a flow may be asked for: forms on Prefect's page, held by Prefect before a run exists.

Names and bounds are those of the config, whose classes these are; an empty field is not sent, and
leaves what the config says. Prefect keeps parameters in clear text, so a secret is refused.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
)

from omni_batch.config import BudgetConfig, MonthConfig, QuotaConfig
from omni_batch.config.frozen import Frozen, matching
from omni_batch.config.run import FailAbove, Limit
from omni_batch.errors import ConfigError
from omni_batch.text import redacted

_SECRETS = {
    r"^\s*notify\s*=.*://": "the URL may be a secret, and Prefect keeps parameters in clear text",
    r"://[^\s/?#@]+@": "the URL has a login, and Prefect keeps parameters in clear text",
}
"""What no parameter may look like, with the reason: JSON Schema's words show both."""
_LOOKS = "it looks like a secret, and Prefect keeps parameters in clear text"

_WORDS = {
    "limit": ("Rows", "Only the manifest's first rows."),
    "fail_above": (
        "Failures allowed",
        "New failures that the night may have: a number of rows (5), or a share below 1 (0.1).",
    ),
    "budget": ("Budget", "When to stop spending."),
    "quota": ("Quota", "What the account may use, at endpoints without a quota of their own."),
    "max_cost": ("Most money", "An amount such as 5 USD; without a currency it is the endpoint's."),
    "max_tokens": ("Most tokens", "In and out together."),
    "max_failure_rate": ("Share of failures", "The run stops above it, after 50 rows. 0.5: half."),
    "unbilled_media": ("Unbilled media", "Where rows are billed as if their media were not there."),
    "month": ("Calendar month", "For all runs of the config that begin in one month."),
    "max_answers": ("Most answers", "Paid answers, whatever becomes of them."),
    "requests_per_minute": ("Requests per minute", "Empty: as the config or the catalogue says."),
    "tokens_per_minute": ("Tokens per minute", "Empty: as the config or the catalogue says."),
    "max_in_flight": ("Requests at once", "1 to 4096."),
    "adaptive": ("Adaptive", "Learn what is let through where the numbers are too high."),
    "explore": ("Explore", "Try more than the numbers where nothing is refused."),
}
"""Title and description of each field, in the order of the forms."""


def _as_form(schema: dict[str, Any]) -> None:
    """Plain fields that begin empty: the page sends a default as if somebody had entered it."""
    fields = schema["properties"]
    schema["properties"] = {name: fields[name] for name in _WORDS if name in fields}
    for name, field in fields.items():
        kinds = [kind for kind in field.pop("anyOf", []) if kind.get("type") != "null"]
        field.pop("default", None)
        field.update(kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})
        if field.get("type") == "boolean":
            field.update(enum=[True, False])  # as a switch, what is not set would look like false
            del field["type"]
        field["title"], field["description"] = _WORDS[name]


class _Form(Frozen):
    model_config = ConfigDict(json_schema_extra=_as_form)

    @model_serializer(mode="wrap")
    def _only_what_is_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if key in self.model_fields_set}


class MonthForm(MonthConfig, _Form):
    """For all runs of the config that begin in one calendar month."""


class BudgetForm(BudgetConfig, _Form):
    """When to stop spending."""

    month: MonthForm | None = None


class QuotaForm(QuotaConfig, _Form):
    """What the account may use."""


class RunChanges(_Form):
    """For this run, in place of what the config says. Empty fields change nothing."""

    limit: Limit = None
    budget: BudgetForm | None = None
    quota: QuotaForm | None = None

    def as_overrides(self) -> list[str]:
        """Those that were set, as `--set` has them."""
        return [f"{key}={value}" for key, value in _pairs(self.model_dump())]


class NightChanges(RunChanges):
    """For this night, in place of what the config says. Empty fields change nothing."""

    fail_above: FailAbove = None


def _pairs(tree: Mapping[str, Any], parents: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _pairs(value, f"{parents}{name}.")
        else:
            yield f"{parents}{name}", json.dumps(value)


def refuse_secrets(override: str) -> str:
    """An `a.b=value` pair, as Prefect may keep it.

    Raises:
        ValueError: it may hold a secret; its value is not repeated.
    """
    why = [reason for pattern, reason in _SECRETS.items() if re.search(pattern, override)]
    if not why and redacted(override) == override:
        return override
    key = override.partition("=")[0].strip()
    raise ValueError(f"{key:.100}: {why[0] if why else _LOOKS}; write it in the config's file")


ConfigFile = Annotated[str, Field(min_length=1, title="Config", examples=["/srv/captions.yaml"])]
Overrides = tuple[
    Annotated[
        str,
        AfterValidator(refuse_secrets),
        WithJsonSchema(
            {
                **matching(r"^\s*[^\s=]+\s*=", "anything but key=value"),
                "allOf": [
                    {"not": {"pattern": pattern, "description": why}}
                    for pattern, why in _SECRETS.items()
                ],
            }
        ),
    ],
    ...,
]


def check_overrides(overrides: Iterable[str]) -> None:
    """Refuse `--set` pairs that Prefect may not keep.

    Raises:
        ConfigError: names the key.
    """
    try:
        for override in overrides:
            refuse_secrets(override)
    except ValueError as exc:
        raise ConfigError(f"--set {exc}") from None


def every_override(overrides: Overrides, changes: RunChanges) -> list[str]:
    """All that goes over a config; of two values for a key the last one holds."""
    return [*overrides, *changes.as_overrides()]
