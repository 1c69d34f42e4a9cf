"""The configuration of a run: YAML, checked, frozen. No secret is ever part of it."""

from omni_batch.config.budget import BudgetConfig, CostLimit, MonthConfig
from omni_batch.config.endpoint import EndpointConfig
from omni_batch.config.manifest import ManifestConfig, Target
from omni_batch.config.media import MediaConfig, StoresConfig
from omni_batch.config.quota import QuotaConfig
from omni_batch.config.reading import (
    check_request,
    load_config,
    notify_of,
    override_tree,
    parse_config,
)
from omni_batch.config.request import AnnotationConfig, ExampleConfig, RequestConfig
from omni_batch.config.retry import RetryConfig
from omni_batch.config.run import Config, NotifyConfig, VariantConfig

__all__ = [
    "AnnotationConfig",
    "BudgetConfig",
    "Config",
    "CostLimit",
    "EndpointConfig",
    "ExampleConfig",
    "ManifestConfig",
    "MediaConfig",
    "MonthConfig",
    "NotifyConfig",
    "QuotaConfig",
    "RequestConfig",
    "RetryConfig",
    "StoresConfig",
    "Target",
    "VariantConfig",
    "check_request",
    "load_config",
    "notify_of",
    "override_tree",
    "parse_config",
]
