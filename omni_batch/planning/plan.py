"""Config → Plan: all that can be refused before a row is read is refused here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from omni_batch.annotation.schema import AnnotationSchema
from omni_batch.catalogue import (
    Catalogue,
    Model,
    TokenRules,
    catalogue,
    is_realtime,
    load_catalogue,
)
from omni_batch.catalogue.prices import Pricing
from omni_batch.catalogue.tokens import PromptEstimate, estimate_prompt, rules_of
from omni_batch.config import Config, CostLimit
from omni_batch.doubts import Doubt
from omni_batch.errors import ConfigError
from omni_batch.planning.media_source import MediaSource
from omni_batch.planning.resolved_endpoint import (
    ResolvedEndpoint,
    fitted,
    refused_by_all,
    room_doubts,
)
from omni_batch.providers.api_key import ApiKey
from omni_batch.providers.environment import check_environment, is_loopback
from omni_batch.providers.profiles import PROFILES, Profile, read_api_key, resolve_profile
from omni_batch.providers.transport import largest_file_bytes
from omni_batch.providers.web.remote_probe import RemoteProber
from omni_batch.quota.room import Room
from omni_batch.requests.annotation_schema import enforced, load_annotation
from omni_batch.requests.build import request_of_config, thinks
from omni_batch.requests.examples import Examples, read_examples
from omni_batch.requests.manifest import base_folder as manifest_folder
from omni_batch.requests.media import MediaLoader
from omni_batch.requests.prompt import PromptTemplate
from omni_batch.requests.validate import RULES_OF_CONFIG, Verdict
from omni_batch.text import nearest
from omni_batch.types import Message


@dataclass(frozen=True, slots=True)
class Plan:
    """A config that has been found fit to run."""

    config: Config
    endpoints: tuple[ResolvedEndpoint, ...]
    """The endpoints, at least one."""
    catalogue: Catalogue
    template: PromptTemplate | None
    base_folder: Path
    """Where relative references of the manifest start."""
    room: Room
    """What may be under way at once."""
    annotation: AnnotationSchema | None = None
    """What every answer has to be."""
    examples: Examples = field(default_factory=Examples)
    """What goes before each row's own turns."""
    doubts: tuple[Doubt, ...] = ()

    @property
    def model(self) -> Model | None:
        """The model's entry in the catalogue; None where it is unknown."""
        return self.catalogue.model(self.config.model)

    @property
    def endpoint_names(self) -> str:
        """Names of all endpoints."""
        return "+".join(endpoint.name for endpoint in self.endpoints)

    @property
    def currencies(self) -> tuple[str, ...]:
        """What the endpoints are paid in."""
        prices = (endpoint.price for endpoint in self.endpoints)
        return tuple(dict.fromkeys(price.currency for price in prices if price))

    @property
    def rules(self) -> TokenRules:
        """What to estimate tokens by."""
        return rules_of((self.model or self.catalogue).tokens, self.config.request.model_dump())

    @property
    def audio_tokens_per_s(self) -> float | None:
        """Of the model's speech; None where it is unknown."""
        return self.model.tokens.audio_out_per_s if self.model else None

    @property
    def thinks(self) -> bool:
        """Whether the model answers in thinking mode."""
        return thinks(self.config.request, self.model)

    @property
    def response_format(self) -> Mapping[str, Any] | None:
        """What endpoints hold answers to while they are written, where one is known to."""
        holds = any(endpoint.dialect.holds_to_schema for endpoint in self.endpoints)
        form, _ = enforced(self.config.annotation, self.annotation, thinks=self.thinks)
        return form if holds else None

    @property
    def max_in_flight(self) -> int:
        """Requests that may be in flight, at all endpoints together."""
        return sum(endpoint.max_in_flight for endpoint in self.endpoints)

    def loader(self) -> MediaLoader:
        """Finds the media of the manifest."""
        media = self.config.media
        largest = max(largest_file_bytes(media, endpoint.dialect) for endpoint in self.endpoints)
        return MediaLoader(self.base_folder, media.roots, largest, known=self.examples.media)

    def media_source(self, *, checking: bool) -> MediaSource:
        """Finds and probes the media of rows; to be closed. Where an event loop runs.

        Args:
            checking: for `check`, which probes URLs unless it is told otherwise.
        """
        media = self.config.media
        mode = media.probe_urls or ("ranges" if checking else "off")
        if mode == "off":
            return MediaSource(self.loader())
        prober = RemoteProber(
            mode,
            most_urls=media.probe_urls_max,
            allow_private=media.allow_private_downloads,
            at_once=self.room.moves,
        )
        return MediaSource(self.loader(), prober)

    def endpoints_for(self, *, spoken: bool) -> tuple[ResolvedEndpoint, ...]:
        """Endpoints that take such rows."""
        return tuple(endpoint for endpoint in self.endpoints if endpoint.takes(spoken=spoken))

    def endpoint(self, name: str) -> ResolvedEndpoint:
        """The endpoint of that name."""
        return next(endpoint for endpoint in self.endpoints if endpoint.name == name)

    def pricing(self, endpoint: str | None, *, spoken: bool) -> Pricing:
        """What a request is paid by; without an endpoint, at the first one that would take it."""
        paid = self.endpoint(endpoint) if endpoint else self.endpoints_for(spoken=spoken)[0]
        return Pricing(paid.price, spoken, self.audio_tokens_per_s)


