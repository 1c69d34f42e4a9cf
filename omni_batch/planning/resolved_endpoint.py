"""ResolvedEndpoint: one endpoint as a run uses it, with its limits, prices and patience. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import msgspec

from omni_batch.catalogue import Model, Price
from omni_batch.catalogue.model import ModelQuota
from omni_batch.catalogue.prices import scaled
from omni_batch.catalogue.tokens import PromptEstimate
from omni_batch.config import Config, EndpointConfig, QuotaConfig
from omni_batch.doubts import Doubt
from omni_batch.errors import ConfigError, MediaError
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.profiles import Profile, live_profile
from omni_batch.providers.transport import choose_transport
from omni_batch.quota.concurrency import needed_in_flight
from omni_batch.quota.room import Room, files_of, room_for
from omni_batch.requests.build import thinks
from omni_batch.requests.rules.context import RuleContext, Violation
from omni_batch.requests.validate import ALL_RULES, RULES_OF_TURNS, Rule, Verdict, judge
from omni_batch.types import Request

_THINKING_FIRST_BYTE_S = 300.0  # error-code pages, 2026; a field report of reads cut at 120 s
_ITEM_TIMEOUT_S = 3600.0
_HOW = (
    "raise it (ulimit -n, LimitNOFILE= of systemd, --ulimit nofile= of containers; its hard "
    "limit counts)"
)
_HOW_MEMORY = "raise it (ulimit -v, LimitAS= of systemd)"


@dataclass(frozen=True)
class ResolvedEndpoint:
    """Where requests may go."""

    entry: EndpointConfig
    profile: Profile
    config: Config
    model: Model | None
    """The catalogue's entry; None where it is unknown."""
    most_in_flight: int | None = None
    """Requests that there is room for; None is no bound."""
    name: str = ""
    """As it appears in tables: `label`; with the model, where the run asks several."""

    @property
    def label(self) -> str:
        """The endpoint's own name, whichever model it is asked for."""
        return self.entry.label or self.profile.name

    @property
    def dialect(self) -> Dialect:
        """How the endpoint is talked to."""
        return self.profile.dialect

    @property
    def limits(self) -> Model | None:
        """The model where its limits hold: at the vendor's service, not at a server of your own."""
        return self.model if self.dialect.vendor_limits else None

    @cached_property
    def thinks(self) -> bool:
        """Whether the model answers in thinking mode."""
        return thinks(self.config.request, self.model)

    @property
    def first_byte_timeout_s(self) -> float:
        """How long an answer may take to begin; longer in thinking mode, silent at first."""
        given = self.config.retry.first_byte_timeout_s
        thinking_s = _THINKING_FIRST_BYTE_S if self.thinks else 0.0
        return given or max(self.dialect.first_byte_timeout_s, thinking_s)

    @property
    def item_timeout_s(self) -> float:
        """How long all attempts of an item may take together."""
        given = self.config.retry.item_timeout_s
        return given or max(_ITEM_TIMEOUT_S, 2 * self.first_byte_timeout_s)

    @cached_property
    def price(self) -> Price | None:
        """What the endpoint takes for the model; None where it is unknown.

        A list under the endpoint's own name, of a user's catalogue, stands over its region's.
        """
        model, profile = self.model, self.profile
        if model is None:
            return None
        own = model.price_list(self.label) or model.price_list(profile.name)
        price = model.price(profile.region) if profile.region else None
        if own or price is None:
            return own
        at_rate = scaled(price, profile.price_factor)
        # No discount for cached input is given in jobs (Batch pages, 2026).
        return msgspec.structs.replace(at_rate, cached_in=None) if self.dialect.files else at_rate

    def price_lacks(self, *, spoken: bool) -> str | None:
        """What of its prices is unknown, such as "no price of …"; None where all are known."""
        price, where = self.price, f"{self.config.model} at endpoint {self.label}"
        if price is None:
            return f"no price of {where}"
        if price.text_in is None and price.audio_in is None and price.image_in is None:
            return f"no price for the input of {where}"
        if spoken and price.audio_out is None:
            return f"no price for the speech of {where}"
        if not spoken and price.text_out is None and price.text_out_media is None:
            return f"no price for the text of {where}"
        return None

    @property
    def audio_tokens_per_s(self) -> float | None:
        """Of the model's speech; None where it is unknown."""
        return self.model.tokens.audio_out_per_s if self.model else None

    @property
    def offers(self) -> bool | None:
        """Whether the model is offered in its region; None where the catalogue is not sure that it
        is not."""
        model, region = self.model, self.profile.region
        if model is None or region is None or self.profile.embedded:
            return True
        if not model.regions or region in model.regions:
            return True
        return None if model.is_unverified("regions") else False

    @property
    def quota(self) -> QuotaConfig:
        """Its own or the config's; what is left open is the endpoint's and the catalogue's."""
        quota, known = self.entry.quota or self.config.quota, self._known_quota
        return quota.model_copy(
            update={
                "requests_per_minute": quota.requests_per_minute or self._known_requests_per_minute,
                "tokens_per_minute": quota.tokens_per_minute or (known and known.tokens_per_minute),
                "max_in_flight": self.max_in_flight,
            }
        )

    @property
    def default_limits(self) -> tuple[str, ...]:
        """Which numbers of its quota the configuration leaves open, and are known all the same."""
        stated = self.entry.quota or self.config.quota
        names = ("requests_per_minute", "tokens_per_minute", "max_in_flight")
        return tuple(
            name
            for name in names
            if getattr(stated, name) is None and getattr(self.quota, name) is not None
        )

    @property
    def max_in_flight(self) -> int:
        """Requests that may be in flight."""
        wanted = self.wanted_in_flight
        return wanted if self.most_in_flight is None else min(wanted, self.most_in_flight)

    @property
    def wanted_in_flight(self) -> int:
        """Requests that would be in flight if there were room for all."""
        quota = self.entry.quota or self.config.quota
        return quota.max_in_flight or needed_in_flight(
            quota.requests_per_minute or self._known_requests_per_minute,
            least=self.dialect.max_in_flight,
        )

    @property
    def _known_quota(self) -> ModelQuota | None:
        stated = self.dialect.vendor_quota and not self.profile.embedded
        return self.model.quota if self.model and stated else None

    @property
    def _known_requests_per_minute(self) -> float | None:
        known = self._known_quota
        return (known and known.requests_per_minute) or self.dialect.requests_per_minute

    @property
    def speaks(self) -> bool:
        """Whether it takes rows that ask for speech."""
        return self.entry.rows != "silent" and self.dialect.speaks

    def takes(self, *, spoken: bool) -> bool:
        """Whether it takes a row that asks for speech, or one that does not."""
        return self.speaks if spoken else self.entry.rows != "spoken"

    def judge(
        self, request: Request, estimate: PromptEstimate, rules: Sequence[Rule] = ALL_RULES
    ) -> Verdict:
        """Hold a request against the rules of the model and of this endpoint.

        Args:
            estimate: of this request.
        """
        context = RuleContext(
            request,
            self.limits,
            estimate,
            self.dialect,
            thinking=self.thinks,
            can_speak=self.model is None or self.model.audio_out,
            files_inline=self.config.media.transport != "upload",
        )
        verdict = judge(context, rules)
        doubts = (*verdict.doubts, *self._price_doubts(estimate))
        if rules is ALL_RULES and (broken := self._line_too_long(request)):
            verdict = Verdict((*verdict.violations, broken), verdict.doubts)
        unpriced = tuple(self._unpriced(estimate))
        if not self.config.budget.costs:
            doubts += tuple(Doubt(broken.rule, broken.message) for broken in unpriced)
            unpriced = ()
        return Verdict((*verdict.violations, *unpriced), doubts)

    def _line_too_long(self, request: Request) -> Violation | None:
        """Of an endpoint whose requests go as lines of a file."""
        route = self.dialect.files
        if route is None or any(m.url is None and m.path is None for m in request.media()):
            return None
        why = route.of(self.config.model).refuses(self.dialect.body(request).content_length)
        return Violation("batch-line-too-long", why) if why else None

    def _unpriced(self, estimate: PromptEstimate) -> Iterator[Violation]:
        """What would count as nothing, so that no limit of cost could be kept."""
        if (price := self.price) is None:
            return  # no cost is shown, and a limit is refused before any row is read
        for kind, tokens, rate in (
            ("sound", estimate.audio, price.audio_in),
            ("images and video", estimate.image + estimate.video, price.image_in),
        ):
            if tokens and rate is None:
                yield Violation(
                    "price-unknown",
                    f"the catalogue has no price for {kind} in the prompt of {self.config.model} "
                    f"at endpoint {self.label}, so they cost nothing in the sums; add it there",
                )

    def _price_doubts(self, estimate: PromptEstimate) -> Iterator[Doubt]:
        most = self.price.prompt_tokens_max if self.price else None
        if most is not None and estimate.total > most:
            yield Doubt(
                "price-of-longer-prompt",
                f"the prompt takes about {estimate.total:,} tokens; the known price of "
                f"{self.config.model} holds up to {most:,}: it costs more than is shown",
            )


