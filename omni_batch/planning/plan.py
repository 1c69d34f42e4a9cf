"""Config → Plan: all that can be refused before a row is read is refused here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

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
from omni_batch.catalogue.tokens import rules_of
from omni_batch.config import Config, EndpointConfig
from omni_batch.doubts import Doubt
from omni_batch.errors import ConfigError
from omni_batch.fitting.cache import FitCache, fitted_folder
from omni_batch.fitting.fitter import Fitter
from omni_batch.fitting.workers import Workers
from omni_batch.planning.fitness.config import judged
from omni_batch.planning.media_source import MediaSource
from omni_batch.planning.resolved_endpoint import ResolvedEndpoint, fitted, with_fallback
from omni_batch.providers.api_key import ApiKey
from omni_batch.providers.environment import check_environment
from omni_batch.providers.profiles import Profile, read_api_key, resolve_profile
from omni_batch.providers.transport import largest_file_bytes
from omni_batch.providers.web.archive_fetch import ArchiveFetch
from omni_batch.providers.web.remote_probe import RemoteProber
from omni_batch.quota.room import Room
from omni_batch.requests.annotation_schema import enforced, load_annotation
from omni_batch.requests.build import thinks
from omni_batch.requests.examples import Examples, read_examples
from omni_batch.requests.manifest import base_folder as manifest_folder
from omni_batch.requests.media import MediaLoader
from omni_batch.requests.media.known import known_media
from omni_batch.requests.media.open_medium import Depth
from omni_batch.requests.prompt import PromptTemplate
from omni_batch.sources import Sources
from omni_batch.sources.address import folder_of
from omni_batch.sources.stores.object_store import StoreSettings
from omni_batch.types import MEDIA_KINDS, Item

Ask = tuple[str | None, int | None]
"""Variant and sample; None where a run has none."""
_FIRST_SEED = 1
"""Of the first sample, where the config names none."""


@dataclass(frozen=True)
class Plan:
    """A config that has been found fit to run.

    What differs between variants and samples is their config: each of them has a plan of its own.
    """

    config: Config
    endpoints: tuple[ResolvedEndpoint, ...]
    """The endpoints, at least one; with several models, one for each model of an endpoint."""
    catalogue: Catalogue
    template: PromptTemplate | None
    """Of the prompt; None also where only variants ask."""
    base_folder: Path
    """Where relative references of the manifest start."""
    room: Room
    """What may be under way at once."""
    annotation: AnnotationSchema | None = None
    """What every answer has to be."""
    examples: Examples = field(default_factory=Examples)
    """What goes before each row's own turns."""
    doubts: tuple[Doubt, ...] = ()
    sources: Sources = field(default_factory=Sources, compare=False)
    """Where archives and stores are read."""
    asks: Mapping[Ask, "Plan"] = field(default_factory=dict)
    """How each row of the manifest is asked, in this order; empty: once, by this plan itself."""

    @property
    def times(self) -> int:
        """How often each row of the manifest is asked."""
        return len(self.asks) or 1

    def items_of(self, row: Item) -> Iterator[Item]:
        """A row of the manifest once for each way in which it is asked."""
        for number, (variant, sample) in enumerate(self.asks or [(None, None)]):
            place = row.row_number * self.times + number
            yield replace(row, row_number=place, variant=variant, sample=sample)

    def asking(self, item: Item) -> "Plan":
        """By which plan an item is asked."""
        return self.asks[item.variant, item.sample] if self.asks else self

    def by_variant(self) -> Mapping[str | None, "Plan"]:
        """The plan of each variant, of its first sample where there are samples."""
        firsts = {name: plan for (name, sample), plan in self.asks.items() if sample in (None, 1)}
        return firsts or {None: self}

    @cached_property
    def model(self) -> Model | None:
        """The model's entry in the catalogue; None where it is unknown."""
        return self.catalogue.model(self.config.model)

    @cached_property
    def endpoint_names(self) -> str:
        """Names of all endpoints."""
        return "+".join(dict.fromkeys(endpoint.label for endpoint in self.endpoints))

    @property
    def currencies(self) -> tuple[str, ...]:
        """What the endpoints are paid in."""
        prices = (endpoint.price for endpoint in self.endpoints)
        return tuple(dict.fromkeys(price.currency for price in prices if price))

    @cached_property
    def rules(self) -> TokenRules:
        """What to estimate tokens by."""
        return rules_of((self.model or self.catalogue).tokens, self.config.request.model_dump())

    @property
    def audio_tokens_per_s(self) -> float | None:
        """Of the model's speech; None where it is unknown."""
        return self.endpoints[0].audio_tokens_per_s

    @property
    def store_settings(self) -> StoreSettings:
        """How stores are talked to."""
        return _store_settings(self.config)

    @cached_property
    def thinks(self) -> bool:
        """Whether the model answers in thinking mode."""
        return thinks(self.config.request, self.model)

    @property
    def max_in_flight(self) -> int:
        """Requests that may be in flight, at all endpoints together."""
        return sum(endpoint.max_in_flight for endpoint in self.endpoints)

    @cached_property
    def response_format(self) -> Mapping[str, Any] | None:
        """What endpoints hold answers to while they are written, where one is known to."""
        holds = any(endpoint.dialect.holds_to_schema for endpoint in self.endpoints)
        form, _ = enforced(self.config.annotation, self.annotation, thinks=self.thinks)
        return form if holds else None

    def loader(self, depth: Depth = "to_send") -> MediaLoader:
        """Finds the media of the manifest.

        Args:
            depth: how they are looked at.
        """
        media = self.config.media
        largest = max(largest_file_bytes(media, endpoint.dialect) for endpoint in self.endpoints)
        if depth != "to_send":
            return MediaLoader(
                self.base_folder,
                media.roots,
                depth=depth,
                sources=self.sources,
                base_url=folder_of(self.config.manifest.path),
            )
        known = {
            name: medium
            for plan in (self, *self.asks.values())
            for name, medium in plan.examples.media.items()
        }
        dialects = [endpoint.dialect for endpoint in self.endpoints]
        fetched = frozenset(MEDIA_KINDS).intersection(*(dialect.fetches for dialect in dialects))
        return MediaLoader(
            self.base_folder,
            media.roots,
            largest,
            known=known,
            sources=self.sources,
            base_url=folder_of(self.config.manifest.path),
            signs=fetched if media.transport in ("auto", "url") else frozenset(),
            signs_private=media.transport == "url",
            kept=known_media(),
        )

    def media_source(self, *, checking: bool) -> MediaSource:
        """Finds and probes the media of rows; to be closed. Where an event loop runs.

        Args:
            checking: for `check`, which probes URLs unless it is told otherwise.
        """
        source = MediaSource(self.loader(), self._prober(checking=checking), checking=checking)
        if not self.config.media.fits:
            return source
        cache = FitCache(fitted_folder(), self.config.media.fit_cache_bytes)
        return replace(
            source,
            fitter=Fitter(cache, Workers()),
            glances=self.loader("glance"),
            wholes=self.loader("to_change"),
        )

    def _prober(self, *, checking: bool) -> RemoteProber | None:
        media = self.config.media
        mode = media.probe_urls or ("ranges" if checking else "off")
        if mode == "off":
            return None
        return RemoteProber(
            mode,
            most_urls=media.probe_urls_max,
            allow_private=media.allow_private_downloads,
            at_once=self.room.moves,
        )

    def endpoints_for(self, *, spoken: bool) -> tuple[ResolvedEndpoint, ...]:
        """Endpoints that take such rows."""
        return tuple(endpoint for endpoint in self.endpoints if endpoint.takes(spoken=spoken))

    def endpoint(self, name: str) -> ResolvedEndpoint:
        """The endpoint of that name."""
        return next(endpoint for endpoint in self.endpoints if endpoint.name == name)

    @property
    def by_file(self) -> tuple[ResolvedEndpoint, ...]:
        """Endpoints to which requests go as lines of files, one for each model."""
        return tuple(endpoint for endpoint in self.endpoints if endpoint.dialect.files)

    def pricing(self, endpoint: str | None, *, spoken: bool) -> Pricing:
        """What a request is paid by; without an endpoint, at the first one that would take it."""
        paid = self.endpoint(endpoint) if endpoint else self.endpoints_for(spoken=spoken)[0]
        return Pricing(paid.price, spoken, paid.audio_tokens_per_s)