def make_plan(config: Config, base_folder: Path | None = None, *, needs_key: bool = True) -> Plan:
    """Check everything but the manifest's rows.

    Raises:
        ConfigError: names what is wrong; also when the key is missing.
    """
    if is_realtime(config.model):
        raise ConfigError(
            f"model = {config.model!r} talks over WebSocket only; use the model without -realtime"
        )
    profiles = [resolve_profile(entry) for entry in config.all_endpoints]
    if needs_key:
        _check_keys(profiles)
    check_environment(profile.base_url for profile in profiles)
    known = _catalogue(config.catalogue)
    model, pairs = known.model(config.model), zip(config.all_endpoints, profiles, strict=True)
    endpoints, room = fitted(
        [ResolvedEndpoint(entry, profile, config, model) for entry, profile in pairs]
    )
    annotation = load_annotation(config.annotation)
    plan = Plan(
        config,
        endpoints,
        known,
        _template(config.request.prompt, annotation),
        base_folder or manifest_folder(config.manifest.path),
        room,
        annotation,
    )
    examples = read_examples(config, plan.template, plan.annotation, plan.loader())
    plan = replace(plan, examples=examples)
    verdict = _judge(plan)
    problems = (*_problems(plan), *(broken.message for broken in verdict.violations))
    if problems:
        raise ConfigError("; ".join(dict.fromkeys(problems)))
    doubts = tuple(dict.fromkeys((*_doubts(plan), *verdict.doubts)))
    return replace(plan, config=_with_currency(plan), doubts=doubts)


def _template(text: str | None, annotation: AnnotationSchema | None) -> PromptTemplate | None:
    """The config's prompt; it may name the schema, so that labels have one home."""
    if not text:
        return None
    return PromptTemplate(text, {"schema": annotation.json_schema} if annotation else None)


def _check_keys(profiles: Sequence[Profile]) -> None:
    """Each key is there, and none is meant for two regions.

    Raises:
        ConfigError: names the endpoints and never a key.
    """
    holders: dict[ApiKey, Profile] = {}
    for profile in profiles:
        # A flow reads a block when it runs.
        key = read_api_key(profile) if profile.api_key_block is None else None
        if key is None or profile.key_region is None:
            continue
        other = holders.setdefault(key, profile)
        if other.key_region != profile.key_region:
            raise ConfigError(
                f"{other.name} in {other.key_region} and {profile.name} in {profile.key_region} "
                f"have the same key, but a key is bound to one region; set {profile.api_key_env} "
                f"to a key of {profile.key_region}"
            )


def _catalogue(overlay: str | None) -> Catalogue:
    if overlay is None:
        return catalogue()
    try:
        return load_catalogue(Path(overlay))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"catalogue {overlay}: {exc}") from None


def _judge(plan: Plan) -> Verdict:
    """What all rows ask for, at each endpoint, before any row is read."""
    asked = request_of_config(plan.config.request, plan.config.model, plan.model)
    verdicts = []
    for endpoint in plan.endpoints:
        silenced = asked.wants_audio and not endpoint.speaks  # it gets the rows without speech
        request = replace(asked, wants_audio=False, voice=None) if silenced else asked
        verdicts.append(endpoint.judge(request, PromptEstimate(), RULES_OF_CONFIG))
    return Verdict(
        tuple(broken for verdict in verdicts for broken in verdict.violations),
        tuple(doubt for verdict in verdicts for doubt in verdict.doubts),
    )


def _problems(plan: Plan) -> Iterator[str]:
    yield from _row_problems(plan)
    yield from _example_problems(plan)
    if plan.annotation is not None and plan.config.request.wants_audio:
        yield "annotation asks for JSON, which nobody speaks; set request.modalities: [text]"
    if plan.config.budget.max_cost is not None:
        yield from _cost_problems(plan, plan.config.budget.max_cost)
    for endpoint in plan.endpoints:
        yield from _endpoint_problems(endpoint)
        if clear := _key_in_clear(endpoint):
            yield (
                f"{clear}: write https://, or set endpoint.insecure: true where nobody else is on "
                "the way"
            )
    yield from _key_problems(plan)


def _example_problems(plan: Plan) -> Iterator[str]:
    """Why no row could go out behind the examples."""
    if plan.examples.turns:
        asked = request_of_config(plan.config.request, plan.config.model, plan.model)
        asked = replace(asked, messages=(*plan.examples.loaded(), Message("user", ("?",))))
        if why := refused_by_all(plan.endpoints, asked, estimate_prompt(asked, plan.rules)):
            yield f"request.examples: {why}"