def with_fallback(endpoint: ResolvedEndpoint) -> Iterator[ResolvedEndpoint]:
    """Where rows go that a job has left without an answer, by `endpoint.fallback`."""
    if endpoint.dialect.files and endpoint.entry.fallback == "live":
        live = live_profile(endpoint.profile)
        yield replace(endpoint, profile=live, name=f"{endpoint.name}-live")


def fitted(
    endpoints: Sequence[ResolvedEndpoint],
) -> tuple[tuple[ResolvedEndpoint, ...], Room]:
    """The endpoints with as many requests in flight as there is room for, in equal shares.

    Raises:
        ConfigError: not one request for each endpoint fits.
    """
    wanted = sum(endpoint.max_in_flight for endpoint in endpoints)
    room = room_for(wanted, served_here=any(endpoint.profile.embedded for endpoint in endpoints))
    if room.in_flight >= wanted:
        return tuple(endpoints), room
    if room.in_flight < len(endpoints):
        has, how = _limit_in_words(room, wanted)
        raise ConfigError(f"{has}, too few for a single request at each endpoint: {how}")
    share = room.in_flight / wanted
    return tuple(
        replace(endpoint, most_in_flight=max(1, int(endpoint.max_in_flight * share)))
        for endpoint in endpoints
    ), room


