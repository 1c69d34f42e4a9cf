"""Whether an endpoint can be used as it is configured, for the model that it is asked for. Pure."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from omni_batch.doubts import Doubt
from omni_batch.planning.resolved_endpoint import ResolvedEndpoint
from omni_batch.providers.environment import is_loopback
from omni_batch.providers.profiles import PROFILES


def endpoint_problems(endpoint: ResolvedEndpoint) -> Iterator[str]:
    """Why an endpoint can't be used as it is configured."""
    config, model, dialect = endpoint.config, endpoint.model, endpoint.dialect
    served = dialect.omni_models
    if served is not None and model is not None and model.needs_stream and model.name not in served:
        yield (
            f"endpoint {endpoint.label} does not serve {config.model}; of the omni models it has "
            f"{', '.join(served)}"
        )
    if config.media.transport == "upload" and not dialect.uploads:
        yield f"media.transport upload: endpoint {endpoint.label} has no temporary storage"
    if endpoint.entry.rows == "spoken" and not dialect.speaks:
        yield f"endpoint {endpoint.label} has rows: spoken, but does not speak; set rows: silent"
    if endpoint.offers is False:
        yield _not_offered(endpoint)
    if clear := _key_in_clear(endpoint):
        yield (
            f"{clear}: write https://, or set endpoint.insecure: true where nobody else is on the "
            "way"
        )


def endpoint_doubts(endpoint: ResolvedEndpoint) -> Iterator[Doubt]:
    """What may be wrong with an endpoint for its model."""
    if clear := _key_in_clear(endpoint, allowed=True):
        yield Doubt("key-in-clear", clear)
    if elsewhere := _key_goes_elsewhere(endpoint):
        yield Doubt("key-goes-elsewhere", elsewhere)
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
