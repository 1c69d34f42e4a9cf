"""Whether an endpoint can be used as it is configured, for the model that it is asked for. Pure."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from omni_batch.config import EndpointConfig
from omni_batch.doubts import Doubt
from omni_batch.planning.resolved_endpoint import ResolvedEndpoint
from omni_batch.providers.environment import is_loopback
from omni_batch.providers.profiles import PROFILES


def endpoint_problems(endpoint: ResolvedEndpoint) -> Iterator[str]:
    """Why an endpoint can't be used as it is configured."""
    config, model, dialect = endpoint.config, endpoint.model, endpoint.dialect
    served = dialect.omni_models
    if served is not None and model is not None and model.needs_stream and model.name not in served:
        by = dialect.files.models if dialect.files else {}
        names = (f"{name} (by {by[name]})" if name in by else name for name in sorted(served))
        yield (
            f"endpoint {endpoint.label} does not serve {config.model}; of the omni models it has "
            f"{', '.join(names)}"
        )
    if config.media.transport == "upload" and not dialect.uploads:
        yield f"media.transport upload: endpoint {endpoint.label} has no temporary storage"
    if endpoint.entry.rows == "spoken" and not dialect.speaks:
        yield f"endpoint {endpoint.label} has rows: spoken, but does not speak; set rows: silent"
    yield from _job_problems(endpoint)
    if endpoint.offers is False:
        yield _not_offered(endpoint)
    if clear := _key_in_clear(endpoint):
        yield (
            f"{clear}: write https://, or set endpoint.insecure: true where nobody else is on the "
            "way"
        )


def _job_problems(endpoint: ResolvedEndpoint) -> Iterator[str]:
    """Keys that are for endpoints whose requests go as files."""
    route, entry, own = endpoint.dialect.files, endpoint.entry, EndpointConfig()
    if route is None:
        if PROFILES[endpoint.profile.name].dialect.files is None:
            for key in ("fallback", "completion_window_h", "lost_jobs"):
                if getattr(entry, key) != getattr(own, key):
                    yield (
                        f"endpoint.{key} is for dashscope-batch and openai-batch, and "
                        f"{endpoint.label} answers at once; remove it"
                    )
    elif entry.completion_window_h > route.longest_window_h:
        yield (
            f"endpoint.completion_window_h = {entry.completion_window_h}: {endpoint.label} takes "
            f"at most {route.longest_window_h}"
        )


def _edition_doubts(endpoint: ResolvedEndpoint) -> Iterator[Doubt]:
    """Which edition of the documents says that jobs take the model."""
    models = endpoint.dialect.files.models if endpoint.dialect.files else {}
    if (model := endpoint.model) is not None and model.name in models:
        others = (f"{edition} names {name}" for name, edition in models.items())
        message = f"of the omni models {', '.join(others)}: try a few rows first (limit: 5)"
        yield Doubt("batch-model-by-edition", message)


def endpoint_doubts(endpoint: ResolvedEndpoint) -> Iterator[Doubt]:
    """What may be wrong with an endpoint for its model."""
    if clear := _key_in_clear(endpoint, allowed=True):
        yield Doubt("key-in-clear", clear)
    if elsewhere := _key_goes_elsewhere(endpoint):
        yield Doubt("key-goes-elsewhere", elsewhere)
    yield from _edition_doubts(endpoint)
    model, name = endpoint.model, endpoint.config.model
    if endpoint.offers is None:
        message = f"{_not_offered(endpoint)} (the catalogue is not sure of this)"
        yield Doubt("region-not-listed", message)
    if model is not None and model.is_unverified("prices") and endpoint.price:
        message = f"the prices of {name} are those of third parties: hold the first bill against it"
        yield Doubt("prices-unverified", message)
    if model is not None and model.ends and endpoint.profile.key_region and endpoint.limits:
        remedy = f": use {model.successor}" if model.successor else ": try a few rows first"
        yield Doubt(
            "model-ends",
            f"a notice of the vendor, known at second hand, ends {name} on {model.ends}, after "
            f"which requests fail{remedy}",
        )


def _not_offered(endpoint: ResolvedEndpoint) -> str:
    regions = " and ".join(endpoint.model.regions) if endpoint.model else ""
    return (
        f"{endpoint.config.model} is offered in {regions}; endpoint {endpoint.label} is in "
        f"{endpoint.profile.region}: use an endpoint in {regions}, or another model"
    )


def _key_in_clear(endpoint: ResolvedEndpoint, *, allowed: bool = False) -> str | None:
    """That the key would leave this machine unencrypted; None where it does not."""
    profile = endpoint.profile
    url = urlsplit(profile.base_url or "")
    host = (url.hostname or "").rstrip(".")
    if url.scheme != "http" or not profile.api_key_env or is_loopback(host):
        return None
    if endpoint.entry.insecure is not allowed:
        return None
    return (
        f"endpoint {endpoint.label}: the key in {profile.api_key_env} would travel in clear text "
        f"to {host} (endpoint.base_url is http://)"
    )


def _key_goes_elsewhere(endpoint: ResolvedEndpoint) -> str | None:
    """Where a variable that is meant for one service is sent to another host."""
    profile, known = endpoint.profile, PROFILES[endpoint.profile.name]
    host = urlsplit(profile.base_url or "").hostname or ""
    if not endpoint.entry.base_url or not profile.api_key_env or is_loopback(host):
        return None
    own = urlsplit(known.base_url or "").hostname
    is_vendors = profile.key_region is not None and profile.dialect.vendor_quota
    chosen = endpoint.entry.api_key_env is not None and own is None
    if host == own or is_vendors or chosen:
        return None
    instead = f", not to {own}" if own else ""
    return f"endpoint {endpoint.label}: the key in {profile.api_key_env} goes to {host}{instead}"
