"""The whole configuration of a run."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)

from omni_batch.config.budget import BudgetConfig
from omni_batch.config.endpoint import EndpointConfig
from omni_batch.config.frozen import Frozen
from omni_batch.config.manifest import ManifestConfig
from omni_batch.config.media import MediaConfig, StoresConfig
from omni_batch.config.quota import QuotaConfig
from omni_batch.config.request import AnnotationConfig, RequestConfig
from omni_batch.config.retry import RetryConfig
from omni_batch.text import nearest_zone

_VARIANT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""No dot: the name of a row of the results is made of its parts with dots between them."""
_BLOCK = re.compile(r"[a-z0-9-]+/[^\s/]+")
_MOST_SEED = 2**31 - 1


Limit = Annotated[int | None, Field(ge=1)]


def _share_or_count(value: Any) -> Any:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value is None or is_count or (isinstance(value, float) and 0 < value < 1):
        return value
    raise ValueError("must be a number of rows, such as 5, or a share below 1, such as 0.1")


FailAbove = Annotated[
    int | float | None,
    BeforeValidator(_share_or_count),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                {"type": "null"},
            ]
        }
    ),
]
"""A number of rows, or a share of them."""


class VariantConfig(RequestConfig):
    """What one variant asks in another way: keys of `request`, and `model`."""

    model: str | None = None
    """null: the config's."""

    @model_serializer(mode="wrap")
    def _only_what_differs(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if key in self.model_fields_set}

    def over(self, request: RequestConfig) -> RequestConfig:
        """The whole request; ValidationError where both together are none."""
        own = {key: getattr(self, key) for key in self.model_fields_set - {"model"}}
        return RequestConfig.model_validate({**request.model_dump(), **own})


class NotifyConfig(Frozen):
    """Who is told how a night has ended. A text alone is a URL."""

    url: str | None = None
    """Gets the night as JSON. It may hold a secret."""
    block: str | None = None
    """TYPE/NAME of a Prefect block that notifies."""

    @model_validator(mode="before")
    @classmethod
    def _url_alone(cls, value: Any) -> Any:
        return {"url": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.url is None) == (self.block is None):
            raise ValueError("give a URL or a block, as in notify: {block: slack-webhook/NAME}")
        return self

    @field_validator("url")
    @classmethod
    def _http(cls, url: str | None) -> str | None:
        return url and _hook(url)

    @field_validator("block")
    @classmethod
    def _type_and_name(cls, block: str | None) -> str | None:
        if block is not None and not _BLOCK.fullmatch(block):
            raise ValueError("must be the type and the name of a block: slack-webhook/NAME")
        return block