def refused_by_all(
    endpoints: Sequence[ResolvedEndpoint], request: Request, estimate: PromptEstimate
) -> str | None:
    """Why the first endpoint refuses a request's turns, where none takes them."""
    reasons = [next(_against_turns(endpoint, request, estimate), None) for endpoint in endpoints]
    return reasons[0] if all(reasons) else None


def _against_turns(
    endpoint: ResolvedEndpoint, request: Request, estimate: PromptEstimate
) -> Iterator[str]:
    for broken in endpoint.judge(request, estimate, RULES_OF_TURNS).violations:
        yield broken.message
    for medium in request.media():
        try:
            choose_transport(medium, endpoint.config.media, endpoint.dialect)
        except MediaError as exc:
            yield str(exc)


def room_doubts(endpoints: Sequence[ResolvedEndpoint], room: Room) -> Iterator[Doubt]:
    """That fewer requests are in flight than were asked for, and why."""
    wanted = sum(endpoint.wanted_in_flight for endpoint in endpoints)
    fits = sum(endpoint.max_in_flight for endpoint in endpoints)
    if fits < wanted:
        has, how = _limit_in_words(room, wanted)
        yield Doubt(
            "memory-limit" if room.memory_bytes else "open-files-limit",
            f"{has}, so at most {fits} requests are in flight instead of {wanted}: {how}, or "
            f"lower quota.max_in_flight to {fits}",
        )


def _limit_in_words(room: Room, wanted: int) -> tuple[str, str]:
    if room.memory_bytes:
        return f"this process may have {room.memory_bytes // 10**6} MB of memory", _HOW_MEMORY
    return f"this process may have {room.limit} files open", f"{_HOW} to {files_of(wanted)}"