def _cost_problems(plan: Plan, limit: CostLimit) -> Iterator[str]:
    """Why a limit of cost could not be kept."""
    instead = (
        "give prices of your own with catalogue (docs/models.md), or set budget.max_tokens instead"
    )
    for endpoint in plan.endpoints:
        if lack := endpoint.price_lacks(spoken=plan.config.request.wants_audio):
            yield f"budget.max_cost: {lack} is known; {instead}"
    currencies = plan.currencies
    if len(currencies) > 1:
        yield f"budget.max_cost needs one currency, not {' and '.join(currencies)}; {instead}"
    elif currencies and limit.currency not in (None, *currencies):
        yield (
            f"budget.max_cost is {limit}, but {plan.endpoint_names} is paid in {currencies[0]}; "
            f"write it in {currencies[0]}"
        )


def _with_currency(plan: Plan) -> Config:
    """The config whose budget says what it is counted in."""
    budget = plan.config.budget
    if budget.max_cost is None:
        return plan.config
    limit = replace(budget.max_cost, currency=plan.currencies[0])
    return plan.config.model_copy(update={"budget": budget.model_copy(update={"max_cost": limit})})


def _endpoint_problems(endpoint: ResolvedEndpoint) -> Iterator[str]:
    config, model, dialect = endpoint.config, endpoint.model, endpoint.dialect
    served = dialect.omni_models
    if served is not None and model is not None and model.needs_stream and model.name not in served:
        yield (
            f"endpoint {endpoint.name} does not serve {config.model}; of the omni models it has "
            f"{', '.join(served)}"
        )
    if config.media.transport == "upload" and not dialect.uploads:
        yield f"media.transport upload: endpoint {endpoint.name} has no temporary storage"
    if endpoint.entry.rows == "spoken" and not dialect.speaks:
        yield f"endpoint {endpoint.name} has rows: spoken, but does not speak; set rows: silent"
    if endpoint.offers is False:
        yield _not_offered(endpoint)


def _not_offered(endpoint: ResolvedEndpoint) -> str:
    regions = " and ".join(endpoint.model.regions) if endpoint.model else ""
    return (
        f"{endpoint.config.model} is offered in {regions}; endpoint {endpoint.name} is in "
        f"{endpoint.profile.region}: use an endpoint in {regions}, or another model"
    )


def _key_problems(plan: Plan) -> Iterator[str]:
    """A key is bound to one region (error-code pages, `invalid_api_key`)."""
    by_variable: dict[str, dict[str, str]] = {}
    for endpoint in plan.endpoints:
        variable, region = endpoint.profile.api_key_env, endpoint.profile.key_region
        if variable and region:
            by_variable.setdefault(variable, {}).setdefault(region, endpoint.name)
    for variable, names in by_variable.items():
        if len(names) > 1:
            yield (
                f"{' and '.join(names.values())} both read {variable}, but a key is bound to one "
                f"region, and they are in {' and '.join(names)}: set api_key_env for one of them"
            )


def _row_problems(plan: Plan) -> Iterator[str]:
    """Rows of a kind that no endpoint takes."""
    request = plan.config.request
    mixed = request.spoken_rows == "with_voice"
    if (mixed or not request.wants_audio) and not plan.endpoints_for(spoken=False):
        yield "every endpoint has rows: spoken, but rows without speech need one too; add one"
    if request.wants_audio and not plan.endpoints_for(spoken=True):
        if any(endpoint.dialect.speaks for endpoint in plan.endpoints):
            yield "every endpoint that speaks has rows: silent, but spoken rows need one; add one"
            return
        names = ", ".join(f"{e.name} ({e.dialect.name})" for e in plan.endpoints)
        yield f"endpoint {names} does not speak; set request.modalities: [text]"


def _doubts(plan: Plan) -> Iterator[Doubt]:
    if plan.model is None:
        near = nearest(plan.config.model, plan.catalogue.names())
        hint = f"; did you mean {near}?" if near else ""
        message = f"model {plan.config.model} is not in the catalogue: no limits, no prices{hint}"
        yield Doubt("model-not-listed", message)
    if len(plan.currencies) > 1:
        yield Doubt(
            "two-currencies",
            f"endpoints are paid in {' and '.join(plan.currencies)}: the run has a total for each, "
            "and its cost can't be estimated",
        )
    for medium in plan.examples.media.values():
        yield from medium.doubts
    _, why_not = enforced(plan.config.annotation, plan.annotation, thinks=plan.thinks)
    if why_not and any(endpoint.dialect.holds_to_schema for endpoint in plan.endpoints):
        yield Doubt("schema-in-prompt-only", why_not)
    yield from room_doubts(plan.endpoints, plan.room)
    for endpoint in plan.endpoints:
        yield from _endpoint_doubts(endpoint)


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
        f"endpoint {endpoint.name}: the key in {profile.api_key_env} would travel in clear text to "
        f"{host} (endpoint.base_url is http://)"
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
    return f"endpoint {endpoint.name}: the key in {profile.api_key_env} goes to {host}{instead}"


def _endpoint_doubts(endpoint: ResolvedEndpoint) -> Iterator[Doubt]:
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