def make_plan(config: Config, base_folder: Path | None = None, *, needs_key: bool = True) -> Plan:
    """Check everything but the manifest's rows.

    Raises:
        ConfigError: names what is wrong; also when the key is missing.
    """
    for name in filter(is_realtime, config.models):
        raise ConfigError(
            f"model = {name!r} talks over WebSocket only; use the model without -realtime"
        )
    profiles = {entry: resolve_profile(entry) for entry in config.all_endpoints}
    if needs_key:
        _check_keys(tuple(profiles.values()))
    check_environment(profile.base_url for profile in profiles.values())
    known = _catalogue(config.catalogue)
    endpoints, room = fitted(_endpoints(config, profiles, known))
    plan = _with_asks(
        Plan(
            config,
            endpoints,
            known,
            None,
            base_folder or manifest_folder(config.manifest.path),
            room,
            load_annotation(config.annotation),
            sources=_sources(config),
        )
    )
    found = judged(plan)
    if found.problems:
        raise ConfigError("; ".join(found.problems))
    return replace(plan, config=_with_currency(plan), doubts=found.doubts)


def _sources(config: Config) -> Sources:
    fetch = ArchiveFetch(allow_private=config.media.allow_private_downloads)
    return Sources(_store_settings(config), web=fetch)


def _store_settings(config: Config) -> StoreSettings:
    return StoreSettings(config.stores.addressing, config.stores.anonymous)


