"""What is known of a model: nouns of the catalogue, read from models.toml and never changed.

Each number's source is beside it in models.toml. None always means unknown or not offered,
never zero; a caller that finds None has nothing to refuse by.
"""

import re
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, field

from omni_batch.types import MediaKind

InputKind: TypeAlias = Literal["text"] | MediaKind
Thinking: TypeAlias = Literal["no", "off", "on"]
Count: TypeAlias = Annotated[int, Meta(gt=0)]
Amount: TypeAlias = Annotated[float, Meta(gt=0)]
PerMillion: TypeAlias = Annotated[float, Meta(ge=0)]
Day: TypeAlias = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")]
NameKind: TypeAlias = Literal["stable", "latest", "snapshot"]
MAINLAND, SINGAPORE, ELSEWHERE = "beijing", "singapore", "international"
"""Regions as the catalogue calls them; prices elsewhere are the vendor's international ones."""
_SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{4})$")  # the guide has a short form: -0326


class CatalogueEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all catalogue nouns: frozen, and a misspelt key is an error."""


class VoiceSet(CatalogueEntry, frozen=True):
    """The voices one generation of models speaks with."""

    ids: tuple[str, ...]
    """Exact ids: case and spaces matter."""
    default: str
    """The vendor's default, or the voice of its samples."""


class ModelQuota(CatalogueEntry, frozen=True):
    """What a fresh account may ask of one model name; a snapshot has its own."""

    requests_per_minute: Count | None = None
    """The service also enforces a sixtieth of it per second."""
    tokens_per_minute: Count | None = None
    """Tokens in and out together."""


class FreeQuota(CatalogueEntry, frozen=True):
    """What a new account may use without a bill."""

    tokens: Count
    """Of one model, whatever their kind, in and out together."""
    days: Count
    """Since Model Studio was opened."""


class ModelLimits(CatalogueEntry, frozen=True):
    """What the service refuses by size, length or number. MB is 1024 * 1024 bytes.

    Bytes, seconds and pixels are those of one file; `files` and `frames` are counted in a request.
    """

    data_uri_max_bytes: Count | None = None
    """Bytes of one `data:` item as sent, that is base64-encoded."""
    data_uri_raw_advised_bytes: Count | None = None
    """Bytes of a file before encoding that the vendor advises to stay below."""
    base64_files_max: Count | None = None
    """Those sent as `data:`."""
    image_max_bytes: Count | None = None
    image_min_px: Count | None = None
    """Smallest allowed length of either side, in pixels."""
    image_max_ratio: Amount | None = None
    """Longer side over shorter side, of images and of the pictures of a video."""
    image_containers: tuple[str, ...] = ()
    """File types in lower case that the vendor documents for its visual models."""
    audio_max_bytes: Count | None = None
    """Behind a URL."""
    audio_max_s: Amount | None = None
    audio_files_max: Count | None = None
    audio_containers: tuple[str, ...] = ()
    """Documented file types in lower case; the vendor adds "and other common ones"."""
    video_max_bytes: Count | None = None
    """Behind a URL."""
    video_min_s: Amount | None = None
    video_max_s: Amount | None = None
    video_files_max: Count | None = None
    video_containers: tuple[str, ...] = ()
    """Documented file types in lower case."""
    frames_min: Count | None = None
    frames_max: Count | None = None


