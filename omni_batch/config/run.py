"""The whole configuration of a run."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from omni_batch.config.budget import BudgetConfig
from omni_batch.config.endpoint import EndpointConfig
from omni_batch.config.frozen import Frozen
from omni_batch.config.manifest import ManifestConfig
from omni_batch.config.media import MediaConfig
from omni_batch.config.quota import QuotaConfig
from omni_batch.config.request import AnnotationConfig, RequestConfig
from omni_batch.config.retry import RetryConfig


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
    annotation: AnnotationConfig | None = None
    media: MediaConfig = MediaConfig()
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
    limit: int | None = Field(default=None, ge=1)
    """Only the manifest's first rows."""

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

    @property
    def all_endpoints(self) -> tuple[EndpointConfig, ...]:
        """`endpoints`, or the one `endpoint`."""
        return self.endpoints or (self.endpoint,)

    @field_validator("reuse", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("shard_size")
    @classmethod
    def _sane_shard(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not 1 <= value <= 100_000:
            raise ValueError("must be auto or between 1 and 100000")
        return value
