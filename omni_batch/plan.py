"""Config → Plan: what can be refused without looking at a row is refused here."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omni_batch.catalogue import Catalogue, Model, Price, catalogue, is_realtime, load_catalogue
from omni_batch.config import Config, QuotaConfig
from omni_batch.endpoints.dialect import Dialect
from omni_batch.endpoints.profiles import Profile, read_api_key, resolve_profile
from omni_batch.errors import ConfigError
from omni_batch.media import MediaLoader
from omni_batch.prices import scaled
from omni_batch.request import SPECIAL_OPTIONS, options_set, thinks
from omni_batch.template import PromptTemplate
from omni_batch.tokens import TokenRules, rules_of
from omni_batch.transport import largest_file_bytes

_THINKING_FIRST_BYTE_S = 300.0  # error-code pages, 2026; a field report of reads cut at 120 s
_VENDORS = ("dashscope", "dashscope-batch-chat", "litellm")


@dataclass(frozen=True, slots=True)
class Plan:
    """A config that has been found fit to run."""

    config: Config
    profile: Profile
    catalogue: Catalogue
    template: PromptTemplate | None
    base_folder: Path
    """Where relative references of the manifest start."""
    warnings: tuple[str, ...] = ()

    @property
    def model(self) -> Model | None:
        """The model's entry in the catalogue; None where it is unknown."""
        return self.catalogue.model(self.config.model)

    @property
    def limits(self) -> Model | None:
        """The model where its limits hold: at the vendor's service, not at a server of your own."""
        return self.model if self.dialect.name in _VENDORS else None

    @property
    def dialect(self) -> Dialect:
        """How the endpoint is talked to."""
        return self.profile.dialect

    @property
    def rules(self) -> TokenRules:
        """What to estimate tokens by."""
        return rules_of(self.model, self.config.request.model_dump())

    def loader(self) -> MediaLoader:
        """Finds the media of the manifest."""
        media = self.config.media
        return MediaLoader(self.base_folder, media.roots, largest_file_bytes(media, self.dialect))

    @property
    def thinks(self) -> bool:
        """Whether the answers will be thought out."""
        return thinks(self.config.request, self.model)

    @property
    def first_byte_timeout_s(self) -> float:
        """How long an answer may take to begin; one that is thought out in silence, longer."""
        given = self.config.retry.first_byte_timeout_s
        thinking_s = _THINKING_FIRST_BYTE_S if self.thinks else 0.0
        return given or max(self.dialect.first_byte_timeout_s, thinking_s)

    @property
    def price(self) -> Price | None:
        """What the endpoint takes for the model; None where it is unknown."""
        model, profile = self.model, self.profile
        price = model.price(profile.region, profile.currency) if model and profile.region else None
        return scaled(price, profile.price_factor) if price else None

    @property
    def quota(self) -> QuotaConfig:
        """The config's; limits it leaves open are the catalogue's for the vendor's own service."""
        quota, model = self.config.quota, self.model
        if model is None or self.dialect.name != "dashscope" or self.profile.embedded:
            return quota
        known = model.quota
        return quota.model_copy(
            update={
                "requests_per_minute": quota.requests_per_minute or known.requests_per_minute,
                "tokens_per_minute": quota.tokens_per_minute or known.tokens_per_minute,
            }
        )


def make_plan(config: Config, base_folder: Path | None = None, *, needs_key: bool = True) -> Plan:
    """Check everything but the manifest's rows.

    Raises:
        ConfigError: names what is wrong; also when the key is missing.
    """
    if is_realtime(config.model):
        raise ConfigError(
            f"model = {config.model!r} speaks over WebSocket only; use the model without -realtime"
        )
    profile = resolve_profile(config.endpoint)
    if needs_key:
        read_api_key(profile)
    base = base_folder or _base_folder(config.manifest.path)
    template = PromptTemplate(config.request.prompt) if config.request.prompt else None
    plan = Plan(config, profile, _catalogue(config.catalogue), template, base)
    plan.loader()
    for problem in _problems(plan):
        raise ConfigError(problem)
    return Plan(config, profile, plan.catalogue, template, base, tuple(_doubts(plan)))


def _catalogue(overlay: str | None) -> Catalogue:
    if overlay is None:
        return catalogue()
    try:
        return load_catalogue(Path(overlay))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"catalogue {overlay}: {exc}") from None


def _problems(plan: Plan) -> Iterator[str]:
    yield from _speech_problems(plan)
    yield from _option_problems(plan)
    served, model = plan.dialect.omni_models, plan.model
    if served is not None and model is not None and model.needs_stream and model.name not in served:
        yield (
            f"endpoint {plan.profile.name} serves no {plan.config.model}; of the omni models it "
            f"has {', '.join(served)}"
        )
    if plan.config.media.transport == "upload" and not plan.dialect.uploads:
        yield f"media.transport upload: endpoint {plan.profile.name} has no temporary storage"


def _speech_problems(plan: Plan) -> Iterator[str]:
    request, model = plan.config.request, plan.model
    if not request.wants_audio:
        return
    remedy = "set request.modalities: [text]"
    if not plan.dialect.speaks:
        yield f"endpoint {plan.profile.name} ({plan.dialect.name}) gives no speech; {remedy}"
    if plan.thinks:
        yield f"an answer that is thought out gives no speech: thinking: false, or {remedy}"
    if model is not None and not model.audio_out:
        yield f"model {plan.config.model} gives no speech; {remedy}"
    if model is None and request.voice is None and plan.dialect.needs_voice:
        yield f"set request.voice: no voice of model {plan.config.model} is known"


def _option_problems(plan: Plan) -> Iterator[str]:
    model, wanted = plan.model, options_set(plan.config.request)
    taken = plan.dialect.parameters
    for name in sorted(wanted - taken) if taken is not None else ():
        yield f"endpoint {plan.profile.name} takes no request.{name}; remove it"
    if model is None or plan.profile.region is None:
        return
    for name in sorted(wanted & SPECIAL_OPTIONS - set(model.parameters)):
        yield f"model {plan.config.model} takes no request.{name}; remove it"
    if plan.config.request.thinking and model.thinking == "no":
        yield f"model {plan.config.model} has no thinking mode; set request.thinking: null"
    most = model.max_output_tokens
    if most is not None and (plan.config.request.max_tokens or 0) > most:
        yield f"request.max_tokens {plan.config.request.max_tokens} is over the model's {most}"


def _doubts(plan: Plan) -> Iterator[str]:
    config, model = plan.config, plan.model
    if model is None:
        nearest = plan.catalogue.nearest(config.model)
        hint = f"; did you mean {nearest}?" if nearest else ""
        yield f"model {config.model} is not in the catalogue: no limits, no prices{hint}"
    voice = config.request.voice if config.request.wants_audio and model else None
    if model is not None and voice is not None and voice not in model.voices:
        yield f"voice {voice} is not in the catalogue's list for {config.model}"


def _base_folder(manifest: str) -> Path:
    return Path.cwd() if "://" in manifest else Path(manifest).resolve().parent