class TokenRules(CatalogueEntry, frozen=True, kw_only=True):
    """Constants of the vendor's published token estimates.

    A patch is `image_factor_px` squared pixels: one token of an image, and one token of
    `video_frames_per_token` frames of a video.
    """

    audio_in_per_s: Amount
    """Prompt tokens per second of sound, the sound track of a video included."""
    audio_out_per_s: Amount | None = None
    """Completion tokens per second of speech; None for a model that does not speak."""
    audio_min_s: Amount
    """A shorter sound counts as this many seconds."""
    image_factor_px: Count
    """Side of a patch in pixels; both sides of a picture are rounded to a multiple of it."""
    image_min_tokens: Count
    """Patches a smaller image is scaled up to."""
    image_max_tokens: Count
    """Patches a larger image is scaled down to."""
    image_max_tokens_high_resolution: Count | None = None
    """The same with `vl_high_resolution_images`; None where that is not offered."""
    image_side_min_patches: Annotated[int, Meta(ge=0)]
    """Patches that a side of an image takes at least; 0: one of less than half a patch is lost."""
    image_extra_tokens: Count
    """Tokens added to every image and every video."""
    video_sample_fps: Amount
    """Frames per second the service looks at."""
    video_frames_per_token: Count
    """Frames that share one layer of patches."""
    video_min_patches: Count
    """Patches a smaller frame is scaled up to."""
    video_max_patches: Count
    """Patches a larger frame is scaled down to."""
    video_total_patches: Count
    """Patches of all frames of one video together."""
    video_frames_min: Count
    video_frames_max: Count
    video_divisor_px: Count | None = None
    """Side of the square that is one token of a video, where that is not the side of a patch."""


class Reading(CatalogueEntry, frozen=True, kw_only=True):
    """What one part of the vendor's material says on a point that another part puts otherwise."""

    says: str
    source: str
    """Which edition, with its date where it has one."""
    taken: bool = False
    """What the rest of the catalogue follows."""
    model: str | None = None
    """The dated name that has what this reading says, for certain."""
    voices: tuple[str, ...] = ()
    """The model's voices by this reading; empty where it is not about voices."""
    tokens: TokenRules | None = None
    """The token rules by this reading; None where it is the one taken or about something else."""


class Dispute(CatalogueEntry, frozen=True, kw_only=True):
    """One point on which the vendor's editions disagree."""

    about: str
    effect: str
    """What it means for a user, and what to do."""
    readings: tuple[Reading, ...]

    @property
    def taken(self) -> Reading | None:
        """What the catalogue follows; None where it takes no side."""
        return next((reading for reading in self.readings if reading.taken), None)

    @property
    def others(self) -> tuple[Reading, ...]:
        """The readings that are not followed."""
        return tuple(reading for reading in self.readings if not reading.taken)


class Rates(CatalogueEntry, frozen=True):
    """Prices per million tokens; None where that kind of token is not sold."""

    text_in: PerMillion | None = None
    """Text of the prompt."""
    audio_in: PerMillion | None = None
    """Sound in the prompt, the sound track of a video included."""
    image_in: PerMillion | None = None
    """Images, frames and the picture of a video in the prompt."""
    cached_in: PerMillion | None = None
    """Prompt tokens found in the context cache."""
    text_out: PerMillion | None = None
    """Text of the answer, reasoning included, when the prompt is text only."""
    text_out_media: PerMillion | None = None
    """The same when the prompt holds media."""
    audio_out: PerMillion | None = None
    """Speech; an answer with speech is billed by it alone, its text is free."""
    prompt_tokens_max: Count | None = None
    """Longest prompt that they hold for; a longer one costs more. None: they hold for all."""


class Price(Rates, frozen=True, kw_only=True):
    """Rates with the region and currency they hold in."""

    region: str
    """As in the catalogue: "beijing", "singapore", "international"."""
    currency: str
    """"CNY" or "USD"."""