def _endpoints(
    config: Config, profiles: Mapping[EndpointConfig, Profile], known: Catalogue
) -> list[ResolvedEndpoint]:
    """Each endpoint with each model, by the config of the variant that it has to be most patient
    with."""
    asked = tuple(config.by_variant().values())
    found: list[ResolvedEndpoint] = []
    for name, (entry, model_name) in config.targets.items():
        model = known.model(model_name)
        configs = [each for each in asked if each.model == model_name]
        thinking = (each for each in configs if thinks(each.request, model))
        config = next(thinking, configs[0])
        resolved = ResolvedEndpoint(entry, profiles[entry], config, model, name=name)
        found += (resolved, *with_fallback(resolved))
    return found


def _template(config: Config, annotation: AnnotationSchema | None) -> PromptTemplate | None:
    """The config's prompt; it may name the schema, so that labels have one home."""
    text = config.request.prompt
    if not text:
        return None
    return PromptTemplate(text, {"schema": annotation.json_schema} if annotation else None)


def _with_asks(plan: Plan) -> Plan:
    """The plan with those of its variants and samples; without any, the only one."""
    samples = range(1, plan.config.samples + 1) if plan.config.samples else (None,)
    asks = {
        (name, sample): _of_sample(variant, sample)
        for name, config in plan.config.by_variant().items()
        for variant in [_of_variant(plan, name, config)]
        for sample in samples
    }
    return asks[None, None] if asks.keys() == {(None, None)} else replace(plan, asks=asks)


def _of_variant(plan: Plan, name: str | None, config: Config) -> Plan:
    try:
        template = _template(config, plan.annotation)
        examples = read_examples(config, template, plan.annotation, plan.loader())
    except ConfigError as exc:
        raise ConfigError(f"variant {name}: {exc}" if name else str(exc)) from None
    endpoints = [each for each in plan.endpoints if each.config.model == config.model]
    return replace(
        plan,
        config=config,
        endpoints=tuple(replace(endpoint, config=config) for endpoint in endpoints),
        template=template,
        examples=examples,
    )


def _of_sample(plan: Plan, sample: int | None) -> Plan:
    """Each sample has a seed of its own."""
    if sample is None:
        return plan
    first = plan.config.request.seed
    seed = (_FIRST_SEED if first is None else first) + sample - 1
    request = plan.config.request.model_copy(update={"seed": seed})
    return replace(plan, config=plan.config.model_copy(update={"request": request}))


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


def _with_currency(plan: Plan) -> Config:
    """The config whose budget says what it is counted in."""
    budget = plan.config.budget
    if not budget.costs:
        return plan.config
    return plan.config.model_copy(update={"budget": budget.in_currency(plan.currencies[0])})