class Config(Frozen):
    """Everything that decides a run, but the key."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    manifest: ManifestConfig
    output: str = "data/runs"
    catalogue: str | None = None
    """TOML file over the shipped catalogue: models, prices and limits of your own."""
    model: str = "qwen3-omni-flash"
    endpoint: EndpointConfig = EndpointConfig()
    endpoints: tuple[EndpointConfig, ...] = ()
    """Several at once, in place of `endpoint`."""
    request: RequestConfig = RequestConfig()
    variants: dict[str, VariantConfig] = Field(default_factory=dict, max_length=100)
    """Ways to ask, by name: each row of the manifest is asked once by each of them."""
    samples: int | None = Field(default=None, ge=1, le=100)
    """How often each question is asked; the rows of the results count them from 1."""
    same_question: Literal["reuse", "send"] = "reuse"
    """reuse: of rows that ask the very same one is sent, and all have its answer. send: each is."""
    annotation: AnnotationConfig | None = None
    media: MediaConfig = MediaConfig()
    stores: StoresConfig = StoresConfig()
    quota: QuotaConfig = QuotaConfig()
    retry: RetryConfig = RetryConfig()
    budget: BudgetConfig = BudgetConfig()
    reuse: tuple[str, ...] | None = None
    """Globs of earlier run directories whose answers are not paid for again."""
    shard_size: int | Literal["auto"] = "auto"
    durability: Literal["process", "disk"] = "process"
    """process: an item is done when the system has it, safe from `kill -9`. disk: when the disk has
    it, safe from the loss of power."""
    shutdown_grace_s: float = Field(default=30, ge=0)
    """How long requests in flight may take to end after the first Ctrl-C."""
    limit: Limit = None
    """Only the manifest's first rows."""
    fail_above: FailAbove = None
    """New failures that a night may have: a number of rows, or a share of them. None: any."""
    notify: NotifyConfig | None = None
    """Who is told how a night has ended."""
    timezone: str | None = None
    """Where a calendar month begins. None: where this machine is."""

    @model_validator(mode="after")
    def _one_way_to_name_endpoints(self) -> Self:
        if self.endpoints and self.endpoint != EndpointConfig():
            raise ValueError("endpoint and endpoints exclude each other; keep one")
        labels = [entry.label or entry.name for entry in self.endpoints]
        if doubled := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(
                f"endpoints contains {doubled[0]} more than once; give each its own label"
            )
        return self

    @field_validator("variants")
    @classmethod
    def _names_of_variants(cls, value: dict[str, VariantConfig]) -> dict[str, VariantConfig]:
        for name in value:
            if not _VARIANT_NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r:.80} is no name for a variant: use letters, digits, _ and -, 64 at "
                    "most, a letter or digit first"
                )
        return value

    @model_validator(mode="after")
    def _variants_and_samples_can_be_asked(self) -> Self:
        for name, asked in self._requests():
            if self.samples and (asked.seed or 0) + self.samples - 1 > _MOST_SEED:
                where = f"variants.{name}.seed" if name else "request.seed"
                raise ValueError(
                    f"{where} = {asked.seed} leaves no room for a seed of each of {self.samples} "
                    "samples; lower it"
                )
        return self

    def _requests(self) -> Iterator[tuple[str | None, RequestConfig]]:
        """What each variant asks; ValueError names the one that can't."""
        if not self.variants:
            yield None, self.request
        for name, variant in self.variants.items():
            try:
                yield name, variant.over(self.request)
            except ValidationError as exc:
                reason = exc.errors()[0]["msg"].removeprefix("Value error, ")
                raise ValueError(f"variants.{name}, over request: {reason}") from None

    def by_variant(self) -> dict[str | None, "Config"]:
        """What each variant is as a configuration of its own; without variants, this one."""
        if not self.variants:
            return {None: self}
        return {
            name: self.model_copy(
                update={
                    "variants": {},
                    "request": request,
                    "model": self.variants[name or ""].model or self.model,
                }
            )
            for name, request in self._requests()
        }

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are asked, each once."""
        own = (variant.model or self.model for variant in self.variants.values())
        return tuple(dict.fromkeys(own)) or (self.model,)

    @property
    def targets(self) -> dict[str, tuple[EndpointConfig, str]]:
        """Where requests go: an endpoint and a model of it, by their name in the tables."""
        several = len(self.models) > 1
        return {
            f"{name}/{model}" if several else name: (entry, model)
            for entry in self.all_endpoints
            for model in self.models
            for name in [entry.label or entry.name]
        }

    @property
    def zone(self) -> ZoneInfo | None:
        """Of its calendar; None: the machine's."""
        return ZoneInfo(self.timezone) if self.timezone else None

    @property
    def all_endpoints(self) -> tuple[EndpointConfig, ...]:
        """`endpoints`, or the one `endpoint`."""
        return self.endpoints or (self.endpoint,)

    @field_validator("reuse", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        if name is not None and name not in (known := available_timezones()):
            close = nearest_zone(name, known)
            hint = f"did you mean {close}?" if close else "write it as in Europe/Berlin, or UTC"
            raise ValueError(f"is no time zone; {hint}")
        return name

    @field_validator("shard_size")
    @classmethod
    def _sane_shard(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 1 <= value <= 100_000:
            raise ValueError("must be auto or between 1 and 100000")
        return value


def _hook(url: str) -> str:
    """As it is used; a ValueError says what is wrong and does not repeat what may be a secret."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not re.fullmatch(r"[^\s\\]+", url):
        raise ValueError("must be a URL, such as https://HOST/PATH")
    return url