class Model(CatalogueEntry, frozen=True, kw_only=True):
    """One model as the chat API offers it."""

    name: str
    """What a request's `model` says."""
    aliases: tuple[str, ...] = ()
    """Other names of the same facts: snapshots and moving names."""
    status: Literal["current", "frozen"]
    """A frozen model is no longer renewed."""
    ends: Day | None = None
    """Day on which the service stops to answer; None where no notice is known."""
    successor: str | None = None
    """What the vendor's notice names in its place."""
    note: str = ""
    """One line for a reader."""
    inputs: tuple[InputKind, ...]
    """What a user message may hold; frame lists are video. Without "text" it takes no prompt."""
    mixes_media: bool
    """True: any mix of media in one message. False: text and one kind."""
    audio_out: bool
    """The model can speak, though never while it thinks."""
    omni: bool = True
    """Knows `modalities`; a plain text model of the same service is asked without it."""
    regions: tuple[str, ...] = ()
    """Where it is offered: "beijing", "singapore", or an id such as "us-east-1"; empty where
    that is unknown."""
    needs_stream: bool
    """A request without `stream: true` is refused."""
    system_with_audio: bool
    """A system message also holds for spoken answers. False: give the role by a first exchange."""
    thinking: Thinking
    """"no": not offered; "off" and "on": offered, and so by default."""
    media_without_thinking: bool = False
    """The vendor's samples run media in non-thinking mode."""
    parameters: tuple[str, ...] = ()
    """Request parameters and part options beyond the common ones that this model documents."""
    context_tokens: Count | None = None
    """Tokens in and out together."""
    max_input_tokens: Count | None = None
    """Prompt tokens without thinking."""
    max_input_tokens_thinking: Count | None = None
    """Prompt tokens with thinking."""
    max_thinking_tokens: Count | None = None
    """Tokens of the chain of thought; None also where it counts as output."""
    max_output_tokens: Count | None = None
    """Tokens of the answer."""
    voices: tuple[str, ...] = ()
    """Known voices. Lists drift: an unknown voice is worth a warning, not a refusal."""
    default_voice: str | None = None
    """The voice to ask for when the user names none; None for a model that does not speak."""
    cloned_voices: bool = False
    """The account's own cloned voices may be used too."""
    speech_languages: tuple[str, ...] = ()
    """ISO 639-1 codes it speaks; empty where the vendor gives only a number."""
    quota: ModelQuota = ModelQuota()
    free_quota: FreeQuota | None = None
    limits: ModelLimits = ModelLimits()
    tokens: TokenRules
    prices: dict[str, dict[str, Rates]] = field(default_factory=dict)
    """Rates by region, then by currency, the region's own currency first."""
    unverified: tuple[str, ...] = ()
    """Fields, or groups such as "tokens", that no page of the vendor states for this model."""
    disputes: dict[str, Dispute] = field(default_factory=dict)
    """Points on which the vendor's editions disagree, by a short name such as "snapshot"."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names, its own first."""
        return (self.name, *self.aliases)

    def price(self, region: str, currency: str | None = None) -> Price | None:
        """The prices in a region; None where they are unknown.

        Args:
            region: as in `regions`, or "international".
            currency: "CNY" or "USD"; None takes the region's own, the first in the file.
        """
        own = self.price_list(region, currency)
        elsewhere = None if region == MAINLAND else self.price_list(ELSEWHERE, currency)
        return own or elsewhere

    def price_list(self, place: str, currency: str | None = None) -> Price | None:
        """The list under just that name, a region's or an endpoint's; None where there is none."""
        rates = self.prices.get(place, {})
        found = next(iter(rates), None) if currency is None else currency
        if found not in rates:
            return None
        return Price(region=place, currency=found, **msgspec.structs.asdict(rates[found]))

    def is_unverified(self, name: str) -> bool:
        """Whether a field, such as "limits.audio_max_s", rests on an assumption."""
        return any(name == entry or name.startswith(f"{entry}.") for entry in self.unverified)

    def voice_readings(self) -> tuple[Reading, ...]:
        """The readings of those disputes that are about voices."""
        readings = (reading for point in self.disputes.values() for reading in point.readings)
        return tuple(reading for reading in readings if reading.voices)

    def undisputed_voices(self) -> tuple[str, ...]:
        """Voices that it has by all of the vendor's editions."""
        readings = self.voice_readings()
        return tuple(v for v in self.voices if all(v in reading.voices for reading in readings))


def name_kind(name: str) -> NameKind:
    """What a name stands for: a release that stays, the newest one, or one of a date."""
    if name.endswith("-latest"):
        return "latest"
    return "snapshot" if _SNAPSHOT.search(name) else "stable"


def is_realtime(name: str) -> bool:
    """Whether a name is a realtime model's: those talk over WebSocket, not over this API."""
    return "realtime" in name.lower().split("-")
